"""Business keys: one real-world change counts once, however many events report it.

Of several reports the first in the order of the fold counts, so which one does is a function of the set of events. A
report is known by the kind of its facts and `change`; `also` are weaker names, by which reports are the same only where
one of them lacks the better name. Versions of one event that an operator has chosen to apply both ("both") both count.
"""

from decimal import Decimal
from hashlib import blake2b

from msgspec import Struct

from ledger.facts import Occurrence
from ledger.facts.accounts import AccountFact, ExpiryMoved, Issued, IssueReversed, PromisedConverted
from ledger.facts.adjustments import Removed

NAME_BYTES = 12
EVENT_BYTES = 8  # of a tag: the same for all versions of one event
ZERO = Decimal(0)


class Counted(Struct, array_like=True):
    """A report that was counted: its event, and what it did to one account."""

    event: bytes
    position: int
    account_id: str
    points: Decimal


class Changes(Struct):
    """All changes of a wallet that were counted, by name; names are hashed, for there is one for nearly every fact."""

    counted: dict[bytes, Counted] = {}  # by change, and by change and account where a report is about several
    also: dict[bytes, bytes] = {}  # weaker names, each with its change


def earlier_report(changes: Changes, fact: AccountFact, occurrence: Occurrence) -> Counted | None:
    """Return the report by which this change was counted before, None if it was not."""
    if fact.change is None:
        return None
    kind = type(fact).__name__
    names = [_name(kind, name) for name in (fact.change, *fact.also)]
    names += [changes.also[names[0]]] if names[0] in changes.also else []
    for name in names:
        found = changes.counted.get(name)
        if found is not None and found.event != _event(occurrence):
            return found
    return None


def count(changes: Changes, fact: AccountFact, occurrence: Occurrence, account_id: str) -> None:
    """Remember that a change has been counted for an account."""
    if fact.change is None:
        return
    kind = type(fact).__name__
    name = _name(kind, fact.change)
    points = points_of(fact)
    first: Counted = changes.counted.setdefault(
        name, Counted(_event(occurrence), occurrence.position, account_id, ZERO)
    )
    if first.account_id != account_id:
        first = changes.counted.setdefault(
            _name(kind, fact.change, account_id), Counted(first.event, first.position, account_id, ZERO)
        )
    first.points += points
    part = _part_of(fact)
    if part is not None:
        of_part = _name(kind, fact.change, f"{account_id}\n{part}")
        counted = Counted(first.event, first.position, account_id, ZERO)
        changes.counted.setdefault(of_part, counted).points += points
    for other in fact.also:
        changes.also.setdefault(_name(kind, other), name)


def difference(changes: Changes, fact: AccountFact, report: Counted, account_id: str) -> Decimal | None:
    """Return by how much a later report differs from what was counted for the account; None if it does not, or if the
    two cannot be compared (a total and a share of it)."""
    if isinstance(fact, IssueReversed) and fact.points is None:
        return None
    counted: Counted | None = report if report.account_id == account_id else None
    if counted is None and fact.change is not None:
        counted = changes.counted.get(_name(type(fact).__name__, fact.change, account_id))
    part = _part_of(fact)
    if part is not None and fact.change is not None:
        counted = changes.counted.get(_name(type(fact).__name__, fact.change, f"{account_id}\n{part}"))
    return (points_of(fact) - (counted.points if counted is not None else ZERO)) or None


def points_of(fact: AccountFact) -> Decimal:
    """Return the points that a fact is about, promised ones included."""
    if isinstance(fact, Issued):
        granted = sum((grant.points for grant in fact.grants), ZERO)
        return granted + sum((promise.points for promise in fact.promises), ZERO)
    if isinstance(fact, PromisedConverted):
        return sum((grant.points for grant in fact.grants), ZERO)
    if isinstance(fact, IssueReversed):
        return (fact.points or ZERO) + (fact.promised or ZERO)
    points: Decimal = getattr(fact, "points", ZERO)
    return points


def _part_of(fact: AccountFact) -> str | None:
    """Name the part of a change that a fact tells, where one report may tell several parts to one account: compared are
    parts, not a part with the whole. None for facts that tell a change as a whole."""
    if isinstance(fact, Removed):
        return fact.origin or ""
    if isinstance(fact, ExpiryMoved):
        return "\n".join(str(one) for one in (fact.old, fact.new, fact.origin, fact.promotion))
    return None


def _event(occurrence: Occurrence) -> bytes:
    return occurrence.event_tag[:EVENT_BYTES]


def _name(kind: str, name: str, account_id: str = "") -> bytes:
    return blake2b(f"{kind}\n{name}\n{account_id}".encode(), digest_size=NAME_BYTES).digest()
