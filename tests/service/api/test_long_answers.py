"""An answer that is too long is never cut silently, and a path that answers only as of now refuses times."""

import json

import pytest

from ledger.store.append import append
from service.api import orders
from service.finance import period_report
from service.queries import subjects
from tests.service.finance.test_periods import close
from tests.support.client import TenantClient, serving
from tests.support.payloads import VAULT, capillary, delivery, issued, redeemed, sample

DAY = 86_400


async def tell(acme: TenantClient, *bodies: bytes) -> None:
    async with acme.database() as connection:
        await append(connection, VAULT, acme.ledger.ledger_id, [delivery(body) for body in bodies])


def bill(number: int, transaction: int) -> bytes:
    return capillary("transactionAdded", f"e{number}", number, 1, transactionId=transaction, amount=number)


async def test_a_history_longer_than_an_answer_is_marked_truncated_and_steps_page_through_it(dsn: str) -> None:
    facts = subjects.HISTORY_MAX + 1
    async with serving(dsn, "acme") as [acme]:
        await tell(acme, *(bill(number, 7) for number in range(facts)), bill(facts, 8))

        long = await acme.ask_now("/v1/bills/capillary:9001:7")
        known = await acme.ask_now("/v1/bills/capillary:9001:7", as_of_position=str(facts))
        almost = await acme.ask_now("/v1/bills/capillary:9001:7", as_of_position=str(facts - 1))
        first = await acme.ask_now("/v1/bills/capillary:9001:7/explanation")
        rest = await acme.ask_now("/v1/bills/capillary:9001:7/explanation", after_step=str(first["next_step"]))

        assert [(len(one["history"]), one.get("truncated")) for one in (long, known, almost)] == [
            (1000, True),
            (1000, True),
            (1000, None),
        ]
        assert "truncated" not in await acme.ask_now("/v1/bills/capillary:9001:8")
        assert (len(first["steps"]), len(rest["steps"]), rest["next_step"]) == (1000, 1, None)


async def test_a_customer_with_too_many_rows_names_the_truncated_lists(dsn: str) -> None:
    bills = subjects.ROWS_MAX + 1
    async with serving(dsn, "acme") as [acme]:
        await tell(acme, *(bill(number, 100 + number) for number in range(bills)), issued("a", 0, 1, 5))

        cut = await acme.ask_now("/v1/customers/capillary:9001:1")
        cut_then = await acme.ask_now("/v1/customers/capillary:9001:1", as_of_position=str(bills))
        whole = await acme.ask_now("/v1/customers/capillary:9001:1", as_of_position=str(bills - 1))

        assert [(len(one["bills"]), one.get("truncated")) for one in (cut, cut_then, whole)] == [
            (1000, ["bills"]),
            (1000, ["bills"]),
            (1000, None),
        ]


async def test_what_an_answer_may_hold_of_orders_and_periods(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "ITEMS_MAX", 1)
    monkeypatch.setattr(period_report, "ITEMS_MAX", 1)
    async with serving(dsn, "acme") as [acme]:
        item = json.loads(sample("ascenda", "order_item.fulfillment.failed"))
        for number in ("one", "two"):
            item["order_item"]["id"] = number
            await acme.deliver(json.dumps(item).encode(), "ascenda")
        await tell(acme, issued("a", 0, 1, 100), issued("b", 0, 2, 100))
        await close(acme, "2023-11")
        await tell(acme, redeemed("c", DAY, 1, 5))
        one_late = await acme.ask_now("/v1/periods/2023-12")
        await tell(acme, redeemed("d", DAY, 2, 5))
        two_late = await acme.ask_now("/v1/periods/2023-12")

        assert [(len(one["prior_period_items"]), one.get("truncated")) for one in (one_late, two_late)] == [
            (1, None),
            (1, True),
        ]
        order = await acme.ask_now(f"/v1/orders/{item['order']['id']}")
        then = await acme.ask_now(f"/v1/orders/{item['order']['id']}", as_of_position="1")
        assert [(len(one["items"]), one.get("truncated")) for one in (order, then)] == [(1, True), (1, None)]


async def test_customers_with_one_address_are_listed_page_by_page(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for customer in (1, 2, 3):
            named = {"customerId": customer, "instore": {"email": "shared@example.com"}}
            await acme.deliver(capillary("customerAdded", f"e{customer}", 0, customer, customerIdentifiers=named))

        asked = {"email": "shared@example.com", "limit": "2"}
        page = await acme.ask_now("/v1/customers/lookup", **asked)
        rest = await acme.ask_now("/v1/customers/lookup", **asked, cursor=page["next"])

        found = [one["id"] for one in (*page["items"], *rest["items"])]
        assert found == ["capillary:9001:1", "capillary:9001:2", "capillary:9001:3"]
        assert rest["next"] is None


@pytest.mark.parametrize("asked", ["at=2024-01-01T00:00:00Z", "known_at=2024-01-01T00:00:00Z", "as_of_position=1"])
async def test_what_is_answered_as_of_now_only_refuses_other_times(dsn: str, asked: str) -> None:
    account = "/v1/accounts/capillary:9001:1:77:points"
    only_now = [
        "/v1/customers/lookup?email=ann@example.com",
        f"{account}/claims?limit=1",
        f"{account}/adjustments?limit=1",
        "/v1/programmes/77/lapses?limit=1",
        "/v1/periods?limit=1",
        "/v1/periods/2023-11?min_position=0",
        "/v1/reconciliation/policies?min_position=0",
        *([] if asked.startswith("at=") else ["/v1/reconciliation?grace_hours=0", "/v1/reconciliation/drift?limit=1"]),
    ]
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 100))
        await acme.ask_now(account)

        answers = [(await acme.ask(f"{path}&{asked}"))[1] for path in only_now]
        statuses = {(one.get("status"), one.get("type")) for one in answers}

        assert statuses == {(400, "/v1/errors/request-invalid")}
        assert all("this path is answered as of now" in one["detail"] for one in answers)
