"""Promised points: to come on a day or on a trigger; never spendable, lapsing or transferable before (trap 1)."""

from datetime import date
from decimal import Decimal

from ledger.facts import Occurrence
from ledger.facts.accounts import Promise
from ledger.facts.promises import PromiseCancelled, PromiseChanged, PromiseKept, PromiseMade
from projections.accounts.lots import ZERO, Account, Pending, credit, lot_id_of, post


def promise(
    account: Account,
    promised: Promise,
    occurrence: Occurrence,
    index: int,
    *,
    bill: str | None,
    bill_number: str | None,
) -> None:
    """Promise points. What was converted before this promise was told is taken from it first."""
    pending = Pending(
        promise_id=lot_id_of(occurrence, index),
        points=promised.points,
        remaining=promised.points,
        promised_at=occurrence.occurred_at,
        position=occurrence.position,
        converts_on=promised.converts_on,
        external=promised.external,
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


def convert(account: Account, points: Decimal, bill_number: str | None) -> str | None:
    """Take points out of promises, those of the bill first, then by day of conversion, then by age; the caller credits
    them. What nobody promised is awaited: the promise is history that we have not seen, or have not seen yet.

    Returns the bill that all of it was promised for, None if that is not one bill.
    """
    bills: set[str | None] = set()
    needed = points
    ahead = [pending for pending in account.pending.values() if pending.remaining]
    for pending in sorted(ahead, key=lambda pending: _order(pending, bill_number)):
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


def make(account: Account, fact: PromiseMade, occurrence: Occurrence) -> None:
    """Promise points under a name of the vendor's."""
    pending = _named(account, fact.promise, occurrence)
    pending.bill, pending.bill_number = fact.bill, fact.bill_number
    _set(account, pending, fact.points, fact.converts_on)


def change(account: Account, fact: PromiseChanged, occurrence: Occurrence) -> None:
    """Set what is promised under a name, and when; a promise not told before is made by it."""
    _set(account, _named(account, fact.promise, occurrence), fact.points, fact.converts_on)


def cancel(account: Account, fact: PromiseCancelled, occurrence: Occurrence) -> None:
    """Withdraw a named promise."""
    pending = _named(account, fact.promise, occurrence)
    if pending.remaining:
        post(account, "promised", "reversed", pending.remaining)
        pending.cancelled += pending.remaining
        pending.remaining = ZERO
    pending.over = True


def keep(account: Account, fact: PromiseKept, occurrence: Occurrence) -> None:
    """Turn a named promise into a lot; what it held beyond the lot will not come, what it lacked was not seen."""
    pending = _named(account, fact.promise, occurrence)
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


def _named(account: Account, name: str, occurrence: Occurrence) -> Pending:
    pending = account.pending.get(name)
    if pending is None:
        pending = Pending(name, ZERO, ZERO, occurrence.occurred_at, occurrence.position)
        account.pending[name] = pending
    return pending


def _set(account: Account, pending: Pending, points: Decimal, converts_on: date | None) -> None:
    """Make a promise be of so many points; one that is over stays over."""
    pending.converts_on = converts_on or pending.converts_on
    if pending.over:
        return
    difference = points - pending.remaining
    if difference > 0:
        post(account, "issued", "promised", difference)
    elif difference < 0:
        post(account, "promised", "reversed", -difference)
    pending.points = pending.remaining = points


def _order(pending: Pending, bill_number: str | None) -> tuple[bool, bool, str, str]:
    other_bill = bill_number is None or pending.bill_number != bill_number
    return (other_bill, pending.converts_on is None, str(pending.converts_on), pending.promise_id)
