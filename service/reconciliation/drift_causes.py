"""Causes of a drift, written as sentences from the rows of an account. Pure.

Theory of operation. Between two claims of the vendor, the points of our lines must equal the change of the claims. If
they do not, the difference is one step (drift_steps.py).
- If the rows support one candidate, it is the cause of the step.
- If the rows support several candidates, the cause is not known. All of them are named with their positions.
- A missing event is always a candidate.
- The amounts in events are assumed to be right. No row can show that they are wrong.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from ledger.decimals import format_decimal
from projections.accounts.account import ZERO
from service.reconciliation.drift_steps import (
    ADJUSTMENTS,
    DriftStep,
    Evidence,
    LineEvidence,
    find_steps,
    first_line_after_agreement,
)

STEPS_SHOWN_MAX = 3
MERGES = frozenset({"Merged", "MergedAway", "Unmerged", "UnmergedAway"})
REVERSALS = frozenset({"RedemptionReversed", "IssueReversed"})
LAPSING = frozenset({"Lapsed", "Expired", "ExpiryMoved"})  # depend on the lots that earlier debits used
WITHOUT_EVENT = frozenset({"Lapsed", "Opening"})
HELD = frozenset({"available", "lapsed"})  # classes in which an account's lot holds points


def cause_of_drift(evidence: Evidence) -> str:
    """Write the cause of an account's drift, or the candidates if it is not known."""
    first = first_line_after_agreement(evidence)
    later = evidence.lines[first:]
    if any(line.kind in MERGES for line in later):
        return (
            "The cause is not known: accounts were merged or unmerged since the claims last agreed. "
            "Compare the claims of both accounts with our balance."
        )
    steps = find_steps(evidence)
    if sum((step.amount for step in steps), ZERO) != evidence.missing:
        return "The cause is not known. Compare the account's claims with our balance to see where they differ."
    if not steps:
        return _overdrawn(evidence)
    sentences = [_sentence(step, evidence) for step in steps[:STEPS_SHOWN_MAX]]
    if len(steps) > STEPS_SHOWN_MAX:
        more = len(steps) - STEPS_SHOWN_MAX
        sentences.append(f"There are {more} more: compare the account's claims with our balance.")
    if len(steps) > 1:
        sentences.insert(0, f"The claims and our balance move apart {len(steps)} times.")
    return " ".join((*sentences, *_unread(evidence)))


def _sentence(step: DriftStep, evidence: Evidence) -> str:
    adjusted = [line for line in step.lines if line.kind in ADJUSTMENTS]
    total = sum((line.points for line in adjusted), ZERO)
    if adjusted and total == -step.amount:
        return _adjusted(step, adjusted, evidence)
    candidates = [
        _missing(step),
        *_lapsed(step),
        *_adjustments(adjusted),
        *_not_counted(step, evidence),
        *_reported_twice(step, evidence),
        *_of_a_lot(step, evidence),
        *_of_another_programme(step, evidence),
        *_unclear(step, evidence),
    ]
    if len(candidates) > 1:
        listed = "; ".join(f"({number}) {one}" for number, one in enumerate(candidates, 1))
        return f"The cause is not known. Possible causes: {listed}."
    return f"{candidates[0][0].upper()}{candidates[0][1:]}.{_hint(step, evidence)}"


def _missing(step: DriftStep) -> str:
    kind = "credit" if step.amount > 0 else "debit"
    text = f"a {kind} of {format_decimal(abs(step.amount))} never arrived, {_place(step)}"
    if step.is_claimed:
        return text
    return f"{text}, or a larger one: the debit at position {step.by.position} was larger than our balance"


def _lapsed(step: DriftStep) -> Iterator[str]:
    lapsed = [line for line in step.lines if line.kind == "Lapsed"]
    total = -sum((line.points for line in lapsed), ZERO)
    if ZERO < step.amount <= total:
        of = "" if total == step.amount else f" of the {format_decimal(total)} that lapsed here"
        days = ", ".join(sorted({f"{line.occurred_at:%Y-%m-%d}" for line in lapsed}))
        yield f"{format_decimal(step.amount)}{of or ' lapsed here'} that the vendor still counts (lapsed {days})"


