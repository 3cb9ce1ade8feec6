"""Questions of the vendors' documents, each asked by one request on the samples of those documents."""

import json
from pathlib import Path
from typing import Any

from tests.support.client import TenantClient, serving
from tests.support.payloads import samples

SAMPLES = Path(__file__).parents[2] / "samples"
SOURCES = ("capillary", "ascenda", "fabric", "voucherify")


async def deliver_samples(acme: TenantClient) -> None:
    for source in SOURCES:
        for body in samples(source):
            assert (await acme.deliver(body, source))[0] == 200


async def deliver(acme: TenantClient, name: str, change: Any) -> None:
    """Deliver a sample such as `capillary/pointsIssued`, after a change of its document."""
    document = json.loads((SAMPLES / f"{name}.json").read_text())
    change(document)
    assert (await acme.deliver(json.dumps(document).encode(), name.partition("/")[0]))[0] == 200


def picked(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


async def test_points_of_the_published_samples_are_found_by_redemption_bill_account_and_programme(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver_samples(acme)

        redemption = await acme.ask_now("/v1/redemptions/xMQy8y")
        unknown = await acme.ask_now("/v1/redemptions/CgDAgY")
        assert picked(redemption, "points", "value", "ratio", "bill_number") == ("1500", "750", "0.5", "SA8269614")
        assert picked(redemption, "reversal", "by_group", "has_notes") == ("none", False, False)
        assert picked(unknown, "points", "reversed", "reversal") == (None, "300", "unknown")

        bill = await acme.ask_now("/v1/bills/150956_1683874799412/points")
        returned = await acme.ask_now("/v1/bills/2_6594_12743097_6586/points")
        assert picked(bill, "points_earned", "points_returned") == ("60", "0")
        assert [picked(one, "stated_points", "stated_total") for one in returned["returns"]] == [("2", "2")]

        steps = (await acme.ask_now("/v1/accounts/130354474:1000038:points/explanation"))["steps"]
        assert steps[0]["fields"]["ratio"] == "1"
        [activity] = steps[0]["fields"]["activities"]
        assert picked(activity, "name", "bill_number", "event_log") == (
            "TransactionAdd",
            "PO19022266733111",
            "448823777",
        )

        by_customer = (await acme.ask_now("/v1/accounts", customer="87884897", programme="838"))["items"]
        by_card = (await acme.ask_now("/v1/accounts", card_code="L0y4L"))["items"]
        assert [one["id"] for one in by_customer] == ["capillary:150956:87884897:838:points"]
        assert [one["customer"] for one in by_card] == ["voucherify:-:cust_IdgAFZxYwwHctOk9pPuMu308"]

        programme = (await acme.ask_now("/v1/programmes/101"))["description"]
        assert picked(programme, "name", "is_default", "points_to_currency_ratio") == (
            "Louis PhilippeDefaultProgram",
            True,
            "0.5",
        )
        assert [tier["name"] for tier in programme["tiers"]] == ["Silver", "Gold", "Platinum"]
        campaign = (await acme.ask_now("/v1/programmes/camp_AQZ1GLRlbGaC2dETd31VbJQ9"))["description"]
        assert campaign["name"] == "Loyalty programme"
        units = {unit["unit"]: unit["name"] for unit in (await acme.ask_now("/v1/units"))["items"]}
        assert picked(units, "dsgagg", "gwggdg", "points") == ("stars", "coins", None)

        group = await acme.ask_now("/v1/groups/9301")
        assert [account["available"] for account in group["accounts"]] == ["44.75"]
        assert [one["customer"] for one in group["members"]] == [
            "capillary:70110:610200301",
            "capillary:70110:610200302",
        ]


async def test_catalogue_and_limits_of_the_published_samples_are_data(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver_samples(acme)

        [coupon] = (await acme.ask_now("/v1/coupons", series="353122"))["items"]
        assert picked(coupon, "code", "issual_type", "series_type") == ("2YPHHFQR", "SINGLE", "LOYALTY")
        assert picked(coupon, "valid_until", "series_valid_until") == ("2050-12-31T18:29:59Z", "2050-12-30T18:30:00Z")
        [same] = (await acme.ask_now("/v1/coupons", code="2YPHHFQR"))["items"]
        assert same["id"] == coupon["id"]

        [given] = (await acme.ask_now("/v1/reward-redemptions", reward="55881"))["items"]
        assert picked(given, "issued", "coupon_code", "tier", "reward_type") == (
            "coupon",
            "C929Z3OI",
            "SILVER",
            "POINTS",
        )
        assert picked(given, "issued_until", "ends_at") == ("2023-05-14T00:00:00Z", "2023-05-13T06:11:05Z")

        badge = await acme.ask_now("/v1/badges/381921157:650c0896aefcde237f3dba43")
        assert [picked(limit, "level", "roll_type", "maximum") for limit in badge["badge_limits"]][2:4] == [
            ("CUSTOMER", "DAYS", "50"),
            ("CUSTOMER", "WEEKS", "100"),
        ]
        promotion = await acme.ask_now("/v1/promotions/387337123:1133570767")
        limits = {limit["measure"]: limit for limit in promotion["promotion_limits"]}
        assert picked(limits["MAX_POINTS_PER_EARN_PER_CUSTOMER"], "maximum", "applies_to") == (None, "earn")
        assert picked(limits["MAX_REDEMPTIONS_PER_EARN_PER_CUSTOMER"], "maximum", "restriction") == (
            "3",
            "NON_PERIOD_BASED",
        )
        [group] = (await acme.ask_now("/v1/milestone-groups", target_group="25780"))["items"]
        assert picked(group, "combination", "threshold", "expression") == ("ANY", "5000", "(49272 | 49273 | 49274)")


async def test_requests_orders_and_records_of_the_published_samples_show_their_details(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver_samples(acme)

        request = await acme.ask_now("/v1/requests/2083b025-c1d5-11ee-9641-7277dba3c6a7")
        assert request["redeemed_local"] == "2020-04-15 23:01:46"
        event = await acme.ask_now(f"/v1/ledger/events/{request['reason_position']}")
        assert event["payload"]["data"]["requestAttributes"]["body"]["root"]["redeem"]["notes"] == "<personal>"

        [points] = (await acme.ask_now("/v1/order-items", order_id="12a688ce-f378-4dfb-912e-6a6f6b9e857d"))["items"]
        assert picked(points, "partner_points", "partner_currency", "partner_name") == (
            "999900",
            "Aeroplan points",
            "Aeroplan",
        )
        assert picked(points, "order_status", "order_updated_at") == ("completed", "2025-03-18T06:19:44.654000Z")
        [gift] = (await acme.ask_now("/v1/order-items", order_id="38e9b2c9-a263-4bcf-96c4-34ea66f495b1"))["items"]
        assert picked(gift, "product", "product_value", "value_currency", "quantity") == ("Adidas", "20", "USD", 1)
        missing = (await acme.ask_now("/v1/order-items", fulfilled="false"))["items"]
        assert {one["status"] for one in missing} == {"failed", "cancelled"}

        order = await acme.ask_now("/v1/bills/ord_CkH2s0T5xJkK0x5pGYXoBaFn")
        assert picked(order, "gross_amount", "discount", "amount", "status") == ("500", "50", "450", "PAID")
        assert [picked(item, "product", "quantity") for item in order["bill_items"]] == [
            ("star-th-bottle", 20),
            ("5h1pp1ng", 1),
        ]
        assert {one["name"]: one["value"] for one in order["bill_metadata"]}["region"] == "US"
        reward = await acme.ask_now("/v1/coupons", code="tKSTdVk2")
        assert [picked(one, "redemptions_left", "discount_limit") for one in reward["items"]] == [(1, "100")]

        records = (await acme.ask_now("/v1/redemption-records", record="642babcd3ebd250008455701"))["items"]
        assert [one["record_type"] for one in records] == ["coupon", "promotion"]
        [record] = (
            await acme.ask_now("/v1/redemption-records", record="642babcd3ebd250008455701", record_type="coupon")
        )["items"]
        assert record["id"] == records[0]["id"]


async def test_a_redemption_of_a_group_with_notes_is_partly_then_fully_given_back(dsn: str) -> None:
    def redeemed(document: Any) -> None:
        document["attributes"]["data"] |= {"isGroupRedemption": True, "redemptionNotes": "for Ada's birthday"}

    def given_back(points: int, event: str) -> Any:
        def change(document: Any) -> None:
            document["eventId"], document["attributes"]["orgId"] = event, 150098
            document["attributes"]["loyaltyEventId"] = document["attributes"]["apiRequestId"] = event
            data = document["attributes"]["data"]
            data["customerIdentifiers"] = {"customerId": 161943766}
            data["entityInformation"] = {"entityType": "USER", "entityId": 161943766}
            data["triggeringActivity"]["identifiers"][0]["value"] = "xMQy8y"
            data["loyaltyProgramId"], data["redeemedPointsReversed"] = 101, points
            details = {"available": points, "expired": 0}
            data["redeemedPointsReversedDetails"] = details
            data["redemptionReversalToEarningPrograms"] = [
                {"programId": 101, "redeemedPointsReversed": points, "redeemedPointsReversedDetails": details}
            ]

        return change

    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, "capillary/pointsRedeemed", redeemed)
        await deliver(acme, "capillary/redeemedPointsReversed", given_back(500, "first"))
        partly = await acme.ask_now("/v1/redemptions/xMQy8y")
        await deliver(acme, "capillary/redeemedPointsReversed", given_back(1000, "second"))
        fully = await acme.ask_now("/v1/redemptions/xMQy8y")
        before = await acme.ask_now("/v1/redemptions/xMQy8y", as_of_position="2")

        assert picked(partly, "reversed", "reversal", "by_group", "has_notes") == ("500", "partly", True, True)
        assert picked(fully, "reversed", "reversal") == ("1500", "fully")
        assert {**before, "events_behind": 0} == partly
        listed = (await acme.ask_now("/v1/redemptions", customer="161943766", reversed="true"))["items"]
        assert listed == fully["parts"]


async def test_a_bill_shows_the_points_that_each_promotion_granted_and_lost_by_a_return(dsn: str) -> None:
    def promoted(document: Any) -> None:
        data = document["attributes"]["data"]
        data["totalPointsIssued"] = 90
        data["promotionalPointsIssued"] = [
            {"promotionIdentifier": "spring", "promotionPoints": 30, "promotionPointsExpiryDate": "2099-05-31"}
        ]
        data["promisedPointsIssued"] = [
            {"promisedPoints": 7, "promisedPointsConversionDate": "2099-06-15", "isExternalTriggerBased": False}
        ]

    def returned(document: Any) -> None:
        document["orgId"] = 150956
        data = document["data"]
        data["customerIdentifiers"] = {"customerId": 87884897}
        data["entityInformation"] = {"entityType": "USER", "entityId": 87884897}
        data["triggeringActivity"]["identifiers"] = [
            {"key": "billId", "value": "330676226"},
            {"key": "billNumber", "value": "150956_1683874799412"},
        ]
        data["loyaltyProgramId"] = 838
        data |= {"totalIssuedPointsReversed": 40, "currentEventRegularPointsReturned": 40}
        data |= {"currentEventTotalPointsReturned": 40, "regularPointsReversed": 40}
        data["currentEventPromotionPointsReturnedDetails"] = [{"promotionIdentifier": "spring", "promotionPoints": 25}]

    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, "capillary/pointsIssued", promoted)
        [promise] = (await acme.ask_now("/v1/accounts/87884897:838:points/promises", open="true"))["items"]
        await deliver(acme, "capillary/issuedPointsReversed", returned)
        bill = await acme.ask_now("/v1/bills/330676226/points")
        lots = (await acme.ask_now("/v1/lots", bill_number="150956_1683874799412"))["items"]

        assert picked(promise, "points", "converts_on", "external", "bill") == ("7", "2099-06-15", False, "330676226")
        assert picked(bill, "points_earned", "points_promised", "points_returned") == ("90", "7", "40")
        assert {lot["promotion"]: lot["returned"] for lot in bill["lots"]} == {None: "15", "spring": "25"}
        assert bill["returns"][0]["promotions"] == [{"promotion": "spring", "points": "25"}]
        assert lots == bill["lots"]


async def test_cash_that_paid_for_a_failed_item_is_due_back(dsn: str) -> None:
    def paid_in_part(document: Any) -> None:
        document["order_item"] |= {"cash_paid": 12.5, "cash_amount": 12.5, "points_amount": 2500}

    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, "ascenda/order_item.fulfillment.failed-2", paid_in_part)

        [item] = (await acme.ask_now("/v1/order-items", refund="due"))["items"]

        assert picked(item, "refund_due", "cash_paid", "cash_refund_due") == ("2000", "12.5", "12.5")
        assert picked(item, "points_paid", "points_price") == ("2000", "2500")


async def test_a_reward_shows_how_it_can_be_paid(dsn: str) -> None:
    def with_modes(document: Any) -> None:
        document["attributes"]["data"]["paymentModes"] = [
            {"id": 845, "paymentMode": "CONV_RATIO", "conv_ratio": 0.35},
            {"id": 846, "paymentMode": "POINTS"},
        ]

    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, "capillary/rewardCreated", with_modes)

        reward = await acme.ask_now("/v1/rewards/55881")

        assert {one["mode"]: one["conversion_ratio"] for one in reward["reward_payment_modes"]} == {
            "CONV_RATIO": "0.35",
            "POINTS": None,
        }
        assert picked(reward, "tier", "starts_at", "ends_at") == (
            "SILVER",
            "2023-05-12T06:11:15Z",
            "2023-05-13T06:11:05Z",
        )


async def test_points_that_another_customer_earned_on_a_card_name_both(dsn: str) -> None:
    def of_another(document: Any) -> None:
        document["holder"]["id"] = "cust_parent"
        document["voucher"]["holder_id"] = "cust_parent"

    async with serving(dsn, "acme") as [acme]:
        await deliver(acme, "voucherify/customer.rewarded.loyalty_points", of_another)

        explained = await acme.ask_now("/v1/accounts/v_hjQhSsitD6lAATASbRV1Ef7dUCjpy0iw/explanation")

        assert explained["account"]["customer"] == "voucherify:-:cust_parent"
        assert explained["steps"][0]["fields"]["acted_by"] == "voucherify:-:cust_IdgAFZxYwwHctOk9pPuMu308"
