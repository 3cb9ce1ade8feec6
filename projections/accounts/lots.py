"""Arithmetic of lots and postings, used by every points rule.

Invariants, after every fact:

1. The classes of an account sum to zero. Each posting takes from one class and adds to another.
2. Class "available" = the sum of `remaining` over open lots.
3. Class "lapsed" = the sum of `remaining` over lots past their day that the vendor has not reported as expired.
4. Class "debt" = minus the debt.
5. In every lot, remaining >= 0.
6. In every lot, points = remaining + redeemed + sent + removed + expired + returned.

Order of use of lots:

1. the day of expiry; lots without a day come last
2. the time earned
3. the lot id

The order is total and does not depend on the order of arrival.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import takewhile

from ledger.facts import Occurrence
from projections.accounts.account import DEBT, NO_ORPHAN, ZERO, Account, Debit, Lot, LotSortKey, LotUse, Posting
from projections.accounts.classes import LOT_COLUMNS, PROMISE_CLASS_OF
from projections.accounts.lapses import has_lapsed, lapsed_between
from projections.programme_terms import end_of_day

# Indexes of asserted lots. They are higher than the indexes of a fact's grants.
OPENING_INDEX = 998
UNSEEN_INDEX = 999


def post(account: Account, source: str, target: str, points: Decimal, lot_id: str | None = None) -> None:
    """Post points from one class to another. The sum over all classes stays zero."""
    if source == "promised":
        target = PROMISE_CLASS_OF.get(target, target)
    elif target == "promised":
        source = PROMISE_CLASS_OF.get(source, source)
    classes = account.classes
    classes[source] = classes.get(source, ZERO) - points
    classes[target] = classes.get(target, ZERO) + points
    account.postings.append(Posting(source, target, points, lot_id))


def lapse_time(account: Account, day: date, earned_at: datetime) -> datetime | None:
    """Return the instant at which a day ends in the programme's time zone. None if the day means "never"."""
    return end_of_day(day) if account.terms is None else account.terms.lapses_at(day, earned_at)


def lot_id_of(occurrence: Occurrence, index: int, suffix: str = "") -> str:
    """Build a lot id from the fact that made the lot."""
    return f"{occurrence.event_tag.hex()}.{occurrence.ordinal:02d}.{index:03d}{suffix}"


def credit(
    account: Account,
    occurrence: Occurrence,
    points: Decimal,
    *,
    source: str,
    origin: str,
    index: int = 0,
    expires_on: date | None = None,
    promotion: str | None = None,
    bill: str | None = None,
    bill_number: str | None = None,
    asserted: bool = False,
    apply_terms: bool = True,
) -> Lot:
    """Add a lot with points from the class `source`. A debt is settled from it first.

    If the vendor names no day, the programme's terms give one. `apply_terms=False` switches that off.
    """
    now = occurrence.occurred_at
    lot_id = lot_id_of(occurrence, index, f".{origin}" if asserted else "")
    rule: str | None = None
    if expires_on is None and apply_terms and account.terms is not None:
        day = account.terms.day_of(now, now, known_since=not asserted)
        if day is not None:
            expires_on, rule = day
    lapses_at = lapse_time(account, expires_on, now) if expires_on else None
    lot = account.lots[lot_id] = Lot(
        lot_id=lot_id, origin=origin, points=points, earned_at=now, position=occurrence.position, remaining=points,
        expires_on=expires_on, lapses_at=lapses_at, promotion=promotion, bill=bill, bill_number=bill_number,
        asserted=asserted, rule=rule,
    )  # fmt: skip
    if source == "unseen" and account.claimed is not None:
        account.unseen_since += points
        if account.drift_since is None:
            account.drift_since, account.drift_position = occurrence.occurred_at, occurrence.position
    if has_lapsed(lapses_at, now):  # issued after its own day ended
        post(account, source, "lapsed", points, lot.lot_id)
        insort(account.lapsed, lot.sort_key())
        return lot
    post(account, source, "available", points, lot.lot_id)
    insort(account.open, lot.sort_key())
    settle_debt(account, lot)
    return lot


