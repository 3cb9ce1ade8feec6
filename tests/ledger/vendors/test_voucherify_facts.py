"""Facts of Voucherify's events, and several reports of one change."""

from decimal import Decimal

import pytest

from ledger.facts.accounts import (
    Claim,
    Expired,
    Grant,
    Issued,
    Redeemed,
    RedemptionReversed,
    TransferReceived,
    TransferSent,
    TransferSettled,
)
from ledger.facts.bills import BillAdded, BillItem
from ledger.facts.coupons import CouponIssued, CouponRedeemed
from ledger.facts.promises import PromiseCancelled, PromiseChanged, PromiseKept, PromiseMade
from ledger.facts.rewards import RewardRedemptionCompleted, RewardRedemptionRolledBack
from tests.support.interpretation import sample
from tests.support.voucherify_events import CARD, CREATED, REWARDED, account_fact, bare, deliver_one, facts


def test_points_rewarded_come_from_the_balance_and_not_from_the_stale_card() -> None:
    issued, _order = facts(REWARDED)

    assert isinstance(issued, Issued)
    assert issued.grants == (Grant(Decimal(900)),)
    assert issued.claim == Claim(available=Decimal(900), lifetime=Decimal(900))


def test_points_earned_are_one_change_in_all_reports() -> None:
    tellers = (f"{CREATED}-accrual", f"customer.{CARD}.points_added", f"{REWARDED}-2")

    assert len({account_fact(name).change for name in tellers}) == 1
    assert {account_fact(name).subject for name in tellers} == {"voucherify:-:v_Lm4QpT8sZc1KdW6yRnB2xUeHf7AgJ0oV"}


def test_points_added_by_hand_are_one_change_in_all_reports() -> None:
    assert account_fact(f"{CREATED}-addition").change == account_fact(f"{CARD}.points_added").change


def test_points_spent_are_one_change_in_all_reports() -> None:
    tellers = (f"{CREATED}-redemption", "redemption.succeeded", "customer.redemption.succeeded", "customer.rewarded")

    assert {account_fact(name).change for name in tellers} == {"voucherify:-:r_20a1c3d0e0f0a001"}


def test_points_expired_and_promises_kept_are_one_change_in_all_reports() -> None:
    for teller, others in (
        (f"{CREATED}-expiration", [f"{CARD}.points_expired", f"customer.{CARD}.points_expired"]),
        (f"{CREATED}-activation", [f"{CARD}.pending_points.activated", f"customer.{CARD}.pending_points.activated"]),
    ):
        assert {account_fact(other).change for other in others} == {account_fact(teller).change}


def test_a_rollback_gives_back_the_negative_number() -> None:
    tellers = [account_fact("redemption.rollback.succeeded"), account_fact(f"{CREATED}-refund")]

    for reversed_ in tellers:
        assert isinstance(reversed_, RedemptionReversed)
        assert reversed_.points == Decimal(60)
        assert reversed_.redemption == "voucherify:-:r_20a1c3d0e0f0a001"
        assert reversed_.change == "voucherify:-:rr_20a1c3d0e0f0b001"


def test_the_earning_of_one_event_by_two_rules_is_two_changes() -> None:
    data = bare(f"{REWARDED}-2")
    first = deliver_one(data)
    data["earning_rule"]["id"] = "ern_other"

    second = deliver_one(data)

    assert first.draft.event_key != second.draft.event_key
    assert first.facts[0].change != second.facts[0].change  # type: ignore[attr-defined]


def test_a_promise_is_made_changed_kept_and_cancelled_by_its_name() -> None:
    made, changed = account_fact(f"{CARD}.pending_points.added"), account_fact(f"{CARD}.pending_points.updated")
    kept, cancelled = account_fact(f"{CARD}.pending_points.activated"), account_fact(f"{CARD}.pending_points.canceled")

    assert isinstance(made, PromiseMade)
    assert isinstance(changed, PromiseChanged)
    assert isinstance(kept, PromiseKept)
    assert isinstance(cancelled, PromiseCancelled)
    assert made.promise == changed.promise == kept.promise != cancelled.promise
    assert (made.points, changed.points, kept.points) == (Decimal(40), Decimal(50), Decimal(50))
    assert len({made.change, changed.change, kept.change}) == 3


def test_both_halves_of_a_transfer_have_the_same_name() -> None:
    sent, _ = facts(f"{CREATED}-transfer_out")
    received, _, settled = facts(f"{CREATED}-transfer_in")

    assert isinstance(sent, TransferSent)
    assert isinstance(received, TransferReceived)
    assert isinstance(settled, TransferSettled)
    assert sent.transfer == received.transfer == settled.transfer
    assert (sent.subject, sent.receiver) == (received.sender, received.subject)
    assert settled.subject == sent.subject
    assert settled.change != sent.change


