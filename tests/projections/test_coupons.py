"""Coupons: redeemed, reversed and used up. Each reported value is kept, in any order of events."""

from datetime import date
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from ledger.facts.coupons import CouponIssued, CouponRedeemed, CouponRedemptionReversed
from projections.coupons import COUPONS
from tests.support.fold_helpers import day, on, row_of

COUPON = "voucherify:-:v_1"


def issued(**more: Any) -> CouponIssued:
    return CouponIssued(coupon=COUPON, **more)


def redeemed(redemption: str = "r_1", **more: Any) -> CouponRedeemed:
    return CouponRedeemed(coupon=COUPON, redemption=redemption, **more)


def given_back(redemption: str = "r_1", reversal: str = "rr_1", **more: Any) -> CouponRedemptionReversed:
    return CouponRedemptionReversed(coupon=COUPON, redemption=redemption, reversal=reversal, **more)


def test_a_coupon_given_back_may_be_used_again() -> None:
    row = row_of(COUPONS, on(1, issued(quantity=1)), on(2, redeemed(quantity=1)), on(3, given_back()))

    assert (row.status, row.redeemed_count, row.redemptions_left, row.reversed_count) == ("issued", 0, 1, 1)
    assert (row.redeemed_at, row.reversed_at) == (None, day(3))


def test_a_reversal_reported_before_its_redemption_undoes_it() -> None:
    early = row_of(COUPONS, on(1, given_back()))
    row = row_of(COUPONS, on(1, given_back()), on(2, redeemed()))

    assert (early.reversed_unseen, early.redeemed_count) == (True, 0)
    assert (row.status, row.redeemed_count, row.reversed_unseen) == ("issued", 0, False)


def test_only_the_redemption_that_is_given_back_counts_no_more() -> None:
    row = row_of(COUPONS, on(1, redeemed("r_1", quantity=3)), on(2, redeemed("r_2")), on(3, given_back("r_1")))

    assert (row.status, row.redeemed_count, row.redemptions_left, row.redeemed_at) == ("partly_redeemed", 1, 2, day(2))


def test_a_coupon_is_used_up_when_nothing_is_left_of_its_quantity() -> None:
    row = row_of(COUPONS, on(1, redeemed("r_1", quantity=2)), on(2, redeemed("r_2", quantity=2)))

    assert (row.status, row.redemptions_left, row.over_redeemed) == ("redeemed", 0, False)


def test_a_coupon_redeemed_twice_of_once_is_flagged() -> None:
    row = row_of(COUPONS, on(1, redeemed("r_1", quantity=1)), on(2, redeemed("r_2", quantity=1)))

    assert (row.over_redeemed, row.redeemed_count, row.redemptions_left) == (True, 2, 0)


def test_one_redemption_reported_twice_counts_once() -> None:
    row = row_of(COUPONS, on(1, redeemed(quantity=1)), on(2, redeemed(quantity=1)))

    assert (row.redeemed_count, row.over_redeemed, row.redeemed_at) == (1, False, day(1))


def test_a_coupon_without_a_limit_is_never_used_up() -> None:
    assert row_of(COUPONS, on(1, redeemed(unlimited=True))).status == "partly_redeemed"


def test_the_count_of_the_vendor_is_compared_with_ours() -> None:
    told_all = row_of(COUPONS, on(1, redeemed(redeemed_count=1)))
    missed = row_of(COUPONS, on(1, redeemed(redeemed_count=4)))

    assert (told_all.claim_differs, missed.claim_differs, missed.claimed_count) == (False, True, 4)


def test_a_redemption_dated_before_the_last_count_is_not_missing_from_it() -> None:
    first = redeemed("r_2", amount=Decimal(5), redeemed_count=1, balance=Decimal(45))
    late = redeemed("r_1", amount=Decimal(20), redeemed_count=2, balance=Decimal(25))

    by_count = row_of(COUPONS, on(2, late), on(3, first))
    by_time = row_of(
        COUPONS, on(2, redeemed("r_1", balance=Decimal(25), stated_at=day(4))), on(3, first), on(1, issued())
    )

    assert (by_count.redeemed_count, by_count.claimed_count, by_count.claim_differs) == (2, 2, False)
    assert by_count.balance == Decimal(25)
    assert (by_time.redeemed_count, by_time.claimed_count, by_time.claim_differs) == (2, 1, False)


def test_a_redemption_or_a_rollback_that_never_arrived_shows_in_the_count() -> None:
    used = [redeemed(f"r_{number}", redeemed_count=number) for number in (1, 2, 3)]
    without_second = row_of(COUPONS, on(1, used[0]), on(3, used[2]))
    without_rollback = row_of(COUPONS, on(1, used[0]), on(2, used[1]), on(3, redeemed("r_3", redeemed_count=2)))
    lower = row_of(COUPONS, on(1, used[0]), on(2, used[1]), on(3, issued(redeemed_count=1)))

    assert (without_second.claim_differs, without_rollback.claim_differs, lower.claim_differs) == (True, True, True)


def test_a_rollback_lowers_the_count_that_the_vendor_states() -> None:
    row = row_of(
        COUPONS,
        on(1, redeemed("r_1", redeemed_count=1)),
        on(2, redeemed("r_2", redeemed_count=2)),
        on(3, given_back("r_1", redeemed_count=1)),
        on(4, redeemed("r_3", redeemed_count=2)),
    )

    assert (row.redeemed_count, row.claimed_count, row.claim_differs) == (2, 2, False)


def test_a_gift_voucher_of_which_money_came_back_in_part_stays_used() -> None:
    taken = redeemed(amount=Decimal(20), balance=Decimal(30))
    in_part = row_of(COUPONS, on(1, taken), on(2, given_back(amount=Decimal(5), balance=Decimal(35))))
    whole = row_of(COUPONS, on(1, taken), on(2, given_back(amount=Decimal(20), balance=Decimal(50))))

    assert (in_part.status, in_part.redeemed_count, in_part.balance) == ("partly_redeemed", 1, Decimal(35))
    assert (whole.status, whole.redeemed_count, whole.balance) == ("issued", 0, Decimal(50))


TELLING = (
    issued(code="A", series="55", customer="c", valid_until=day(20)),
    redeemed(discount_type="ABS", discount_value=Decimal(500), valid_until=day(28), of_series=True, bill="B1"),
    given_back(quantity=2),
)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_what_one_event_tells_is_kept_whatever_comes_before_or_after(order: tuple[int, ...]) -> None:
    row = row_of(COUPONS, *(on(at, TELLING[place]) for at, place in enumerate(order, 1)))

    assert (row.code, row.series, row.customer, row.bill, row.quantity) == ("A", "55", "c", "B1", 2)
    assert (row.discount_type, row.discount_value, row.valid_until) == ("ABS", Decimal(500), day(20))
    assert not row.incomplete


def test_the_end_of_the_series_stands_in_for_a_coupon_without_its_own() -> None:
    row = row_of(COUPONS, on(1, redeemed(valid_through=date(2026, 1, 31), of_series=True)))

    assert (row.valid_until, row.valid_through, row.incomplete) == (None, date(2026, 1, 31), True)
