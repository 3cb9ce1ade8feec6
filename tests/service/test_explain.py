"""Every number explains itself, down to lots, facts and positions, over HTTP and in words."""

import json

from service.answers import encode
from service.commands.explaining import explained, told
from service.window.reading import Reader, Times
from tests.deliveries import issued, redeemed, sample
from tests.service.house import Neighbour, serving
from tests.service.test_both_times import ANN, DAY, FIRST, noon

WORDS = """\
Account capillary:9001:1:77:points at 2023-12-14 22:13:20Z: 130 points available.
The source last claimed 180; drift 20.

2023-11-14 22:13:20Z  Issued, told at position 1 by capillary pointsIssued
    Points were credited in lots, and further points promised. (accounts.wallet.issue)
    +100 makes 100; claimed 100, drift 0
    lot L1 (regular, lapses after 2023-11-30): +100, 100 of 100 left

2023-11-14 22:13:21Z  Issued, told at position 2 by capillary pointsIssued
    Points were credited in lots, and further points promised. (accounts.wallet.issue)
    +130 makes 230
    lot L2 (regular, without a day): +130, 130 of 130 left

2023-11-15 22:13:20Z  Redeemed, told at position 3 by capillary pointsRedeemed
    Points were spent. (accounts.wallet.redeem)
    -70 makes 160; claimed 180, drift 20
    lot L1 (regular, lapses after 2023-11-30): -70, 30 of 100 left

2023-12-01 00:00:00Z  Lapsed
    The lot's day was over: what remained in it can no longer be spent, whoever told of it. (accounts.lapsed)
    -30 makes 130
    lot L1 (regular, lapses after 2023-11-30): -30, 30 of 100 left"""


async def tell(acme: Neighbour) -> None:
    await acme.deliver(issued("a", 0, 1, 100, lapses="2023-11-30", programCurrentPoints=100))
    await acme.deliver(issued("b", 1, 1, 130))
    await acme.deliver(redeemed("c", DAY, 1, 70, programCurrentPoints=180))


async def test_an_account_says_which_lots_a_debit_used_and_which_rule_took_them(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await tell(acme)

        explained = await acme.ask_now(ANN, explain="true", at=noon(2))

        [_, _, step] = explained["steps"]
        assert explained["account"]["available"] == "160"
        assert (step["event"]["position"], step["event"]["kind"], step["fact"]) == (3, "pointsRedeemed", "Redeemed")
        assert (step["points"], step["balance"], step["claimed"], step["drift"]) == ("-70", "160", "180", "20")
        assert [(lot["change"], lot["remaining"], lot["expires_on"]) for lot in step["lots"]] == [
            ("-70", "30", "2023-11-30")
        ]
        assert step["rule"] == {"name": "accounts.wallet.redeem", "says": "Points were spent."}
        assert step["says"]["redemption"] == "capillary:9001:Rc"


async def test_an_explanation_has_both_times_and_pages(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await tell(acme)

        known = await acme.ask_now(ANN, explain="true", as_of_position="2", at=noon(30))
        first = await acme.ask_now(ANN, explain="true", limit="2", at=noon(30))
        rest = await acme.ask_now(ANN, explain="true", after_step=str(first["next_step"]), at=noon(30))

        assert [(step["kind"], step["balance"]) for step in known["steps"]] == [
            ("Issued", "100"),
            ("Issued", "230"),
            ("Lapsed", "130"),
        ]
        assert [step["step"] for step in first["steps"]] == [1, 2]
        assert [(step["step"], step["kind"]) for step in rest["steps"]] == [(3, "Redeemed"), (None, "Lapsed")]


async def test_a_lot_is_explained_by_the_steps_that_touched_it(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await tell(acme)
        [first, _] = (await acme.ask_now(ANN, at=noon(2)))["lots"]

        lot = await acme.ask_now(f"{ANN}/lots/{first['id']}", at=noon(30))
        explained = await acme.ask_now(f"{ANN}/lots/{first['id']}", at=noon(30), explain="true")

        assert (lot["points"], lot["redeemed"], lot["remaining"], lot["state"]) == ("100", "70", "30", "lapsed")
        assert [(step["kind"], step["lots"][0]["change"]) for step in explained["steps"]] == [
            ("Issued", "100"),
            ("Redeemed", "-70"),
            ("Lapsed", "-30"),
        ]
        assert (await acme.ask(f"{ANN}/lots/none"))[0] == 404


async def test_a_coupon_a_tier_and_an_order_item_are_explained_by_what_changed(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for name in ("CouponRedeem", "CouponIssue", "tierUpgraded", "tierDowngraded"):
            await acme.deliver(sample("capillary", name))
        await acme.deliver(sample("ascenda", "order_item.fulfillment.confirmed"), "ascenda")
        events = (await acme.ask_now("/v1/ledger/events"))["items"]

        coupon = await acme.ask_now("/v1/coupons/capillary:998:792947747", explain="true")
        [changed] = {
            told
            for event in events
            for told in (await acme.ask_now(f"/v1/ledger/events/{event['position']}"))["changed"]
            if told.startswith("membership")
        }
        tier = await acme.ask_now(f"/v1/tiers/{changed.split(' ')[1]}", explain="true")
        [item] = [
            told.split(" ")[1]
            for told in (await acme.ask_now(f"/v1/ledger/events/{events[-1]['position']}"))["changed"]
            if told.startswith("order_item")
        ]
        order_item = await acme.ask_now(f"/v1/order-items/{item}", explain="true")

        assert {step["fact"] for step in coupon["steps"]} == {"CouponRedeemed"}
        assert coupon["steps"][0]["changed"]["status"]["before"] is None
        assert coupon["steps"][-1]["state"]["status"] == coupon["status"] == "redeemed"
        assert [step["changed"]["tier"]["after"] for step in tier["steps"] if "tier" in step["changed"]]
        assert order_item["steps"][-1]["event"]["source"] == "ascenda"
        assert all(step["rule"]["says"] for one in (coupon, tier, order_item) for step in one["steps"])


async def test_an_explanation_in_words_can_be_read_by_anybody(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await tell(acme)
        await acme.ask_now(ANN)
        async with acme.database() as connection:
            read = Reader(connection, acme.ledger, "operator")
            then = Times(FIRST.replace(month=12), None, True)

            answer = await explained(read, "capillary:9001:1:77:points", then)
            named = await explained(read, "accounts/1:77:points", then)

        words = "\n".join(told(answer))
        lots = sorted({step["lots"][0]["id"] for step in json.loads(encode(answer))["steps"][:2]})
        by_time = [step["lots"][0]["id"] for step in answer["steps"][:2]]
        assert len(lots) == 2
        for number, lot in enumerate(by_time, 1):
            words = words.replace(lot, f"L{number}")
        assert words == WORDS
        assert named == answer
