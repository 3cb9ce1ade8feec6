"""Expiries that the vendor reports, and days of expiry that move. Lots past their day lapse in lots.py."""

from bisect import bisect_left, insort
from datetime import date, datetime, timedelta
from decimal import Decimal

from ledger.facts import Occurrence
from ledger.facts.accounts import Expired, ExpiryClaimed, ExpiryMoved
from projections.accounts.account import NO_DAY, ZERO, Account, ExpiryReminder, Lot, LotSortKey
from projections.accounts.lapses import has_lapsed
from projections.accounts.lots import (
    UNSEEN_INDEX,
    contains,
    credit,
    lapse_time,
    lot_id_of,
    post,
    settle_debt,
    take_from_lot,
)
from projections.programme_terms import ExpiryDay

EARLY_GRACE = timedelta(days=1)  # the vendor's time zone may be ahead of the programme's


def expire_points(account: Account, fact: Expired, occurrence: Occurrence) -> None:
    """The vendor reported expired points but no lots (docs/domain.md, trap 8). Lots are used in this order:

    1. lots of the days that the vendor names
    2. lapsed lots
    3. lots without a day
    4. the lots that lapse next
    5. an *unseen* lot for the rest
    """
    points = fact.points
    for bucket in fact.buckets:
        bucket_points = min(bucket.points, points)
        for sort_keys in (account.lapsed, account.open):
            for lot in _lots_of_day(account, sort_keys, bucket.expires_on):
                expired = min(lot.remaining, bucket_points)
                if not expired:
                    continue
                _expire_lot(account, lot, expired)
                _count_early(account, lot, expired, occurrence)
                points, bucket_points = points - expired, bucket_points - expired
    undated = bisect_left(account.open, (NO_DAY,))  # they are last in the order of use
    for sort_key in [*account.lapsed, *account.open[undated:], *account.open[:undated]] if points else ():
        lot = account.lots[sort_key[2]]
        expired = min(lot.remaining, points)
        _expire_lot(account, lot, expired)
        _count_early(account, lot, expired, occurrence)
        points -= expired
        if not points:
            return
    if points:  # points of an account in debt cannot expire: the points that paid the debt are unseen too
        unseen = points + account.debt
        lot = credit(account, occurrence, unseen, source="unseen", origin="unseen", index=UNSEEN_INDEX, asserted=True)
        _expire_lot(account, lot, points)


def restart_sliding_periods(account: Account, activity: str, now: datetime) -> None:
    """Restart the sliding periods of open lots after an activity. Lapsed lots stay lapsed."""
    terms = account.terms
    if terms is None or not terms.slides:
        return
    sliding = terms.sliding_by(activity)
    days: dict[int, ExpiryDay | None] = {}  # by era: most lots get the same day, and time zone arithmetic is slow
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
        lot.lapses_at = lapse_time(account, lot.expires_on, earned_at) if lot.expires_on is not None else None
    if moved:
        account.open = sorted(account.lots[lot_id].sort_key() for _, _, lot_id in account.open)


def _count_early(account: Account, lot: Lot, points: Decimal, occurrence: Occurrence) -> None:
    """Count points reported as expired before their lot's day. Our day or the vendor's report is wrong."""
    if lot.lapses_at is None or lot.lapses_at <= occurrence.occurred_at + EARLY_GRACE:
        return
    account.expired_early += points
    if account.expired_early_at is None:
        account.expired_early_at, account.expired_early_position = occurrence.occurred_at, occurrence.position


def _expire_lot(account: Account, lot: Lot, points: Decimal) -> None:
    source = "lapsed" if contains(account.lapsed, lot.sort_key()) else "available"
    post(account, source, "expired", points, lot.lot_id)
    lot.expired += points
    take_from_lot(account, lot, points)


def move_expiry(account: Account, fact: ExpiryMoved, occurrence: Occurrence) -> None:
    """Points of lots with the old day get the new day (docs/domain.md, trap 7). The total does not change.

    Points of no known lot come from lots without a day. The rest becomes an asserted lot, because the vendor knows it.
    """
    if fact.old == fact.new:
        return
    points = fact.points
    same_day = [*_lots_of_day(account, account.lapsed, fact.old), *_lots_of_day(account, account.open, fact.old)]
    undated = [] if fact.old is None else _lots_of_day(account, account.open, None)
    same_day.sort(key=lambda lot: (lot.promotion != fact.promotion, lot.origin != fact.origin, lot.sort_key()))
    undated.sort(key=lambda lot: (not lot.asserted, lot.sort_key()))
    for index, lot in enumerate([*same_day, *undated]):
        part = min(lot.remaining, points)
        if part:
            _set_lot_day(account, lot, part, fact.new, occurrence, index)
            points -= part
    if points:
        credit(
            account,
            occurrence,
            points,
            source="unseen",
            origin=fact.origin,
            index=UNSEEN_INDEX,
            expires_on=fact.new,
            asserted=True,
        )


def compare_reminder(account: Account, fact: ExpiryClaimed, occurrence: Occurrence) -> None:
    """The vendor announced points that will lapse on a day. They are compared with our lots; nothing changes.

    See docs/domain.md, trap 9.
    """
    account.expiry_claimed, account.expiry_claimed_on = fact.points, fact.expires_on
    if fact.expires_on is None:
        return
    due = [
        *_lots_of_day(account, account.lapsed, fact.expires_on),
        *_lots_of_day(account, account.open, fact.expires_on),
    ]
    held = sum((lot.remaining for lot in due), ZERO)
    account.reminders[fact.expires_on.isoformat()] = ExpiryReminder(
        fact.expires_on, fact.points, held, occurrence.occurred_at, occurrence.position
    )


def _lots_of_day(account: Account, sort_keys: list[LotSortKey], day: date | None) -> list[Lot]:
    """Return the lots of one day from a sorted list of sort keys."""
    ordinal = NO_DAY if day is None else day.toordinal()
    first, beyond = bisect_left(sort_keys, (ordinal,)), bisect_left(sort_keys, (ordinal + 1,))
    return [account.lots[lot_id] for _, _, lot_id in sort_keys[first:beyond]]


def _set_lot_day(
    account: Account, lot: Lot, points: Decimal, new: date | None, occurrence: Occurrence, index: int
) -> None:
    """Set another day for points of a lot. A whole lot keeps its id; a part becomes a new lot."""
    lapsed = contains(account.lapsed, lot.sort_key())
    if lapsed:  # lapsed points become available again
        post(account, "lapsed", "available", points, lot.lot_id)
    take_from_lot(account, lot, points)
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
    moved.lapses_at = lapse_time(account, new, moved.earned_at) if new else None
    moved.rule = None
    moved.remaining = points
    if has_lapsed(moved.lapses_at, occurrence.occurred_at):  # the new day ended already
        post(account, "available", "lapsed", points, moved.lot_id)
        insort(account.lapsed, moved.sort_key())
    else:
        insort(account.open, moved.sort_key())
        settle_debt(account, moved)
