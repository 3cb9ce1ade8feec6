"""Previous owners: a subject that names another customer or order now is found under the earlier one as of then."""

import json

from projections.rebuild import rebuild
from tests.service.operations.test_internal_events import WORDS, act
from tests.support.client import TenantClient, serving
from tests.support.payloads import capillary, issued, merged, received, redeemed, sample, sent

DAY = 86_400
ANN, BOB = "/v1/customers/capillary:9001:1", "/v1/customers/capillary:9001:2"


async def held(acme: TenantClient, customer: str, what: str, **times: str) -> list[str]:
    return [row["id"] for row in (await acme.ask_now(customer, **times))[what]]


def bill(name: str, identifier: str, at: int, customer: int) -> bytes:
    return capillary(name, identifier, at, customer, transactionId="7", billNumber="n7", amount=10)


async def test_a_bill_that_was_given_to_another_is_the_first_ones_as_of_then(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(bill("transactionAdded", "a", 0, 1))
        before = await acme.ask_now(ANN, as_of_position="1")
        await acme.deliver(bill("transactionUpdated", "b", 5 * DAY, 2))

        assert await held(acme, ANN, "bills", as_of_position="1") == ["capillary:9001:7"]
        assert await held(acme, ANN, "bills", at="2023-11-16T00:00:00Z") == ["capillary:9001:7"]
        assert ((await acme.ask(ANN))[0], await held(acme, BOB, "bills")) == (404, ["capillary:9001:7"])
        assert (await acme.ask_now("/v1/bills/capillary:9001:7"))["previous_owners"] == ["capillary:9001:1"]
        after = await acme.ask_now(ANN, as_of_position="1")
        assert {**after, "events_behind": 0} == {**before, "events_behind": 0}


async def test_an_undone_merge_still_shows_as_of_the_time_before_it_was_undone(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (issued("a", 0, 1, 100), issued("b", 0, 2, 40), merged("m", 5, 1, 2)):
            await acme.deliver(body)
        before = (await acme.ask_now(BOB, as_of_position="3"))["customers"]
        await act(acme, dsn, f"{ANN}/unmerge", **WORDS)
        now = (await acme.ask_now(BOB))["customers"]

        assert [row["id"] for row in before] == ["capillary:9001:2", "capillary:9001:1"]
        assert [row["id"] for row in now] == ["capillary:9001:2"]
        assert [row["id"] for row in (await acme.ask_now(BOB, as_of_position="3"))["customers"]] == [
            row["id"] for row in before
        ]


async def test_a_transfer_reported_differently_later_belonged_to_the_first_receiver_before(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(sent("a", 0, 1, 40, 2, "T1"))
        await acme.deliver(received("b", 60, 3, 40, 1, "T1"))

        assert await held(acme, BOB, "transfers", as_of_position="1") == ["capillary:9001:T1"]
        assert (await acme.ask(BOB))[0] == 404
        assert await held(acme, "/v1/customers/capillary:9001:3", "transfers") == ["capillary:9001:T1"]


async def test_an_item_that_moved_to_another_order_was_in_the_first_then(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        item = json.loads(sample("ascenda", "order_item.fulfillment.failed"))
        orders = []
        for order, became in (("one", "failed"), ("two", "cancelled")):
            item["order"]["id"] = order
            item["order_item"]["status"] = became
            item["event_type"] = f"order_item.fulfillment.{became}"
            await acme.deliver(json.dumps(item).encode(), "ascenda")
            orders.append(f"/v1/orders/{order}")

        then = await acme.ask_now(orders[0], as_of_position="1")
        status, _ = await acme.ask(orders[0])

        assert ([row["status"] for row in then["items"]], status) == (["failed"], 404)
        assert len((await acme.ask_now(orders[1]))["items"]) == 1
        assert (await acme.ask(orders[1], as_of_position="1"))[0] == 404


async def test_rebuilt_rows_keep_previous_owners(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for body in (bill("transactionUpdated", "b", 5 * DAY, 2), redeemed("r", 9, 3, 5), merged("m", 9, 3, 4)):
            await acme.deliver(body)
        await acme.deliver(bill("transactionAdded", "a", 0, 1))
        await acme.ask_now(BOB)

        assert (await rebuild(dsn)).differing == {}
        assert (await acme.ask_now("/v1/bills/capillary:9001:7"))["previous_owners"] == ["capillary:9001:1"]
