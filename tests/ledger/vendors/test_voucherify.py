"""Voucherify's deliveries: recognition, identity and refusal of events."""

from typing import Any

import pytest

from ledger.facts.coupons import CouponRedemptionReversed
from tests.support.interpretation import sample
from tests.support.voucherify_events import CARD, CREATED, REWARDED, bare, deliver_one, enveloped, facts


@pytest.mark.parametrize("spelling", [REWARDED, "EVENTS.CUSTOMER.REWARDED.LOYALTY_POINTS", f" {REWARDED}"])
def test_the_full_delivery_and_the_bare_object_are_the_same_event(spelling: str) -> None:
    data = bare(REWARDED)

    full, alone, named = deliver_one(enveloped(data, spelling)), deliver_one(data), deliver_one(data, kind=spelling)

    for other in (full, named):
        assert other.draft.kind == alone.draft.kind == REWARDED
        assert (other.draft.event_key, other.draft.content) == (alone.draft.event_key, alone.draft.content)
        assert other.draft.occurred_at == alone.draft.occurred_at
        assert other.facts == alone.facts


def test_the_event_counts_and_not_the_operators_own_name_for_the_delivery() -> None:
    document = enveloped(bare(REWARDED), REWARDED, type="Points for you!")

    assert deliver_one(document).draft.kind == REWARDED


def test_two_deliveries_are_the_same_event_although_the_customer_changed_between_them() -> None:
    document = sample("voucherify/redemption.succeeded")
    first = deliver_one(document).draft
    document["id"], document["event"]["id"] = "whs_20a1c3e5f7b9dfff", "evred_20a1c3d4e5f6afff"
    document["data"]["customer"]["name"] = "Ada Renamed"
    document["data"]["campaign"]["updated_at"] = "2026-01-01T00:00:00.000Z"

    again = deliver_one(document).draft

    assert (again.event_key, again.content) == (first.event_key, first.content)


def test_other_points_under_the_same_ids_are_other_content() -> None:
    document = sample(f"voucherify/{CREATED}-accrual")
    first = deliver_one(document).draft
    document["data"]["transaction"]["details"]["balance"]["points"] = 121

    other = deliver_one(document).draft

    assert other.event_key == first.event_key
    assert other.content != first.content


@pytest.mark.parametrize(
    "name",
    [
        "redemption.succeeded",
        "redemption.rollback.succeeded",
        "customer.rewarded",
        "customer.reward_redemptions.pending",
        f"{CARD}.points_added",
        f"{CARD}.points_expired",
        f"{CARD}.pending_points.activated",
        f"{CREATED}-removal",
    ],
)
def test_a_bare_object_names_its_event_where_its_keys_leave_no_doubt(name: str) -> None:
    full = deliver_one(sample(f"voucherify/{name}")).draft

    alone = deliver_one(bare(name)).draft

    assert (alone.kind, alone.event_key) == (full.kind, full.event_key)


@pytest.mark.parametrize(
    "name",
    [
        f"{CARD}.pending_points.added",
        f"{CARD}.pending_points.updated",
        f"{CARD}.pending_points.canceled",
        "customer.loyalty.tier.joined",
        "customer.loyalty.tier.upgraded",
    ],
)
def test_a_bare_object_that_may_be_several_events_is_known_only_by_its_connection(name: str) -> None:
    assert deliver_one(bare(name)).draft.kind == "unknown"
    assert deliver_one(bare(name), kind=name).facts == facts(name)


def test_a_failed_redemption_is_not_taken_for_one_that_succeeded() -> None:
    data = bare("redemption.succeeded")
    data["redemption"]["status"] = "FAILED"

    assert deliver_one(data).draft.kind == "unknown"


def test_a_promise_changed_twice_is_two_events() -> None:
    document = sample(f"voucherify/{CARD}.pending_points.updated")
    first = deliver_one(document)
    document["data"]["pending_points"]["updated_at"] = "2025-03-07T08:15:00.000Z"

    second = deliver_one(document)

    assert first.draft.event_key != second.draft.event_key


