"""The main job over HTTP, on the vendors' own payloads."""

import asyncpg
import pytest

from tests.support.client import serving
from tests.support.payloads import SAMPLES, sample, samples

ACCOUNT = "/v1/accounts/capillary:150956:87884897:838:points"


async def test_points_issued_assert_an_opening_and_lapse_when_their_day_is_over(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        status, told = await acme.deliver(sample("capillary", "pointsIssued"))

        assert status == 200
        assert told == {"ledger": "acme", "events": [{"position": 1, "outcome": "appended", "kind": "pointsIssued"}]}
        then = await acme.ask_now(ACCOUNT, at="2023-06-01T00:00:00Z")
        assert {name: then[name] for name in ("available", "lifetime", "opening", "claimed", "drift", "debt")} == {
            "available": "165",
            "lifetime": "665",
            "opening": "105",
            "claimed": "165",
            "drift": "0",
            "debt": "0",
        }
        now = await acme.ask_now(ACCOUNT)
        assert (now["available"], now["lapsed"]) == ("105", "60")
        lots = await acme.ask_now(f"{ACCOUNT}/lots")
        assert [(lot["origin"], lot["points"], lot["expires_on"], lot["status"]) for lot in lots["items"]] == [
            ("regular", "60", "2024-05-31", "lapsed"),
            ("opening", "105", None, "open"),
        ]


async def test_a_lot_lasts_through_the_end_of_its_day(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsIssued"))

        last = await acme.ask_now(ACCOUNT, at="2024-05-31T23:59:59.999999Z")
        over = await acme.ask_now(ACCOUNT, at="2024-06-01T00:00:00Z")

        assert (last["available"], over["available"]) == ("165", "105")


async def test_a_redelivery_changes_nothing_and_is_answered_with_its_position(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsIssued"))
        before = await acme.ask_now(ACCOUNT, at="2023-06-01T00:00:00Z")

        for _ in range(5):
            status, told = await acme.deliver(sample("capillary", "pointsIssued"))
            assert (status, told["events"][0]) == (
                200,
                {"position": 1, "outcome": "duplicate", "kind": "pointsIssued"},
            )

        assert await acme.ask_now(ACCOUNT, at="2023-06-01T00:00:00Z") == before


async def test_the_statement_explains_the_balance_line_by_line(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsIssued"))

        lines = (await acme.ask_now(f"{ACCOUNT}/statement"))["items"]

        assert [(line["kind"], line["points"], line["balance"], line["position"]) for line in lines] == [
            ("Opening", "105", "105", 1),
            ("Issued", "60", "165", 1),
            ("Lapsed", "-60", "105", None),
        ]


@pytest.mark.parametrize("first", ["Initiated", "Received"])
async def test_two_halves_make_one_completed_transfer_in_either_order(dsn: str, first: str) -> None:
    second = "Received" if first == "Initiated" else "Initiated"
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", f"pointsTransferred{first}"))
        await acme.deliver(sample("capillary", f"pointsTransferred{second}"))

        sender = await acme.ask_now("/v1/accounts/capillary:1138:545513704:784:points")
        receiver = await acme.ask_now("/v1/accounts/capillary:1138:545513705:784:points")
        transfer = await acme.ask_now("/v1/transfers/HNoDBilpg9")

        assert (sender["available"], receiver["available"]) == ("90", "10")
        assert (sender["in_transit"], transfer["status"], transfer["points"]) == ("0", "completed", "10")


async def test_points_on_their_way_are_in_transit(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsTransferredInitiated"))

        sender = await acme.ask_now("/v1/accounts/capillary:1138:545513704:784:points")

        assert (sender["available"], sender["in_transit"]) == ("90", "10")


async def test_the_four_tier_events_that_share_one_event_id_all_land(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for name in ("tierUpgraded", "tierRenewed", "tierDowngraded", "tierDowngradeReminder"):
            status, told = await acme.deliver(sample("capillary", name))
            assert (status, told["events"][0]["outcome"]) == (200, "appended")

        tier = await acme.ask_now("/v1/tiers/capillary:50952:379499720:1676")

        assert [step["fact"] for step in tier["history"]] == [
            "TierDowngraded",
            "TierRenewed",
            "TierUpgraded",
            "TierClaimed",
        ]


async def test_failed_items_are_due_back_whatever_their_order_says(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for name in ("order_item.fulfillment.failed", "order_item.fulfillment.failed-2"):
            await acme.deliver(sample("ascenda", name), "ascenda")

        for item, due in (
            ("4611fb1e-6d6d-4d92-9cb5-afd1a5ff2440", "999900"),
            ("c2c6d5ba-1dc9-48d0-965a-eec282a5d31d", "2000"),
        ):
            answer = await acme.ask_now(f"/v1/order-items/{item}")
            assert (answer["status"], answer["refund"], answer["refund_due"]) == ("failed", "due", due)
        order = await acme.ask_now("/v1/orders/12a688ce-f378-4dfb-912e-6a6f6b9e857d")
        assert (order["points_paid"], order["refund_due"], len(order["items"])) == ("999900", "999900", 1)


async def test_everything_about_a_customer_is_one_answer(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "CouponIssue-2"))

        answer = await acme.ask_now("/v1/customers/capillary:998:423813652")

        assert len(answer["coupons"]) == 10
        assert answer["as_of_position"] == 1
        assert await acme.ask_now("/v1/customers/423813652") == answer


async def test_a_voucherify_customer_is_found_by_any_project(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("voucherify", "customer.rewarded.loyalty_points"), "voucherify")

        for project in ("-", "proj_1"):
            answer = await acme.ask_now(f"/v1/customers/voucherify:{project}:cust_IdgAFZxYwwHctOk9pPuMu308")
            assert [account["available"] for account in answer["accounts"]] == ["900"]


async def test_every_published_payload_is_appended_and_none_refused(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for source in ("capillary", "voucherify", "ascenda", "fabric"):
            for body in samples(source):
                status, told = await acme.deliver(body, source)
                assert status == 200, told

        unrecognised = await acme.ask_now("/v1/reconciliation/unrecognised")
        quarantine = await acme.ask_now("/v1/reconciliation/quarantine")
        parked = await acme.ask_now("/v1/reconciliation/parked")

        published = {path.name for path in SAMPLES.rglob("*.json")}
        assert published
        assert quarantine["items"] == []
        assert parked["items"] == []
        # Pending points and tiers of Voucherify look alike as bare objects: their connection must name the event.
        assert {item["source"] for item in unrecognised["items"]} <= {"voucherify"}


async def test_an_event_shows_its_payload_its_facts_and_what_it_changed(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "pointsTransferredReceived"))

        event = await acme.ask_now("/v1/ledger/events/1")

        assert event["kind"] == "pointsTransferredReceived"
        assert event["payload"]["attributes"]["data"]["totalPointsTransferred"] == 10
        assert [fact["fact"] for fact in event["facts"]] == ["TransferReceived", "TransferCompleted", "TransferSettled"]
        assert [(one["subject_kind"], one["subject"]) for one in event["subjects"]] == [
            ("account", "capillary:1138:545513704"),
            ("account", "capillary:1138:545513705"),
            ("transfer", "capillary:1138:HNoDBilpg9"),
        ]


async def test_events_are_listed_by_filter_page_by_page(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for name in ("pointsIssued", "CouponIssue", "CouponIssue-2", "CouponRedeem"):
            await acme.deliver(sample("capillary", name))

        by_kind = await acme.ask_now("/v1/ledger/events", kind="CouponIssue")
        by_subject = await acme.ask_now("/v1/ledger/events", subject="capillary:998:792947747")
        first = await acme.ask_now("/v1/ledger/events", limit="3")
        rest = await acme.ask_now("/v1/ledger/events", limit="3", cursor=first["next"])

        assert [event["position"] for event in by_kind["items"]] == [2, 3]
        assert [event["position"] for event in by_subject["items"]] == [4]
        assert [event["position"] for event in [*first["items"], *rest["items"]]] == [1, 2, 3, 4]
        assert rest["next"] is None


async def test_what_nobody_understands_is_kept_and_listed(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        bodies = [b'{"eventName": "somethingNew", "eventId": "1", "data": {}}', b"not json", b'{"a":1,"a":2}']
        for body in bodies:
            status, told = await acme.deliver(body)
            assert (status, told["events"][0]["outcome"]) == (200, "appended")

        unrecognised = await acme.ask_now("/v1/reconciliation/unrecognised")
        quarantine = await acme.ask_now("/v1/reconciliation/quarantine")

        assert [(item["position"], item["kind"]) for item in unrecognised["items"]] == [(1, "somethingNew")]
        assert [(item["position"], item["reason"]) for item in quarantine["items"]] == [
            (2, "not JSON"),
            (3, "a repeated key"),
        ]


async def test_the_database_is_a_real_postgresql(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert (await connection.fetchval("SHOW server_version_num")) >= "150000"
