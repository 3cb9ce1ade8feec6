from decimal import Decimal
from typing import Any

from ledger.facts.rewards import (
    RewardRedemptionCompleted,
    RewardRedemptionCreated,
    RewardRedemptionFact,
    RewardRedemptionFailed,
    RewardRedemptionPending,
    RewardRedemptionRolledBack,
)
from projections.reward_redemptions import REWARD_REDEMPTIONS
from tests.support.fold_helpers import day, on, row_of


def redemption(told: type[RewardRedemptionFact], **more: Any) -> RewardRedemptionFact:
    return told(reward_redemption="voucherify:-:rewr_1", **more)


def test_a_reward_goes_from_created_by_pending_to_completed() -> None:
    row = row_of(
        REWARD_REDEMPTIONS,
        on(1, redemption(RewardRedemptionCreated, customer="voucherify:-:c1", points=Decimal(100))),
        on(2, redemption(RewardRedemptionPending)),
        on(3, redemption(RewardRedemptionCompleted, coupon="voucherify:-:v_1", coupon_code="ABC")),
    )

    assert (row.status, row.created_at, row.completed_at) == ("completed", day(1), day(3))
    assert (row.customer, row.points, row.coupon_code) == ("voucherify:-:c1", Decimal(100), "ABC")


def test_a_pending_reported_late_does_not_undo_a_completed() -> None:
    row = row_of(
        REWARD_REDEMPTIONS, on(1, redemption(RewardRedemptionCompleted)), on(2, redemption(RewardRedemptionPending))
    )

    assert (row.status, row.contested) == ("completed", False)


def test_completed_and_failed_is_contested_and_the_first_stays() -> None:
    row = row_of(
        REWARD_REDEMPTIONS, on(1, redemption(RewardRedemptionFailed)), on(2, redemption(RewardRedemptionCompleted))
    )

    assert (row.status, row.contested, row.failed_at, row.completed_at) == ("failed", True, day(1), day(2))


def test_a_reward_taken_back_expects_its_points_back() -> None:
    completed = redemption(RewardRedemptionCompleted, points_redemption="voucherify:-:r_1")

    row = row_of(REWARD_REDEMPTIONS, on(1, completed), on(2, redemption(RewardRedemptionRolledBack)))

    assert (row.status, row.refund_expected, row.rolled_back_at) == ("rolled_back", True, day(2))


def test_a_reward_that_failed_without_a_known_debit_expects_nothing_back() -> None:
    failed = redemption(RewardRedemptionFailed, errors=("730: MAX_COUPON_ISSUAL_PER_USER_EXCEEDED",))

    row = row_of(REWARD_REDEMPTIONS, on(1, failed))

    assert (row.status, row.refund_expected) == ("failed", False)
    assert row.errors == ["730: MAX_COUPON_ISSUAL_PER_USER_EXCEEDED"]


def test_a_field_that_a_later_event_leaves_out_stays() -> None:
    row = row_of(
        REWARD_REDEMPTIONS,
        on(1, redemption(RewardRedemptionCreated, reward="voucherify:-:rew_1", reward_name="A bottle")),
        on(2, redemption(RewardRedemptionCompleted), position=1),
    )

    assert (row.reward, row.reward_name, row.last_position) == ("voucherify:-:rew_1", "A bottle", 1)