@pytest.mark.parametrize(
    ("spelt", "kind"),
    [
        ("loyalty_card.pending_points.updated", "voucher.loyalty_card.pending_points.updated"),
        ("EVENTS.VOUCHER.LOYALTY_CARD.PENDING_POINTS.UPDATED", "voucher.loyalty_card.pending_points.updated"),
        ("Voucher loyalty card pending points updated", "voucher.loyalty_card.pending_points.updated"),
        ("voucher.loyalty_card.points_aded", "voucher.loyalty_card.points_added"),
        ("customer.loyalty_card.points_expired", "customer.voucher.loyalty_card.points_expired"),
        ("Redemption . Rollback . Succeeded", "redemption.rollback.succeeded"),
        ("redemption.succceeded", "redemption.succeeded"),
        ("Voucher-redeemed", "customer.redemption.succeeded"),
        ("customer.voucher.redemption.rollback.succeeded", "customer.redemption.rollback.succeeded"),
        ("Voucher loyalty card pending points cancelled", "voucher.loyalty_card.pending_points.canceled"),
        ("customer.tier.upgraded", "customer.loyalty.tier.upgraded"),
    ],
)
def test_every_documented_spelling_of_an_event_is_that_event(spelt: str, kind: str) -> None:
    document = sample("voucherify/redemption.succeeded")
    document["event"]["type"] = spelt

    assert deliver_one(document).draft.kind == kind


def test_an_unknown_event_keeps_its_name() -> None:
    document = sample("voucherify/redemption.succeeded")
    document["event"]["type"] = "EVENTS.CAMPAIGN.Vouchers .GENERATION.COMPLETED"

    assert deliver_one(document).draft.kind == "campaign.vouchers.generation.completed"


def test_a_rollback_without_its_redemption_names_it_itself() -> None:
    document = sample("voucherify/redemption.rollback.succeeded-2")
    del document["data"]["redemption"]

    reversed_, _order = deliver_one(document).facts

    assert isinstance(reversed_, CouponRedemptionReversed)
    assert reversed_.redemption == "voucherify:-:r_20a1c3d0e0f0a002"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (REWARDED, "voucher"),
        (REWARDED, "balance"),
        (REWARDED, "voucher.id"),
        (REWARDED, "balance.points"),
        ("redemption.succeeded", "redemption.id"),
        ("redemption.succeeded", "redemption.amount"),
        ("redemption.rollback.succeeded", "redemption_rollback"),
        ("redemption.rollback.succeeded", "redemption_rollback.amount"),
        ("customer.reward_redemptions.created", "reward_redemption.id"),
        ("customer.loyalty.tier.joined", "customer.id"),
        ("customer.loyalty.tier.upgraded", "loyalty_tier_to"),
        (f"{CARD}.pending_points.added", "pending_points.id"),
        (f"{CARD}.points_added", "transaction"),
    ],
)
@pytest.mark.parametrize("absent", [None, []])
def test_an_event_without_its_essential_id_is_unrecognised(name: str, path: str, absent: Any) -> None:
    data = bare(name)
    *parents, last = path.split(".")
    parent = data
    for step in parents:
        parent = parent[step]
    parent[last] = absent

    assert deliver_one(enveloped(data, name)).meaning.status == "unrecognised"


@pytest.mark.parametrize(("name", "part"), [("redemption", "redemption"), ("refund", "rollback")])
def test_a_transaction_without_its_redemption_or_rollback_is_unrecognised(name: str, part: str) -> None:
    document = sample(f"voucherify/{CREATED}-{name}")
    document["data"][part] = document["data"]["transaction"]["details"][part] = None

    assert deliver_one(document).meaning.status == "unrecognised"


@pytest.mark.parametrize("points", [-10, "many", "1_000", "\u0663", "1e1000000", True])
def test_points_rewarded_without_a_valid_number_are_unrecognised(points: Any) -> None:
    data = bare(REWARDED)
    data["balance"]["points"] = points

    assert deliver_one(data).meaning.status == "unrecognised"


def test_an_unknown_type_of_transaction_is_unrecognised() -> None:
    document = sample(f"voucherify/{CREATED}-removal")
    document["data"]["transaction"]["type"] = "POINTS_FROZEN"

    assert deliver_one(document).meaning.status == "unrecognised"


def test_an_unknown_event_keeps_its_name_and_is_never_taken_for_another() -> None:
    one, other = enveloped({"customer": {"id": "a"}}, "customer.created"), {"customer": {"id": "b"}}

    first, second = deliver_one(one), deliver_one(other, kind="customer.created")

    assert first.draft.kind == second.draft.kind == "customer.created"
    assert first.draft.event_key != second.draft.event_key
    assert first.meaning.status == second.meaning.status == "unrecognised"


@pytest.mark.parametrize("document", [{}, [], "text", {"voucher": {}}, {"data": {}, "event": {}}, {"transaction": []}])
def test_an_unknown_envelope_is_unknown(document: Any) -> None:
    delivered = deliver_one(document)

    assert (delivered.draft.kind, delivered.meaning.status) == ("unknown", "unrecognised")


def test_a_gift_card_is_not_taken_for_a_loyalty_card() -> None:
    data = bare(f"{CREATED}-addition")
    data["transaction"]["type"] = "CREDITS_ADDITION"

    assert deliver_one(data).draft.kind == "unknown"
