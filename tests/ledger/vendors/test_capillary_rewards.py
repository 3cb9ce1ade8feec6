import re
from decimal import Decimal
from typing import Any

from ledger.facts.coupons import CouponIssued
from ledger.facts.rewards import RewardRedemptionCompleted, RewardRedemptionFailed
from tests.support.capillary_customer_events import fact_of, facts_of


def issued(**more: Any) -> dict[str, Any]:
    return {"rewardId": 5, "intouchPoints": 10, "intouchSeriesId": "31", **more}


def test_a_reward_that_is_issued_moves_no_points() -> None:
    facts = facts_of("rewardIssued", issued(), eventId="e1", apiRequestId="r1")

    assert facts == [
        RewardRedemptionCompleted(
            reward_redemption="capillary:1:5~7~r1~20240517T120000.000000",
            reward="capillary:1:5",
            customer="capillary:1:7",
            points=Decimal(10),
            request="r1",
        )
    ]


def test_a_redemption_reported_under_two_event_ids_is_one() -> None:
    failed = {"requestId": "r1", "erroredSteps": [{"name": "ISSUE", "rewards": [{"id": 5, "points": 10}]}]}

    for kind, data in (("rewardIssued", issued()), ("issueRewardFailure", failed)):
        reports = [fact_of(kind, data, eventId=event_id, apiRequestId="r1") for event_id in ("e1", "e2", None)]

        assert len({fact.subject for fact in reports}) == 1


def test_a_request_id_that_is_used_again_names_another_redemption() -> None:
    first = fact_of("rewardIssued", issued(), eventId="e1", apiRequestId="rohan_test", createdAt=1715940000000)
    second = fact_of("rewardIssued", issued(), eventId="e2", apiRequestId="rohan_test", createdAt=1715950000000)

    assert first.subject != second.subject


def test_a_coupon_of_a_reward_is_known_by_series_and_code() -> None:
    redemption, coupon = facts_of(
        "rewardIssued", issued(intouchRewardDetails={"intouchCouponCode": "C92"}), eventId="e1"
    )

    assert type(coupon) is CouponIssued
    assert (coupon.subject, coupon.code, coupon.series) == ("capillary:1:code~31~C92", "C92", "31")
    assert redemption.coupon == coupon.subject  # type: ignore[attr-defined]


def test_a_voucher_of_another_vendor_is_not_a_coupon() -> None:
    fact = fact_of("rewardIssued", issued(vendorRewardDetails={"vendorVoucher": "6a69"}), eventId="e1")

    assert (fact.coupon_code, fact.coupon) == ("6a69", None)


def test_an_event_without_an_id_still_names_its_redemption() -> None:
    fact = fact_of("rewardIssued", issued(), eventId=None)

    assert re.fullmatch("capillary:1:5~7~[0-9a-f]{32}", fact.subject)


def test_a_failure_names_the_error_of_each_step_for_each_reward() -> None:
    steps = [
        {"name": "DEDUCT", "errorCode": 12, "rewards": [{"id": 5, "points": 10}]},
        {"name": "ISSUE", "errorCode": 730, "errorMessage": "limit", "rewards": [{"id": 5, "points": 10}, {"id": 6}]},
    ]

    first, second = facts_of("issueRewardFailure", {"requestId": "r1", "erroredSteps": steps}, eventId="e1")

    assert type(first) is RewardRedemptionFailed
    assert type(second) is RewardRedemptionFailed
    assert (first.reward, first.points, first.errors) == (
        "capillary:1:5",
        Decimal(10),
        ("DEDUCT 12", "ISSUE 730: limit"),
    )
    assert (second.reward, second.points, second.errors) == ("capillary:1:6", None, ("ISSUE 730: limit",))
    assert first.request == "r1"


def test_a_failure_that_names_no_reward_is_one_failure() -> None:
    fact = fact_of("issueRewardFailure", {"totalPoints": 10, "erroredSteps": [{"errorCode": 1}]}, eventId="e1")

    assert (fact.subject, fact.points, fact.errors) == ("capillary:1:-~7~e1", Decimal(10), ("1",))


def test_nulls_in_lists_are_ignored_and_signed_addresses_are_not_read() -> None:
    details = [None, {"name": " INTOUCH Enabled", "imageUrl": "https://bucket.example/key?signature=s"}]

    fact = fact_of("rewardCreated", {"rewardId": 5, "categories": [None, 23], "rewardDetails": details})

    assert fact.categories == ("23",)
    assert [text.name for text in fact.texts] == ["INTOUCH Enabled"]
    assert "signature" not in repr(fact)
