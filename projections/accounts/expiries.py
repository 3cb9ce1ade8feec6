"""Points that expire by the vendor's word, and days of expiry that move. That a day is over is arithmetic: lots.py."""

from bisect import insort
from datetime import date, datetime
from decimal import Decimal

from ledger.facts import Occurrence
from ledger.facts.accounts import Expired, ExpiryMoved
from ledger.facts.terms import ProgrammeTermsSet
from projections.accounts.lots import (
    ZERO,
    Account,
    Lot,
    credit,
    lapse_instant,
    lot_id_of,
    pass_time,
    post,
    settle,
    take,
)


def expire(account: Account, fact: Expired, occurrence: Occurrence) -> None:
    """Match a reported expiry with lots that have lapsed, then with lots without a day, then with those due next; what
    no lot explains was in lots that we have not seen (trap 8)."""
    points = fact.points
    undated = [place for place in account.open if account.lots[place[2]].expires_on is None]
    for place in [*account.lapsed, *undated, *account.open]:
        lot = account.lots[place[2]]
        expired = min(lot.remaining, points)
        if expired:
            _expire_lot(account, lot, expired)
            points -= expired
    if points:
        lot = credit(account, occurrence, points, source="unseen", origin="unseen", index=999, asserted=True)
        if lot.remaining:
            _expire_lot(account, lot, lot.remaining)


def slide(account: Account, activity: str, now: datetime) -> None:
    """Let an activity begin the sliding periods of open lots anew; it wakes no lot that has lapsed."""
    terms = account.terms
    if terms is None or not terms.slides:
        return
    sliding = {version.version for version in terms.versions if _slides(version, activity)}
    for _, _, lot_id in account.open:
        lot = account.lots[lot_id]
        if lot.rule in sliding:
            day = terms.day_of(lot.earned_at, now, known_since=not lot.asserted)
            if day is not None:
                lot.expires_on, lot.rule = day
                lot.lapses_at = (
                    lapse_instant(account, lot.expires_on, lot.earned_at) if lot.expires_on is not None else None
                )
    account.open = sorted(account.lots[lot_id].place() for _, _, lot_id in account.open)


def _slides(version: ProgrammeTermsSet, activity: str) -> bool:
    return version.expiry.kind == "sliding" and activity in version.expiry.activities


def _expire_lot(account: Account, lot: Lot, points: Decimal) -> None:
    source = "lapsed" if lot.place() in account.lapsed else "available"
    post(account, source, "expired", points, lot.lot_id)
    lot.expired += points
    take(account, lot, points)


def move(account: Account, fact: ExpiryMoved, occurrence: Occurrence) -> None:
    """Move points from lots of the old day to a lot of the new one (trap 7): no balance changes.

    Points of no known lot come from lots without a day; beyond those a lot is asserted, for the vendor knows it.
    """
    if fact.old == fact.new:
        return
    points = fact.points
    same_day = [lot for lot in account.lots.values() if lot.remaining and lot.expires_on == fact.old]
    undated = [lot for lot in account.lots.values() if lot.remaining and lot.expires_on is None]
    same_day.sort(key=lambda lot: (lot.origin != fact.origin, lot.place()))
    undated.sort(key=lambda lot: (not lot.asserted, lot.place()))
    for index, lot in enumerate([*same_day, *undated]):
        part = min(lot.remaining, points)
        if part:
            _move_lot(account, lot, part, fact.new, occurrence, index)
            points -= part
    if points:
        credit(
            account,
            occurrence,
            points,
            source="unseen",
            origin=fact.origin,
            index=999,
            expires_on=fact.new,
            asserted=True,
        )


def _move_lot(
    account: Account, lot: Lot, points: Decimal, new: date | None, occurrence: Occurrence, index: int
) -> None:
    """Give part of a lot another day. A whole lot keeps its name; a part becomes a lot of its own."""
    lapsed = lot.place() in account.lapsed
    if lapsed:  # what had lapsed lives again
        post(account, "lapsed", "available", points, lot.lot_id)
    take(account, lot, points)
    moved = lot
    if lot.points != points:
        lot.points -= points
        moved = Lot(
            lot_id=lot_id_of(occurrence, index),
            origin=lot.origin,
            points=points,
            earned_at=lot.earned_at,
            position=occurrence.position,
            remaining=ZERO,
            promotion=lot.promotion,
            bill=lot.bill,
            bill_number=lot.bill_number,
            asserted=lot.asserted,
        )
        account.lots[moved.lot_id] = moved
    moved.expires_on = new
    moved.lapses_at = lapse_instant(account, new, moved.earned_at) if new else None
    moved.rule = None
    moved.remaining = points
    insort(account.open, moved.place())
    settle(account, moved)
    list(pass_time(account, occurrence.occurred_at))  # the new day may be over already