def _adjusted(step: DriftStep, adjusted: Sequence[LineEvidence], evidence: Evidence) -> str:
    made = " and ".join(f"{_signed(line.points)} at position {line.position}" for line in adjusted)
    if any(line.claimed is not None and line.line >= step.by.line for line in evidence.lines):
        return f"Our adjustment ({made}) is not in the vendor's balance. Reverse it if it should not stay."
    return f"Our adjustment after the vendor's last claim ({made}). Reverse it if the missing event has arrived."


def _adjustments(adjusted: Sequence[LineEvidence]) -> Iterator[str]:
    for line in adjusted:
        yield f"our adjustment of {_signed(line.points)} at position {line.position} is not in the vendor's balance"


def _not_counted(step: DriftStep, evidence: Evidence) -> Iterator[str]:
    """Candidates: events that the claim leaves out. Either a single event, or all events after some point."""
    events = [line for line in step.lines if line.kind not in WITHOUT_EVENT and line.kind not in ADJUSTMENTS]
    for line in events:
        if line.effect and line.effect == -step.amount:
            kind = "credit" if line.effect > 0 else "debit"
            yield (
                f"the {kind} of {format_decimal(abs(line.effect))} at position {line.position} is not in the vendor's "
                "balance: it was reported twice, belongs to another account, or came after the vendor read the balance"
            )
            return
    if not step.is_claimed:
        return
    left_out = ZERO
    upto = evidence.lines.index(step.by)
    for count, line in enumerate(reversed(evidence.lines[: upto + 1]), 1):
        left_out += line.effect
        if count > 1 and left_out == -step.amount:
            yield (f"the claim at position {step.by.position} does not include the last {count} lines of our statement")
            return


def _reported_twice(step: DriftStep, evidence: Evidence) -> Iterator[str]:
    """Candidate: a debit that was reported twice. Only for a step shown by a debit beyond the lots. The size of such a
    step proves little.
    """
    if step.is_claimed:
        return
    for line in step.lines:
        same_lines = [
            event
            for event in evidence.lines
            if line.asserted and event.line != line.line and (event.kind, event.effect) == (line.kind, line.effect)
        ]
        if same_lines:
            positions = f"{same_lines[0].position} and {line.position}"
            yield f"the debit of {format_decimal(abs(line.effect))} was reported twice, at positions {positions}"
            return


def _of_a_lot(step: DriftStep, evidence: Evidence) -> Iterator[str]:
    """Candidate: points that lapsed at the vendor earlier than here."""
    if step.amount > 0 or not step.is_claimed:
        return
    wanted = -step.amount
    if not evidence.complete:
        if evidence.lots:
            yield "points of a lot lapsed at the vendor before our day for them"
        return
    remaining = {lot.lot_id: lot.remaining for lot in evidence.lots}
    for line in evidence.lines[evidence.lines.index(step.by) + 1 :]:
        for source, target, points, lot_id in line.postings:
            if lot_id in remaining:
                remaining[lot_id] += points * ((source in HELD) - (target in HELD))
    by_day: dict[Any, Decimal] = {}
    for lot in evidence.lots:
        by_day[lot.expires_on] = by_day.get(lot.expires_on, ZERO) + remaining[lot.lot_id]
    days = [lot.expires_on for lot in evidence.lots if remaining[lot.lot_id] == wanted]
    days += [day for day, points in by_day.items() if points == wanted]
    if days:
        until = f"lapse here after {days[0]}" if days[0] else "have no expiry day here"
        yield f"the {format_decimal(wanted)} that {until} lapsed at the vendor earlier"


def _of_another_programme(step: DriftStep, evidence: Evidence) -> Iterator[str]:
    low = step.before.occurred_at if step.before is not None else None
    for programme, line in evidence.siblings:
        within = (low is None or line.occurred_at >= low) and line.occurred_at <= step.by.occurred_at
        if within and line.effect == step.amount and line.kind not in WITHOUT_EVENT:
            yield f"the event for programme {programme} at position {line.position} belongs to this programme"
            return


