from decimal import Decimal

from ledger.facts.badges import BadgeEarned, EarnLimit
from projections.badges import BADGES
from tests.support.fold_helpers import day, on, row_of, rows_of


def earned(earn: str, *counts: tuple[str, int | None]) -> BadgeEarned:
    limits = tuple(EarnLimit(level, count=None if count is None else Decimal(count)) for level, count in counts)
    return BadgeEarned(customer="capillary:1:ann", badge="b", earn=earn, limits=limits)


def test_a_badge_is_counted_by_its_earnings() -> None:
    row = row_of(BADGES, on(1, earned("e1")), on(5, earned("e2")))

    assert (row.earned_count, row.first_earned_at, row.last_earned_at) == (2, day(1), day(5))


def test_an_earning_that_is_reported_twice_counts_once() -> None:
    told = [on(1, earned("e1")), on(2, earned("e1"))]

    assert row_of(BADGES, *told).earned_count == 1
    assert [row.earned_at for row in rows_of(BADGES, *told)["badge_earnings"]] == [day(1)]


def test_a_count_above_ours_proves_earnings_that_were_never_reported() -> None:
    row = row_of(BADGES, on(1, earned("e1", ("CUSTOMER", 2), ("CUSTOMER", 5), ("CUSTOMER", None))))

    assert (row.claimed_count, row.missing_count) == (5, 4)


def test_a_count_over_all_customers_is_not_compared() -> None:
    row = row_of(BADGES, on(1, earned("e1", ("BADGE", 1000))))

    assert (row.claimed_count, row.missing_count) == (None, 0)


def test_a_count_within_a_short_window_may_be_below_ours() -> None:
    row = row_of(BADGES, on(1, earned("e1")), on(90, earned("e2", ("CUSTOMER", 1))))

    assert (row.earned_count, row.claimed_count, row.missing_count) == (2, 1, 0)


def test_a_missing_earning_that_is_reported_late_is_missing_no_more() -> None:
    told = [on(5, earned("e2", ("CUSTOMER", 2)))]

    assert row_of(BADGES, *told).missing_count == 1
    assert row_of(BADGES, *told, on(1, earned("e1"), position=9)).missing_count == 0