def test_a_reward_for_points_is_one_debit_and_one_coupon() -> None:
    completed, redeemed, coupon = facts("customer.reward_redemptions.completed")

    assert isinstance(completed, RewardRedemptionCompleted)
    assert isinstance(redeemed, Redeemed)
    assert isinstance(coupon, CouponIssued)
    assert (redeemed.points, redeemed.change) == (Decimal(100), completed.points_redemption)
    assert redeemed.claim == Claim(available=Decimal(70), lifetime=Decimal(270))
    assert (coupon.coupon, coupon.code) == (completed.coupon, "tKSTdVk2")


def test_a_reward_without_a_redemption_debits_nothing() -> None:
    data = bare("customer.reward_redemptions.completed")
    data["source"]["type"] = "event"

    assert [type(fact) for fact in deliver_one(data).facts] == [RewardRedemptionCompleted, CouponIssued]


def test_a_reward_taken_back_moves_no_points_by_itself() -> None:
    assert [type(fact) for fact in facts("customer.reward_redemptions.rolledback")] == [RewardRedemptionRolledBack]


def test_a_discount_is_in_whole_units_of_currency() -> None:
    data = bare("customer.reward_redemptions.completed")
    data["reward"]["voucher"]["discount"] = {"type": "AMOUNT", "amount_off": 1550}

    _, _, coupon = deliver_one(data).facts

    assert isinstance(coupon, CouponIssued)
    assert coupon.discount_value == Decimal("15.5")


def test_points_expired_without_a_balance_are_the_points_of_the_event() -> None:
    document = sample(f"voucherify/{CARD}.points_expired")
    document["data"]["transaction"]["details"] = None

    (expired,) = deliver_one(document).facts

    assert isinstance(expired, Expired)
    assert (expired.points, expired.claim) == (Decimal(10), None)


def test_a_redemption_of_a_promotion_reports_its_order_only() -> None:
    promotion = sample("voucherify/redemption.succeeded-2")
    promotion["data"]["voucher"] = None

    assert [type(fact) for fact in deliver_one(promotion).facts] == [BillAdded]


def test_a_voucher_without_its_id_is_named_by_its_code() -> None:
    document = sample("voucherify/redemption.succeeded-2")
    del document["data"]["voucher"]["id"]

    redeemed, _order = deliver_one(document).facts

    assert redeemed.subject == "voucherify:-:code~camp_Bx2LqW8mTz6RkVn4YcHd9PsJ~SPRING-SMPL-7"


def test_the_voucher_of_a_publication_is_the_reward_where_the_reward_does_not_repeat_it() -> None:
    data = bare("customer.reward_redemptions.completed")
    both = deliver_one(data).facts
    data["publication"]["voucher"], data["reward"]["voucher"] = data["reward"]["voucher"], None

    assert deliver_one(data).facts == both


def test_a_card_outside_any_campaign_is_of_no_programme() -> None:
    data = bare(REWARDED)
    data["voucher"]["campaign_id"] = data["campaign"] = None

    issued, _order = deliver_one(data).facts

    assert isinstance(issued, Issued)
    assert issued.programme == "-"


def test_the_account_belongs_to_the_holder_and_not_to_the_customer_who_acted() -> None:
    data = bare(REWARDED)
    data["holder"]["id"] = "cust_holder"

    issued, _order = deliver_one(data).facts

    assert isinstance(issued, Issued)
    assert issued.customer == "voucherify:-:cust_holder"
    assert issued.acted_by == "voucherify:-:cust_IdgAFZxYwwHctOk9pPuMu308"


def test_no_fact_holds_a_name() -> None:
    for name in ("redemption.succeeded", "customer.reward_redemptions.created", "customer.loyalty.tier.joined"):
        assert "Ada" not in str(facts(name))


@pytest.mark.parametrize(("quantity", "unlimited"), [(None, True), ("many", False), ([], False), (3, False)])
def test_a_coupon_is_without_limit_only_where_its_quantity_is_null(quantity: object, unlimited: bool) -> None:
    document = sample("voucherify/redemption.succeeded-2")
    document["data"]["voucher"]["redemption"]["quantity"] = quantity

    fact, _order = deliver_one(document).facts

    assert isinstance(fact, CouponRedeemed)
    assert (fact.unlimited, fact.quantity) == (unlimited, 3 if quantity == 3 else None)


def test_an_order_is_a_bill_in_whole_units_with_its_items_and_metadata() -> None:
    _issued, order = facts(REWARDED)

    assert isinstance(order, BillAdded)
    assert (order.gross_amount, order.discount, order.amount) == (Decimal(500), Decimal(50), Decimal(450))
    assert order.items[0] == BillItem("star-th-bottle", "Star Thermal Bottle", 20, Decimal(25), Decimal(500))
    assert dict(order.metadata) == {"card": "Other", "currency": "USD", "region": "US"}


def test_an_order_that_is_only_named_gives_no_bill() -> None:
    data = bare(REWARDED)
    data["order"] = {"id": "ord_1", "source_id": "SO-1"}

    assert [type(fact) for fact in deliver_one(data).facts] == [Issued]