def _unclear(step: DriftStep, evidence: Evidence) -> Iterator[str]:
    """Candidates: events within the step that have more than one reading."""
    if step.before is None and step.is_claimed and abs(step.amount) < 1:
        yield "the vendor's balance has a fraction of a point that was there before, or that no event states"
    contested = [line.position for line in step.lines if line.position in evidence.conflicts]
    if contested:
        yield f"the event at position {contested[0]} was reported with several contents, and another one is right"
    for line in step.lines:
        if line.untied:
            yield f"the total at position {line.position} differs from its parts by {format_decimal(abs(line.untied))}"
            break
    for line in step.lines:
        if line.kind in LAPSING and not (line is step.by and line.asserted):
            yield f"an event of another amount never arrived, because points lapsed in between ({_time(line)})"
            break
    for line in step.lines:
        classes = {name for source, target, _, _ in line.postings for name in (source, target)}
        if line.kind in REVERSALS and classes & {"lapsed", "expired", "debt", "unseen"}:
            yield f"the vendor counts the reversal at position {line.position} differently"
            break


def _hint(step: DriftStep, evidence: Evidence) -> str:
    """Write where to look first for a missing event, or which event to check if none is missing."""
    for transfer in evidence.transfers:
        if transfer.points == abs(step.amount) and transfer.to_us == (step.amount > 0):
            half = "receiver's" if transfer.to_us else "sender's"
            return f" Look at transfer {transfer.subject} first: its {half} half was not reported."
    if not step.is_claimed:
        return ""
    return " If no event is missing there, an event in between has another amount than the vendor booked."


def _unread(evidence: Evidence) -> Iterator[str]:
    for event in evidence.unread[:1]:
        if event.names_holder:
            yield (
                f"An event of this customer in between, at position {event.position} ({event.kind}), "
                "could not be read. Look at it first."
            )
        else:
            yield (
                f"A body received in between, at position {event.position}, could not be read and "
                "may concern any customer."
            )


def _overdrawn(evidence: Evidence) -> str:
    asserting = [line for line in evidence.lines if line.asserted]
    if not asserting or not evidence.drift:
        return "The cause is not known. Compare the account's claims with our balance to see where they differ."
    last = asserting[-1]
    less = f"counts {format_decimal(abs(evidence.drift))} less than we do"
    if last.claimed is not None and last.claimed < 0:
        return (
            f"By the vendor's claims no event is missing. It {less}, because the debit at position {last.position} "
            "exceeded our balance and we assumed an unseen credit."
        )
    lapsed = [line for line in evidence.lines if line.kind == "Lapsed" and line.line < last.line]
    day = (
        f" Points that lapsed here on {lapsed[-1].occurred_at:%Y-%m-%d} may have paid it at the vendor."
        if lapsed
        else ""
    )
    return (
        f"The cause is not known. By the vendor's claims no event is missing. It {less}. The debit at position "
        f"{last.position} exceeded our balance, and we assumed an unseen credit.{day}"
    )


def _place(step: DriftStep) -> str:
    """Write between which two events of the account the step lies, in order of occurrence."""
    if step.before is None:
        return f"by {_time(step.by)} (position {step.by.position})"
    precisely = f"{step.before.occurred_at:%F %T}" == f"{step.by.occurred_at:%F %T}"
    first, second = (_time(line, precisely=precisely) for line in (step.before, step.by))
    if first == second:
        return f"at {first}, between the events at positions {step.before.position} and {step.by.position}"
    return f"between {first} (position {step.before.position}) and {second} (position {step.by.position})"


def _time(line: LineEvidence, *, precisely: bool = False) -> str:
    return f"{line.occurred_at:%Y-%m-%d %H:%M:%S.%f} UTC" if precisely else f"{line.occurred_at:%Y-%m-%d %H:%M:%S} UTC"


def _signed(points: Decimal) -> str:
    return f"+{format_decimal(points)}" if points > 0 else format_decimal(points)
