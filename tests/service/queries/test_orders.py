"""The list of orders: it equals the orders of a scan of all items."""

import csv
import json
from decimal import Decimal
from typing import Any

import pytest

from service.queries.listing import candidates
from tests.support.client import TenantClient, serving
from tests.support.payloads import samples


def orders_of(items: list[dict[str, Any]], **wanted: str) -> list[dict[str, Any]]:
    """Put items together to orders, and keep those with an item that has all wanted values."""
    orders: dict[str, list[dict[str, Any]]] = {}
    for item in sorted(items, key=lambda item: item["id"]):
        if item["order_id"] is not None:
            orders.setdefault(item["order_id"], []).append(item)
    return [
        {
            "id": order,
            "customer": next((item["customer"] for item in found if item["customer"]), None),
            "points_paid": sum(Decimal(item["points_paid"]) for item in found),
            "refund_due": sum(Decimal(item["refund_due"]) for item in found),
            "item_count": len(found),
            "statuses": sorted({item["status"] for item in found}),
            "last_position": max(item["last_position"] for item in found),
        }
        for order, found in sorted(orders.items())
        if any(all(item[name] == value for name, value in wanted.items()) for item in found)
    ]


async def list_orders(acme: TenantClient, **query: str) -> list[dict[str, Any]]:
    """Take page after page of one order each."""
    found: list[dict[str, Any]] = []
    page = await acme.ask_now("/v1/orders", limit="1", **query)
    while True:
        found += page["items"]
        if page["next"] is None:
            return [
                {**order, "points_paid": Decimal(order["points_paid"]), "refund_due": Decimal(order["refund_due"])}
                for order in found
            ]
        page = await acme.ask_now("/v1/orders", limit="1", cursor=page["next"], **query)


async def deliver_orders(acme: TenantClient) -> None:
    """Deliver the published payloads of the vendors that report order items."""
    for source in ("ascenda", "capillary"):
        for body in samples(source):
            await acme.deliver(body, source)


async def test_a_filtered_list_of_orders_equals_a_scan_of_all_items(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver_orders(acme)
        items = (await acme.ask_now("/v1/order-items"))["items"]

        assert await list_orders(acme) == orders_of(items) != []
        for name in ("status", "refund", "customer"):
            for value in sorted({item[name] for item in items if item[name]} | {"nothing"}):
                assert await list_orders(acme, **{name: value}) == orders_of(items, **{name: value}), (name, value)


async def test_two_filters_of_orders_are_walked_and_equal_a_scan(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "WALKED_MAX", 1)
    async with serving(dsn, "acme") as [acme]:
        await deliver_orders(acme)
        items = (await acme.ask_now("/v1/order-items"))["items"]
        pairs = {(item["status"], item["refund"]) for item in items} | {("fulfilled", "due"), ("failed", "none")}

        for status, refund in sorted(pairs):
            wanted = {"status": status, "refund": refund}
            assert await list_orders(acme, **wanted) == orders_of(items, **wanted), wanted


async def test_orders_as_of_an_earlier_time_equal_those_of_a_scan_of_that_time(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver_orders(acme)
        answers = [await acme.ask_now("/v1/order-items", limit="1000")]
        position = answers[0]["as_of_position"]
        asked = [
            {"at": "2020-11-20T00:00:00Z"},
            *({"as_of_position": str(one)} for one in (0, position // 2, position)),
        ]

        for times in asked:
            items = (await acme.ask_now("/v1/order-items", limit="1000", **times))["items"]
            assert await list_orders(acme, **times) == orders_of(items)
            for value in sorted({item["status"] for item in items} | {"nothing"}):
                assert await list_orders(acme, status=value, **times) == orders_of(items, status=value)
        assert await list_orders(acme, as_of_position=str(position)) == await list_orders(acme) != []
        assert await list_orders(acme, as_of_position="0") == []


async def test_orders_come_with_a_total_and_as_files(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        await deliver_orders(acme)
        bearer = {"Authorization": f"Bearer {acme.key}"}
        orders = (await acme.ask_now("/v1/orders"))["items"]

        first = await acme.ask_now("/v1/orders", limit="1", total="true")
        then = await acme.ask_now("/v1/orders", total="true", as_of_position=str(first["as_of_position"]))
        file = await acme.client.get("/v1/orders", params={"format": "csv"}, headers=bearer)
        lines = await acme.client.get("/v1/orders", headers={**bearer, "Accept": "application/x-ndjson"})

        rows = list(csv.DictReader((await file.text()).splitlines()))
        assert first["total"] == then["total"] == len(orders) > 1
        assert [row["id"] for row in rows] == [order["id"] for order in orders]
        assert [json.loads(line) for line in (await lines.text()).splitlines()] == orders
