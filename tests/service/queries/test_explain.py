"""Every number can be explained, down to lots, facts and positions, over HTTP and in words."""

import json
import re
from typing import Any

from projections.queries.explain import rule_name
from projections.queries.fact_sentences import SENTENCES
from projections.registry import PROJECTIONS
from service.cli.explain import explain_reference, explanation_lines
from service.formatting import encode_json
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from tests.service.queries.test_as_of_queries import ANN, DAY, FIRST, noon
from tests.support.client import TenantClient, serving
from tests.support.payloads import capillary, expired, issued, redeemed, sample

WORDS = """\
Account capillary:9001:1:77:points at 2023-12-14 22:13:20Z: 130 points available.
The source last claimed 180; drift 20.

2023-11-14 22:13:20Z  Issued, reported at position 1 by capillary pointsIssued
    Points were credited to the account. Promised points, if any, are kept apart until they become spendable.
    +100 makes 100; claimed 100, drift 0
    lot L1 (regular, lapses after 2023-11-30): +100, 100 of 100 left

2023-11-14 22:13:21Z  Issued, reported at position 2 by capillary pointsIssued
    Points were credited to the account. Promised points, if any, are kept apart until they become spendable.
    +130 makes 230
    lot L2 (regular, without an expiry day): +130, 130 of 130 left

2023-11-15 22:13:20Z  Redeemed, reported at position 3 by capillary pointsRedeemed
    Points were spent.
    -70 makes 160; claimed 180, drift 20
    lot L1 (regular, lapses after 2023-11-30): -70, 30 of 100 left

2023-12-01 00:00:00Z  Lapsed
    The lot reached the end of its last day. Its remaining points can no longer be spent.
    -30 makes 130
    lot L1 (regular, lapses after 2023-11-30): -30, 30 of 100 left"""


async def tell(acme: TenantClient) -> None:
    await acme.deliver(issued("a", 0, 1, 100, lapses="2023-11-30", programCurrentPoints=100))
    await acme.deliver(issued("b", 1, 1, 130))
    await acme.deliver(redeemed("c", DAY, 1, 70, programCurrentPoints=180))


