"""Undo a merge by counter-entries: the rest of the victim's points goes back to the victim's accounts.

1. Lots, debits and promises record their original holder.
2. Points that one holder spent from the other's lots stay spent.
3. That part of the lot becomes a lot of its own, on the spender's side.
   So a later reversal gives the points back to the spender.
"""

from bisect import insort
from collections.abc import Iterable, Set
from decimal import Decimal

from ledger.facts import Occurrence
from projections.accounts.account import DEBT, ZERO, Account, Debit, Lot, LotUse, Orphan, PendingPromise
from projections.accounts.lots import contains, count_use, lot_id_of, post, settle_debt, take_from_lot


def unmerge_account(survivor: Account, victim: Account, holders: Set[str], occurrence: Occurrence) -> None:
    """Return to the victim's account everything that has its original holder in `holders`.

    `holders` are the victim and the holders merged into it before.
    """
    _split_lots(survivor, holders, occurrence)
    lots = [lot for lot in survivor.lots.values() if lot.holder in holders]
    debits = {name: entry for name, entry in survivor.debits.items() if entry.holder in holders}
    for lot in lots:
        _move_lot(survivor, victim, lot)
    for name in debits:
        victim.debits[name] = survivor.debits.pop(name)
    _move_points(survivor, victim, "debt", -sum((_debt_of(entry) for entry in debits.values()), ZERO))
    _move_debit_class(survivor, victim, debits.values(), "held")
    _move_debit_class(survivor, victim, debits.values(), "in_transit")
    for name, pending in list(survivor.pending.items()):
        if pending.holder in holders:
            victim.pending[name] = survivor.pending.pop(name)
            _move_points(survivor, victim, "promised", pending.remaining)
    _move_records(survivor, victim, lots)
    own = victim.account_id.rsplit(":", 2)[0]
    moved: list[Lot | Debit | PendingPromise] = [*lots, *debits.values(), *victim.pending.values()]
    for item in moved:
        item.holder = None if item.holder == own else item.holder
    _move_lifetime(survivor, victim, holders, own)
    for account in (survivor, victim):
        for sort_key in list(account.open):
            settle_debt(account, account.lots[sort_key[2]])


def _split_lots(account: Account, holders: Set[str], occurrence: Occurrence) -> None:
    """Split lots: the part that the other side spent becomes a lot of the spender."""
    made = 0
    for entry in account.debits.values():
        for index, use in enumerate(entry.uses):
            lot = account.lots.get(use.lot_id)
            if lot is None or (lot.holder in holders) is (entry.holder in holders):
                continue
            spent = Lot(
                lot_id=lot_id_of(occurrence, made, ".spent"),
                origin=lot.origin,
                points=use.points,
                earned_at=lot.earned_at,
                position=lot.position,
                remaining=ZERO,
                expires_on=lot.expires_on,
                lapses_at=lot.lapses_at,
                promotion=lot.promotion,
                bill=lot.bill,
                bill_number=lot.bill_number,
                asserted=lot.asserted,
                rule=lot.rule,
                holder=entry.holder,
            )
            made += 1
            lot.points -= use.points
            count_use(lot, -use.points, entry.to)
            count_use(spent, use.points, entry.to)
            account.lots[spent.lot_id] = spent
            entry.uses[index] = LotUse(spent.lot_id, use.points)


def _move_lot(survivor: Account, victim: Account, lot: Lot) -> None:
    """Move one lot with its remaining points."""
    remaining = lot.remaining
    if remaining:
        name = "lapsed" if contains(survivor.lapsed, lot.sort_key()) else "available"
        post(survivor, name, "merged", remaining, lot.lot_id)
        post(victim, "merged", name, remaining, lot.lot_id)
        take_from_lot(survivor, lot, remaining)
        lot.remaining = remaining
        insort(victim.lapsed if name == "lapsed" else victim.open, lot.sort_key())
    victim.lots[lot.lot_id] = survivor.lots.pop(lot.lot_id)


def _debt_of(entry: Debit) -> Decimal:
    return sum((use.points for use in entry.uses if use.lot_id == DEBT), ZERO)


def _move_debit_class(survivor: Account, victim: Account, debits: Iterable[Debit], name: str) -> None:
    """Move the points of debits in one class, at most the points that the class still holds."""
    points = sum((entry.points - entry.reversed for entry in debits if entry.to == name), ZERO)
    _move_points(survivor, victim, name, max(ZERO, min(points, survivor.classes.get(name, ZERO))))


def _move_points(survivor: Account, victim: Account, name: str, points: Decimal) -> None:
    if points:
        post(survivor, name, "merged", points)
        post(victim, "merged", name, points)


def _move_records(survivor: Account, victim: Account, lots: Iterable[Lot]) -> None:
    """Move the records that refer to the lots: early reversals, adjustments, and returns of bills."""
    ids = {lot.lot_id for lot in lots}
    for redemption, orphan in list(survivor.orphans.items()):
        moved = [lot_id for lot_id in orphan.lots if lot_id in ids]
        if moved:
            points = sum((victim.lots[lot_id].points for lot_id in moved), ZERO)
            victim_orphan = victim.orphans.setdefault(redemption, Orphan())
            victim_orphan.points += points
            victim_orphan.lots += moved
            orphan.points -= points
            orphan.lots = [lot_id for lot_id in orphan.lots if lot_id not in ids]
            if not orphan.points:
                del survivor.orphans[redemption]
    for name, adjustment in list(survivor.adjustments.items()):
        if adjustment.lot_id in ids or adjustment.debit in victim.debits:
            victim.adjustments[name] = survivor.adjustments.pop(name)
    for lot in lots:
        for bill in (lot.bill, lot.bill_number):
            for key, points in survivor.bills_reversed.items():
                if bill and (key == bill or key.endswith(f"~{bill}")):
                    victim.bills_reversed[key] = points
            if bill in survivor.returned:
                victim.returned[bill] = survivor.returned[bill]


def _move_lifetime(survivor: Account, victim: Account, holders: Set[str], own: str) -> None:
    given = {holder: points for holder, points in survivor.lifetime_of.items() if holder in holders}
    for holder in given:
        del survivor.lifetime_of[holder]
    total = sum(given.values(), ZERO)
    survivor.lifetime -= total
    victim.lifetime = total - (victim.lifetime_opening or ZERO)
    victim.lifetime_of = {holder: points for holder, points in given.items() if holder != own}
