"""Business keys: one real-world change counts once, however many events report it.

1. The first report in fold order counts. So the choice depends on the set of events, not on arrival.
2. Two reports are the same change if kind and `change` are equal.
3. `also` holds weaker names. They match only if one of the two reports lacks the better name.
4. Two versions of one event, both applied by the policy "both", both count.
5. A reversal beyond its redemption repeats a counted one of equal points, if one of the two has no id of its own.
"""

from decimal import Decimal
from hashlib import blake2b

from msgspec import Struct

from ledger.decimals import format_decimal
from ledger.facts import Occurrence
from ledger.facts.accounts import (
    AccountFact,
    ExpiryMoved,
    Issued,
    IssueReversed,
    PromisedConverted,
    RedemptionReversed,
)
from ledger.facts.adjustments import Removed

NAME_BYTES = 12
EVENT_BYTES = 8  # prefix of an event tag: equal for all versions of one event
ZERO = Decimal(0)


class CountedReport(Struct, array_like=True):
    """A counted report: its event, its position, and the points it changed in one account."""

    event: bytes
    position: int
    account_id: str
    points: Decimal


class Changes(Struct):
    """All counted changes of a wallet by name. Names are hashed to save memory, because nearly every fact has one."""

    counted: dict[
        bytes, CountedReport
    ] = {}  # by change; also by change and account, if a report is about several accounts
    also: dict[bytes, bytes] = {}  # weaker name -> name of its change


def earlier_report(changes: Changes, fact: AccountFact, occurrence: Occurrence) -> CountedReport | None:
    """Return the report that counted this change before. None if there is none."""
    if fact.change is None:
        return None
    kind = type(fact).__name__
    names = [_hashed_name(kind, name) for name in (fact.change, *fact.also)]
    names += [changes.also[names[0]]] if names[0] in changes.also else []
    for name in names:
        found = changes.counted.get(name)
        if found is not None and found.event != _event_prefix(occurrence):
            return found
    return None


def earlier_reversal(changes: Changes, fact: RedemptionReversed, occurrence: Occurrence) -> CountedReport | None:
    """Return the counted reversal of the same redemption and of equal points. None if both have an id of their own."""
    kind = type(fact).__name__
    for name in (
        _equal_reversal(fact, named=False),
        *([] if _has_own_id(fact) else [_equal_reversal(fact, named=True)]),
    ):
        found = changes.counted.get(changes.also.get(_hashed_name(kind, name), b""))
        if found is not None and found.event != _event_prefix(occurrence):
            return found
    return None


def _equal_reversal(fact: RedemptionReversed, *, named: bool) -> str:
    return f"{fact.redemption}={format_decimal(fact.points)}{'' if named else '?'}"


def _has_own_id(fact: RedemptionReversed) -> bool:
    """Return True if the vendor names the reversal, False if redemption and time name it."""
    return fact.change is not None and not fact.change.startswith(f"{fact.redemption}~")


def count_change(changes: Changes, fact: AccountFact, occurrence: Occurrence, account_id: str) -> None:
    """Record that a change counts for an account."""
    if fact.change is None:
        return
    kind = type(fact).__name__
    name = _hashed_name(kind, fact.change)
    points = points_of(fact)
    first: CountedReport = changes.counted.setdefault(
        name, CountedReport(_event_prefix(occurrence), occurrence.position, account_id, ZERO)
    )
    if first.account_id != account_id:
        first = changes.counted.setdefault(
            _hashed_name(kind, fact.change, account_id), CountedReport(first.event, first.position, account_id, ZERO)
        )
    first.points += points
    part = _part_name(fact)
    if part is not None:
        of_part = _hashed_name(kind, fact.change, f"{account_id}\n{part}")
        counted = CountedReport(first.event, first.position, account_id, ZERO)
        changes.counted.setdefault(of_part, counted).points += points
    others = fact.also
    if isinstance(fact, RedemptionReversed):
        others = (*others, _equal_reversal(fact, named=_has_own_id(fact)))
    for other in others:
        changes.also.setdefault(_hashed_name(kind, other), name)


def difference(changes: Changes, fact: AccountFact, report: CountedReport, account_id: str) -> Decimal | None:
    """Return the excess of a later report over the counted points of the account.

    None if there is no difference. None also if the two cannot be compared, such as a total with a part.
    """
    if isinstance(fact, IssueReversed) and fact.points is None:
        return None
    counted: CountedReport | None = report if report.account_id == account_id else None
    if counted is None and fact.change is not None:
        counted = changes.counted.get(_hashed_name(type(fact).__name__, fact.change, account_id))
    part = _part_name(fact)
    if part is not None and fact.change is not None:
        counted = changes.counted.get(_hashed_name(type(fact).__name__, fact.change, f"{account_id}\n{part}"))
    return (points_of(fact) - (counted.points if counted is not None else ZERO)) or None


def points_of(fact: AccountFact) -> Decimal:
    """Return the points of a fact, promised points included."""
    if isinstance(fact, Issued):
        granted = sum((grant.points for grant in fact.grants), ZERO)
        return granted + sum((promise.points for promise in fact.promises), ZERO)
    if isinstance(fact, PromisedConverted):
        return sum((grant.points for grant in fact.grants), ZERO)
    if isinstance(fact, IssueReversed):
        return (fact.points or ZERO) + (fact.promised or ZERO)
    points: Decimal = getattr(fact, "points", ZERO)
    return points


def _part_name(fact: AccountFact) -> str | None:
    """Return the name of the part that a fact reports, so that parts are compared with parts. None: the fact is the
    whole change.
    """
    if isinstance(fact, Removed):
        return fact.origin or ""
    if isinstance(fact, ExpiryMoved):
        return "\n".join(str(value) for value in (fact.old, fact.new, fact.origin, fact.promotion))
    return None


def _event_prefix(occurrence: Occurrence) -> bytes:
    return occurrence.event_tag[:EVENT_BYTES]


def _hashed_name(kind: str, name: str, account_id: str = "") -> bytes:
    return blake2b(f"{kind}\n{name}\n{account_id}".encode(), digest_size=NAME_BYTES).digest()