async def test_an_explanation_names_the_lots_of_a_debit_and_the_rule(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await tell(acme)

        explained = await acme.ask_now(f"{ANN}/explanation", at=noon(2))

        [_, _, step] = explained["steps"]
        assert explained["account"]["available"] == "160"
        assert (step["event"]["position"], step["event"]["kind"], step["fact"]) == (3, "pointsRedeemed", "Redeemed")
        assert (step["points"], step["balance"], step["claimed"], step["drift"]) == ("-70", "160", "180", "20")
        assert [(lot["change"], lot["remaining"], lot["expires_on"]) for lot in step["lots"]] == [
            ("-70", "30", "2023-11-30")
        ]
        assert step["rule"] == {"name": "account.redeemed", "sentence": "Points were spent."}
        assert step["fields"]["redemption"] == "capillary:9001:Rc"


async def test_an_explanation_has_both_times_and_pages(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await tell(acme)

        known = await acme.ask_now(f"{ANN}/explanation", as_of_position="2", at=noon(30))
        first = await acme.ask_now(f"{ANN}/explanation", limit="2", at=noon(30))
        rest = await acme.ask_now(f"{ANN}/explanation", after_step=str(first["next_step"]), at=noon(30))

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
        explained = await acme.ask_now(f"{ANN}/lots/{first['id']}/explanation", at=noon(30))

        assert (lot["points"], lot["redeemed"], lot["remaining"], lot["status"]) == ("100", "70", "30", "lapsed")
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

        coupon = await acme.ask_now("/v1/coupons/capillary:998:792947747/explanation")
        [membership] = {
            one["subject"]
            for event in events
            for one in (await acme.ask_now(f"/v1/ledger/events/{event['position']}"))["subjects"]
            if one["subject_kind"] == "membership"
        }
        tier = await acme.ask_now(f"/v1/tiers/{membership}/explanation")
        [item] = [
            one["subject"]
            for one in (await acme.ask_now(f"/v1/ledger/events/{events[-1]['position']}"))["subjects"]
            if one["subject_kind"] == "order_item"
        ]
        order_item = await acme.ask_now(f"/v1/order-items/{item}/explanation")

        assert {step["fact"] for step in coupon["steps"]} == {"CouponRedeemed"}
        assert coupon["steps"][0]["changed"]["status"]["before"] is None
        assert coupon["steps"][-1]["row"]["status"] == coupon["status"] == "redeemed"
        assert [step["changed"]["tier"]["after"] for step in tier["steps"] if "tier" in step["changed"]]
        assert order_item["steps"][-1]["event"]["source"] == "ascenda"
        assert all(step["rule"]["sentence"] for one in (coupon, tier, order_item) for step in one["steps"])


async def test_an_explanation_in_words_can_be_read_by_anybody(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await tell(acme)
        await acme.ask_now(ANN)
        async with acme.database() as connection:
            read = QueryContext(connection, acme.ledger, "operator")
            then = AsOfQuery(FIRST.replace(month=12), None, True)

            answer = await explain_reference(read, "capillary:9001:1:77:points", then)
            named = await explain_reference(read, "accounts/1:77:points", then)

        words = "\n".join(explanation_lines(answer))
        lots = sorted({step["lots"][0]["id"] for step in json.loads(encode_json(answer))["steps"][:2]})
        by_time = [step["lots"][0]["id"] for step in answer["steps"][:2]]
        assert len(lots) == 2
        for number, lot in enumerate(by_time, 1):
            words = words.replace(lot, f"L{number}")
        assert words == WORDS
        assert named == answer


OF_CODE = re.compile(r"[`_()\[\]]|\bNone\b|\btraps?\b|\blaws?\b|\bfold")


def test_every_rule_has_a_public_name_and_a_sentence_without_words_of_the_code() -> None:
    names = [rule_name(projection, fact) for projection in PROJECTIONS for fact in projection.on]

    assert len(names) == len(set(names))
    assert {*names, "account.lapsed", "account.opening", "validity.ended"} == set(SENTENCES)
    for name, sentence in SENTENCES.items():
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", name)
        assert sentence.endswith(".")
        assert OF_CODE.search(sentence) is None, sentence


async def words_of(acme: TenantClient, ref: str) -> str:
    await acme.ask_now("/v1/projections")
    async with acme.database() as connection:
        read = QueryContext(connection, acme.ledger, "operator")
        answer: Any = await explain_reference(read, ref, AsOfQuery(FIRST.replace(year=2030), None, True))
    return "\n".join(explanation_lines(answer))


async def test_points_that_expire_unseen_come_to_light_before_they_go(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(expired("a", 0, 1, 1000))

        words = await words_of(acme, "accounts/1:77:points")

        assert "    +1000 of unseen points, which no event reported, make 1000\n    -1000 makes 0\n" in words
        assert words.endswith("(unseen, without an expiry day): +1000 -1000, 0 of 1000 left")


async def test_points_whose_day_moves_unseen_come_to_light_before_the_day_moves(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        moved = {"programId": 77, "points": 120.25, "oldExpiryDate": "2031-01-01", "newExpiryDate": "2031-02-01"}
        await acme.deliver(capillary("singlePointsExpiryUpdated", "a", 0, 1, updatedPointsExpiry=[moved]))

        words = await words_of(acme, "accounts/1:77:points")

        assert "    +120.25 of unseen points, which no event reported, make 120.25\n    +0 makes 120.25\n" in words


async def test_an_expiry_of_lapsed_points_is_explained_as_no_change_of_balance(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 60, lapses="2023-11-20"))
        await acme.deliver(expired("b", 10 * DAY, 1, 60))

        words = await words_of(acme, "accounts/1:77:points")

        assert "    60 of them had lapsed before, so the balance does not change\n    +0 makes 0\n" in words
        assert words.endswith(": 60 expired, 0 of 60 left")


async def test_an_event_without_a_time_is_not_shown_as_if_it_happened_when_it_came(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        body = json.loads(issued("a", 0, 1, 60))
        del body["createdAt"]
        await acme.deliver(json.dumps(body).encode())

        words = await words_of(acme, "accounts/1:77:points")
        [line] = (await acme.ask_now("/v1/accounts/capillary:9001:1:77:points/statement"))["items"]

        assert re.search(
            r"^\(time unknown; recorded \d{4}-\d\d-\d\d .*\)  Issued, reported at position 1 ", words, re.M
        )
        assert line["untimed"] is True


async def test_the_lot_of_an_opening_is_shown_as_it_was_before_the_debit(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(redeemed("a", 0, 1, 40, programCurrentPoints=60))

        opening, debit = (await acme.ask_now("/v1/accounts/capillary:9001:1:77:points/explanation"))["steps"]

        assert [(one["change"], one["remaining"], one["redeemed"]) for one in opening["lots"]] == [("100", "100", "0")]
        assert [(one["change"], one["remaining"], one["redeemed"]) for one in debit["lots"]] == [("-40", "60", "40")]


async def test_a_customer_is_answered_with_what_can_be_explained_of_them(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 87884897, 60))

        by_path, alone = await words_of(acme, "customers/87884897"), await words_of(acme, "87884897")

        assert by_path == alone
        assert by_path == (
            "Customer capillary:9001:87884897. A customer as a whole cannot be explained, but these can:\n"
            "    loyalty explain accounts/capillary:9001:87884897:77:points"
        )


async def test_the_end_of_validity_is_the_last_step_of_a_coupon(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sample("capillary", "CouponIssue"))
        event = await acme.ask_now("/v1/ledger/events/1")
        coupon = event["subjects"][0]["subject"]
        ends = (await acme.ask_now(f"/v1/coupons/{coupon}"))["expires_at"]

        before = await acme.ask_now(f"/v1/coupons/{coupon}/explanation", at="2024-01-01T00:00:00Z")
        after = await acme.ask_now(f"/v1/coupons/{coupon}/explanation", at=ends)

        assert (before["status"], after["status"]) == ("issued", "expired")
        assert [step["rule"]["name"] for step in before["steps"]] == ["coupon.coupon_issued"]
        last = after["steps"][-1]
        assert (last["rule"]["name"], last["occurred_at"]) == ("validity.ended", ends)
        assert last["changed"] == {"status": {"before": "issued", "after": "expired"}}
