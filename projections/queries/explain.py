"""Why a number is what it is: the facts in order, the rule that each was folded by, and the state after it. Pure.

The same fold as ever, fact by fact. An account is explained by the lines of its statement, with the lots that each
touched, for showing all lots after every fact would make it quadratic; anything else by what changed in its row.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from ledger.errors import Unfoldable
from ledger.facts import Fact, RecordedFact
from ledger.failures import describe_failure
from projections.accounts.lots import ZERO, Posting
from projections.accounts.state import Wallet
from projections.accounts.statement import Line
from projections.accounts.tables import LOTS, lot_row
from projections.accounts.wallet import ACCOUNTS
from projections.definition import Projection, fold, rows_of
from projections.programme_terms import programme_of
from projections.queries.as_of import Known
from projections.queries.fact_sentences import EARLIER_REPORT, SENTENCES, UNPLACED, WITHOUT_FACT

SPENDABLE = "available"


class ExplainStep(NamedTuple):
    """The rule that a fact was folded by: its public name, and what it does, in a sentence for a support agent."""

    name: str
    says: str


class LotTouched(NamedTuple):
    """A lot that a line touched: by how much what is spendable in it changed, and its row afterwards."""

    change: Decimal
    row: Mapping[str, Any]


class LineStep(NamedTuple):
    """One line of an account's statement, the fact that it comes from, if any, and the lots it touched."""

    line: Line
    told: RecordedFact | None
    rule: ExplainStep
    postings: Sequence[Posting]
    lots: Sequence[LotTouched]


class RowStep(NamedTuple):
    """One fact about a subject, and its row afterwards, with the columns that changed and what they were before."""

    told: RecordedFact
    rule: ExplainStep
    row: Mapping[str, Any]
    before: Mapping[str, Any]


class UnfoldableStep(NamedTuple):
    """The fact that could not be folded, and why: all before it were."""

    told: RecordedFact
    reason: str


def rule_of(projection: Projection, fact: Fact) -> ExplainStep:
    """Name the rule for a fact by subject and kind, such as "account.redeemed", and say what it does."""
    return ExplainStep(name_of_rule(projection, type(fact)), SENTENCES[type(fact)])


def name_of_rule(projection: Projection, kind: type[Fact]) -> str:
    """Give the public name of the rule for a kind of fact."""
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__)
    return f"{projection.subject}.{words.lstrip('_')}"


def account_steps(known: Known, account_id: str) -> Iterator[LineStep | UnfoldableStep]:
    """Give the lines of one account as they come of the facts of its holder, and of those merged with it."""
    wallet: Wallet = ACCOUNTS.start()  # type: ignore[assignment]
    for told in known.told:
        try:
            fold(ACCOUNTS, [told], wallet, known.terms)
        except Unfoldable as stuck:
            yield UnfoldableStep(told, str(stuck))
            return
        try:
            steps = _steps_of(wallet, told, account_id)
        except Exception as error:  # a fault of ours in showing it: told here, and no other account is touched
            yield UnfoldableStep(told, describe_failure(error))
            return
        yield from steps
        wallet.lines.clear()


def _steps_of(wallet: Wallet, told: RecordedFact, account_id: str) -> list[LineStep]:
    """Give the steps of one fact. Lots are read after the last; of the steps before, what came later is taken off."""
    steps = [_line_step(wallet, line, told) for line in wallet.lines if line.account_id == account_id]
    for number, step in enumerate(steps[:-1]):
        later = [posting for one in steps[number + 1 :] for posting in one.postings]
        lots = [touched._replace(row=_before(touched.row, later)) for touched in step.lots]
        steps[number] = step._replace(lots=lots)
    return steps


def _before(row: Mapping[str, Any], later: Sequence[Posting]) -> Mapping[str, Any]:
    """Give a lot's row as it was before some postings."""
    then = dict(row)
    for posting in later:
        if posting.lot_id != row["lot_id"]:
            continue
        kept = {SPENDABLE, "lapsed"}
        then["remaining"] += posting.points * ((posting.source in kept) - (posting.target in kept))
        for name, sign in ((posting.target, -1), (posting.source, 1)):
            if name in COUNTED_IN:
                then[COUNTED_IN[name]] += sign * posting.points
    return then


# In which column of a lot the points are counted that went to a class.
COUNTED_IN = {
    "redeemed": "redeemed",
    "held": "redeemed",
    "in_transit": "sent",
    "sent": "sent",
    "adjusted": "removed",
    "expired": "expired",
    "reversed": "returned",
}


def _line_step(wallet: Wallet, line: Line, told: RecordedFact) -> LineStep:
    postings = _POSTINGS.decode(line.postings)
    says = WITHOUT_FACT.get(line.kind)
    rule = ExplainStep(f"account.{line.kind.lower()}", says) if says else rule_of(ACCOUNTS, told.fact)
    if line.counted_position is not None:
        rule = ExplainStep("account.earlier_report", f"{EARLIER_REPORT} {line.counted_position}.")
    elif line.kind == "RedemptionReversed" and line.untied is not None and not postings:
        rule = ExplainStep(rule.name, UNPLACED)
    changes: dict[str, Decimal] = {}
    for posting in postings:
        if posting.lot_id is not None:
            gained = (posting.target == SPENDABLE) - (posting.source == SPENDABLE)
            changes[posting.lot_id] = changes.get(posting.lot_id, ZERO) + gained * posting.points
    return LineStep(
        line=line,
        told=None if says else told,
        rule=rule,
        postings=postings,
        lots=[LotTouched(change, row) for lot_id, change in changes.items() for row in _lot_rows(wallet, lot_id)],
    )


def _lot_rows(wallet: Wallet, lot_id: str) -> Iterator[Mapping[str, Any]]:
    """Give the row of a lot, which may be another account's by now."""
    for account in wallet.accounts.values():
        lot = account.lots.get(lot_id)
        if lot is not None:
            programme = programme_of(account.account_id, account.programme)
            yield dict(zip(LOTS.columns, lot_row(account, lot, programme), strict=True))
            return


def row_steps(projection: Projection, known: Known) -> Iterator[RowStep | UnfoldableStep]:
    """Give the row of a subject after each of its facts."""
    state = projection.start()
    columns = projection.tables[0].columns
    before: dict[str, Any] = {}
    for told in known.told:
        try:
            fold(projection, [told], state, known.terms)
            rows = rows_of(projection, known.root, state, [told])[projection.tables[0].name]
        except Unfoldable as stuck:
            yield UnfoldableStep(told, str(stuck))
            return
        row = dict(zip(columns, rows[0], strict=True)) if rows else {}
        changed = {column: before.get(column) for column in row if row[column] != before.get(column)}
        yield RowStep(told, rule_of(projection, told.fact), row, changed)
        before = row


_POSTINGS: Any = msgspec.json.Decoder(list[Posting])