def settle_debt(account: Account, lot: Lot) -> None:
    """Settle the debt from an open lot. The oldest debit is paid first."""
    owed = min(account.debt, lot.remaining)
    if owed <= 0:
        return
    post(account, "available", "debt", owed, lot.lot_id)
    take_from_lot(account, lot, owed)
    unpaid = owed
    for debit in account.debits.values():
        if not unpaid:
            break
        for index, use in enumerate(debit.uses):
            if use.lot_id != DEBT or not unpaid:
                continue
            paid = min(use.points, unpaid)
            unpaid -= paid
            count_use(lot, paid, debit.to)
            still_owed = [LotUse(DEBT, use.points - paid)] if use.points > paid else []
            debit.uses[index : index + 1] = [LotUse(lot.lot_id, paid), *still_owed]
    lot.returned += unpaid  # debt without a debit: points of a return whose lots are unknown


def take_from_lot(account: Account, lot: Lot, points: Decimal) -> None:
    """Reduce `remaining` of an open or lapsed lot. A lot without remaining points leaves both lists."""
    lot.remaining -= points
    if not lot.remaining:
        sort_key = lot.sort_key()
        for sort_keys in (account.open, account.lapsed):
            if contains(sort_keys, sort_key):
                del sort_keys[bisect_left(sort_keys, sort_key)]


def contains(sort_keys: Sequence[LotSortKey], sort_key: LotSortKey) -> bool:
    """Return True if a sorted list contains the sort key."""
    index = bisect_left(sort_keys, sort_key)
    return index < len(sort_keys) and sort_keys[index] == sort_key


def return_to_lot(account: Account, lot: Lot, points: Decimal) -> None:
    """Increase `remaining` of a lot that has not lapsed. A used-up lot is opened again."""
    if not lot.remaining:
        insort(account.open, lot.sort_key())
    lot.remaining += points


def spend(account: Account, points: Decimal, target: str, first: Sequence[str] = ()) -> tuple[list[LotUse], Decimal]:
    """Take points from open lots into the class `target`. Lots in `first` are used first, then the order of use
    applies.

    Returns the uses, and the points that no lot could pay.
    """
    uses: list[LotUse] = []
    needed = points
    for lot_id in first:
        if needed and contains(account.open, account.lots[lot_id].sort_key()):
            needed = _spend_from(account, account.lots[lot_id], needed, target, uses)
    while needed and account.open:
        needed = _spend_from(account, account.lots[account.open[0][2]], needed, target, uses)
    return uses, needed


def _spend_from(account: Account, lot: Lot, needed: Decimal, target: str, uses: list[LotUse]) -> Decimal:
    points = min(lot.remaining, needed)
    count_use(lot, points, target)
    post(account, "available", target, points, lot.lot_id)
    take_from_lot(account, lot, points)
    uses.append(LotUse(lot.lot_id, points))
    return needed - points


def count_use(lot: Lot, points: Decimal, target: str) -> None:
    """Count points that a lot gave to a class. Negative points count as given back."""
    column = LOT_COLUMNS[target]
    setattr(lot, column, getattr(lot, column) + points)


def debit(
    account: Account, occurrence: Occurrence, points: Decimal, name: str, target: str, first: Sequence[str] = ()
) -> None:
    """Spend points. Lots in `first` are used first.

    Points beyond the lots prove history that was never reported: a vendor allows no spending beyond the balance, least
    of all in debt. So an *unseen* lot of the missing points and the debt is asserted, flagged, and used at once.
    """
    orphan = account.orphans.pop(name, NO_ORPHAN)
    uses, missing = spend(account, points, target, [*orphan.lots, *first])
    if missing > 0:
        unseen = missing + account.debt
        credit(account, occurrence, unseen, source="unseen", origin="unseen", index=UNSEEN_INDEX, asserted=True)
        more_uses, _ = spend(account, missing, target)
        uses += more_uses
    entry = account.debits.setdefault(name, Debit(to=target))
    entry.points += points
    entry.reversed += min(points, orphan.points)
    entry.uses += [use for use in uses if use.lot_id not in orphan.lots]  # given back already
    if orphan.points > points:
        account.contested = True


def lapse_due_lots(account: Account, now: datetime) -> Iterable[tuple[datetime, Lot]]:
    """Lapse the lots whose day ended by `now`, in order. Yields the instant and the lot after each posting."""
    today = now.toordinal()
    begun = takewhile(lambda sort_key: sort_key[0] <= today, account.open)  # no other day can have ended, in any zone
    for lapsed_at, lot in lapsed_between((account.lots[lot_id] for _, _, lot_id in begun), None, now):
        del account.open[bisect_left(account.open, lot.sort_key())]
        post(account, "available", "lapsed", lot.remaining, lot.lot_id)
        insort(account.lapsed, lot.sort_key())
        yield lapsed_at, lot
