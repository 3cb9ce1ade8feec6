"""Promised points: they become spendable on a day or on a trigger.

Before that they cannot be spent, lapse or be transferred (docs/domain.md, trap 1).
"""

from datetime import date
from decimal import Decimal

from ledger.facts import Occurrence
from ledger.facts.accounts import Promise
from ledger.facts.promises import PromiseCancelled, PromiseChanged, PromiseKept, PromiseMade
from projections.accounts.account import ZERO, Account, PendingPromise
from projections.accounts.lots import credit, lot_id_of, post


def add_promise(
    account: Account,
    promised: Promise,
    occurrence: Occurrence,
    index: int,
    *,
    bill: str | None,
    bill_number: str | None,
) -> None:
    """Promise points. Points that were converted before this promise are taken from it first."""
    pending = PendingPromise(
        promise_id=lot_id_of(occurrence, index),
        points=promised.points,
        remaining=promised.points,
        promised_at=occurrence.occurred_at,
        position=occurrence.position,
        converts_on=promised.converts_on,
        external=promised.external,
        promotion=promised.promotion,
        bill=bill,
        bill_number=bill_number,
    )
    account.pending[pending.promise_id] = pending
    post(account, "issued", "promised", promised.points)
    early = min(account.awaited, pending.remaining)
    if early:
        account.awaited -= early
        pending.remaining -= early
        pending.converted += early
        post(account, "promised", "unseen", early)


def convert_points(account: Account, points: Decimal, bill_number: str | None) -> str | None:
    """Take points from promises; the caller credits them. Order: promises of the bill, then by conversion day, then by
    id.

    Points beyond all promises belong to a promise that was not reported yet, or never. They are kept as `awaited`.
    Returns the bill of all used promises. None if there is no such bill, or more than one.
    """
    bills: set[str | None] = set()
    needed = points
    open_promises = [pending for pending in account.pending.values() if pending.remaining]
    for pending in sorted(open_promises, key=lambda pending: _conversion_order(pending, bill_number)):
        part = min(pending.remaining, needed)
        if not part:
            break
        pending.remaining -= part
        pending.converted += part
        needed -= part
        bills.add(pending.bill)
    if needed > 0:
        post(account, "unseen", "promised", needed)
        account.awaited += needed
        bills.add(None)
    return bills.pop() if len(bills) == 1 else None


def make_promise(account: Account, fact: PromiseMade, occurrence: Occurrence) -> None:
    """Points were promised under the vendor's name for the promise."""
    pending = _named_promise(account, fact.promise, occurrence)
    pending.bill, pending.bill_number = fact.bill, fact.bill_number
    _set_points(account, pending, fact.points, fact.converts_on)


def change_promise(account: Account, fact: PromiseChanged, occurrence: Occurrence) -> None:
    """The points and the day of a named promise change. An unknown promise is created."""
    _set_points(account, _named_promise(account, fact.promise, occurrence), fact.points, fact.converts_on)


def cancel_promise(account: Account, fact: PromiseCancelled, occurrence: Occurrence) -> None:
    """A named promise is cancelled. Its remaining points will not come."""
    pending = _named_promise(account, fact.promise, occurrence)
    if pending.remaining:
        post(account, "promised", "reversed", pending.remaining)
        pending.cancelled += pending.remaining
        pending.remaining = ZERO
    pending.over = True


def keep_promise(account: Account, fact: PromiseKept, occurrence: Occurrence) -> None:
    """A named promise becomes a lot. Promised points beyond the lot are cancelled; missing ones count as unseen."""
    pending = _named_promise(account, fact.promise, occurrence)
    difference = fact.points - pending.remaining
    if difference > 0:
        post(account, "unseen", "promised", difference)
    elif difference < 0:
        post(account, "promised", "reversed", -difference)
        pending.cancelled -= difference
    pending.converted += fact.points
    pending.remaining = ZERO
    pending.over = True
    credit(
        account,
        occurrence,
        fact.points,
        source="promised",
        origin="converted",
        bill=pending.bill,
        bill_number=pending.bill_number,
    )
    account.lifetime += fact.points


def _named_promise(account: Account, name: str, occurrence: Occurrence) -> PendingPromise:
    pending = account.pending.get(name)
    if pending is None:
        pending = PendingPromise(name, ZERO, ZERO, occurrence.occurred_at, occurrence.position)
        account.pending[name] = pending
    return pending


def _set_points(account: Account, pending: PendingPromise, points: Decimal, converts_on: date | None) -> None:
    """Set the points of a promise. A promise that is over does not change."""
    pending.converts_on = converts_on or pending.converts_on
    if pending.over:
        return
    difference = points - pending.remaining
    if difference > 0:
        post(account, "issued", "promised", difference)
    elif difference < 0:
        post(account, "promised", "reversed", -difference)
    pending.points = pending.remaining = points


def _conversion_order(pending: PendingPromise, bill_number: str | None) -> tuple[bool, bool, str, str]:
    other_bill = bill_number is None or pending.bill_number != bill_number
    return (other_bill, pending.converts_on is None, str(pending.converts_on), pending.promise_id)
