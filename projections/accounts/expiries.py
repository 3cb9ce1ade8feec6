"""Points that expire by the vendor's word, and days of expiry that move. That a day is over is arithmetic: lots.py."""

from bisect import bisect_left, insort
from datetime import date, datetime, timedelta
from decimal import Decimal

from ledger.facts import Occurrence
from ledger.facts.accounts import Expired, ExpiryClaimed, ExpiryMoved
from projections.accounts.lots import (
    NO_DAY,
    ZERO,
    Account,
    Lot,
    Place,
    Reminder,
    credit,
    is_among,
    lapse_instant,
    lot_id_of,
    post,
    settle,
    take,
)
from projections.programme_terms import Day

EARLY_GRACE = timedelta(days=1)  # a day may end earlier where the vendor is than where its programme says


def expire(account: Account, fact: Expired, occurrence: Occurrence) -> None:
    """Match a reported expiry with lots of the days that the vendor names, then with lots that have lapsed, then with
    lots without a day, then with those due next; what no lot explains was in lots that we have not seen (trap 8)."""
    points = fact.points
    for bucket in fact.buckets:
        left = min(bucket.points, points)
        for places in (account.lapsed, account.open):
            for lot in _of_day(account, places, bucket.expires_on):
                expired = min(lot.remaining, left)
                if not expired:
                    continue
                _expire_lot(account, lot, expired)
                _note_early(account, lot, expired, occurrence)
                points, left = points - expired, left - expired
    undated = bisect_left(account.open, (NO_DAY,))  # they come last in the order of use
    for place in [*account.lapsed, *account.open[undated:], *account.open[:undated]] if points else ():
        lot = account.lots[place[2]]
        expired = min(lot.remaining, points)
        _expire_lot(account, lot, expired)
        _note_early(account, lot, expired, occurrence)
        points -= expired
        if not points:
            return
    if points:  # nobody is in debt and has points that can expire: what paid it was not seen either
        unseen = points + account.debt
        lot = credit(account, occurrence, unseen, source="unseen", origin="unseen", index=999, asserted=True)
        _expire_lot(account, lot, points)


def slide(account: Account, activity: str, now: datetime) -> None:
    """Let an activity begin the sliding periods of open lots anew; it wakes no lot that has lapsed."""
    terms = account.terms
    if terms is None or not terms.slides:
        return
    sliding = terms.sliding_by(activity)
    days: dict[int, Day | None] = {}  # by era: most lots slide together, and a day in a time zone costs
    moved = False
    for _, earned_at, lot_id in account.open:
        lot = account.lots[lot_id]
        if lot.rule not in sliding:
            continue
        era = terms.era_of(earned_at)
        if era is None or era not in days:
            day = terms.day_of(earned_at, now, known_since=not lot.asserted)
            if era is not None:
                days[era] = day
        else:
            day = days[era]
        if day is None or day == (lot.expires_on, lot.rule):
            continue
        moved = True
        lot.expires_on, lot.rule = day
        lot.lapses_at = lapse_instant(account, lot.expires_on, earned_at) if lot.expires_on is not None else None
    if moved:
        account.open = sorted(account.lots[lot_id].place() for _, _, lot_id in account.open)


def _note_early(account: Account, lot: Lot, points: Decimal, occurrence: Occurrence) -> None:
    """Count what was reported as expired and was not due: the vendor's day is another, or its report is wrong."""
    if lot.lapses_at is None or lot.lapses_at <= occurrence.occurred_at + EARLY_GRACE:
        return
    account.expired_early += points
    if account.expired_early_at is None:
        account.expired_early_at, account.expired_early_position = occurrence.occurred_at, occurrence.position


def _expire_lot(account: Account, lot: Lot, points: Decimal) -> None:
    source = "lapsed" if is_among(account.lapsed, lot.place()) else "available"
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
    same_day = [*_of_day(account, account.lapsed, fact.old), *_of_day(account, account.open, fact.old)]
    undated = [] if fact.old is None else _of_day(account, account.open, None)
    named = fact.promotion
    same_day.sort(key=lambda lot: (lot.promotion != named, lot.origin != fact.origin, lot.place()))
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


def remember_claim(account: Account, fact: ExpiryClaimed, occurrence: Occurrence) -> None:
    """Compare what the vendor announces to lapse on a day with the lots of that day. Nothing changes (trap 9)."""
    account.expiry_claimed, account.expiry_claimed_on = fact.points, fact.expires_on
    if fact.expires_on is None:
        return
    due = [*_of_day(account, account.lapsed, fact.expires_on), *_of_day(account, account.open, fact.expires_on)]
    held = sum((lot.remaining for lot in due), ZERO)
    account.reminders[fact.expires_on.isoformat()] = Reminder(
        fact.expires_on, fact.points, held, occurrence.occurred_at, occurrence.position
    )


def _of_day(account: Account, places: list[Place], day: date | None) -> list[Lot]:
    """Give the lots of a day among places in order."""
    ordinal = NO_DAY if day is None else day.toordinal()
    first, beyond = bisect_left(places, (ordinal,)), bisect_left(places, (ordinal + 1,))
    return [account.lots[lot_id] for _, _, lot_id in places[first:beyond]]


def _move_lot(
    account: Account, lot: Lot, points: Decimal, new: date | None, occurrence: Occurrence, index: int
) -> None:
    """Give part of a lot another day. A whole lot keeps its name; a part becomes a lot of its own."""
    lapsed = is_among(account.lapsed, lot.place())
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
    if moved.lapses_at is not None and moved.lapses_at <= occurrence.occurred_at:  # the new day is over already
        post(account, "available", "lapsed", points, moved.lot_id)
        insort(account.lapsed, moved.place())
    else:
        insort(account.open, moved.place())
        settle(account, moved)
