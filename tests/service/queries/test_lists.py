"""Lists of rows: a filtered list equals a scan of all rows, in pages and in files."""

import csv
import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest

from ledger import clock
from projections.engine.programme_terms import read_terms
from projections.queries.as_of import AsOf
from projections.queries.validity_ends import TimeZones
from service.queries.context import QueryContext
from service.queries.listing import candidates
from service.queries.listing import lists as lists_module
from service.queries.listing.filters import Filter, ListOrder
from service.queries.listing.list_catalogue import ACCOUNT_LIST, LISTS
from service.queries.listing.lists import (
    ListRequest,
    RowList,
    matches,
    resolve_references,
)
from service.queries.listing.past_lists import read_all, read_list_page
from service.settings import Settings
from tests.support.client import TenantClient, serving
from tests.support.list_scan import compare_list
from tests.support.payloads import issued, merged, redeemed, samples

PROGRAMME = "77"
VALUES_PER_FILTER = 4
QUIET = Settings(erase_on_request=False)  # a published payload asks for an erasure, which would change rows


async def deliver_history(acme: TenantClient) -> None:
    """Deliver every published payload, and accounts with debts, drift, open lots and lapsed lots."""
    for source in ("capillary", "ascenda", "fabric", "voucherify"):
        for body in samples(source):
            assert (await acme.deliver(body, source))[0] == 200
    for number in range(40):
        lapses = ["", "2023-12-01T00:00:00+00:00", "2099-12-31T00:00:00+00:00"][number % 3]
        await acme.deliver(issued(f"i{number}", number, 100 + number, 10 * number + 1, lapses=lapses))
    for number in range(0, 40, 5):
        claim: dict[str, Any] = {"programCurrentPoints": 3} if number % 2 else {}
        await acme.deliver(redeemed(f"r{number}", 100 + number, 100 + number, 5 + number, **claim))
    await acme.deliver(merged("m", 500, 101, 102))
    await acme.ask_now("/v1/projections")


class Lists:
    """The lists of one ledger, read as the API does."""

    def __init__(self, query: QueryContext, zones: TimeZones) -> None:
        self.query = query
        self.zones = zones
        self.at = clock.now()

    async def ask(
        self, row_list: RowList, values: dict[str, Any], order: ListOrder | None = None, as_of: AsOf | None = None
    ) -> ListRequest:
        resolved = await resolve_references(self.query, row_list.filters, values)
        at = self.at if as_of is None else as_of.at or self.at
        return ListRequest(resolved, order or row_list.orders[0], at, self.zones, as_of)

    async def all_items(self, row_list: RowList, asked: ListRequest) -> list[dict[str, Any]]:
        pages = [page async for page in read_all(self.query, row_list, asked)]
        return [item for page in pages for item in page.items]

    async def items_by_pages_of_two(self, row_list: RowList, asked: ListRequest) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        after = None
        while True:
            page = await read_list_page(self.query, row_list, asked, after, 2)
            items += page.items
            if page.following is None:
                return items
            after = page.following


def values_of(one: Filter, rows: Iterable[dict[str, Any]]) -> list[Any]:
    """Return values to filter by: some that rows have, and one that none has."""
    rows = list(rows)
    if one.kind == "flag":
        return [True, False]
    if one.kind == "points":
        return [*sorted({row["available"] for row in rows})[:: max(1, len(rows) // 3)], Decimal(10**9)]
    if one.kind == "time":
        return [
            datetime.fromisoformat(text)
            for text in ("2000-01-01T00:00:00Z", "2024-06-01T00:00:00Z", "2150-01-01T00:00:00Z")
        ]
    if one.kind == "position":
        return [0, 150, 10**6]
    if rows and one.name not in rows[0] and one.kind == "reference" and "sender" not in rows[0]:
        rows = [{**row, one.name: row["id"]} for row in rows]
    columns = ("sender", "receiver") if one.name == "customer" and rows and "sender" in rows[0] else (one.name,)
    known = sorted({str(row[column]) for row in rows for column in columns if row[column] is not None})
    return [*known[:: max(1, len(known) // VALUES_PER_FILTER)], "expired", "none of them"]


async def test_a_filtered_list_equals_a_scan_of_all_rows(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        await deliver_history(acme)
        async with acme.database() as connection:
            zones = TimeZones(await read_terms(connection, acme.ledger.ledger_id))
            query = QueryContext(connection, acme.ledger, "key")
            compared = [one for row_list in LISTS async for one in compare_list(query, row_list, zones)]
            monkeypatch.setattr(lists_module, "CANDIDATES_PER_READ", 3)
            monkeypatch.setattr(candidates, "FEW_ROWS", 2)
            monkeypatch.setattr(candidates, "WALKED_MAX", 20)
            walked = [one for row_list in LISTS async for one in compare_list(query, row_list, zones)]
            matched = [await compare_pairs(Lists(query, zones), row_list) for row_list in LISTS]

    assert [one for one in (*compared, *walked) if not one.agrees] == []
    assert len(compared) == len(walked) > 200
    assert sum(one.counted > 0 for one in compared) > 80
    assert sum(matched) > 60


async def compare_pairs(lists: Lists, row_list: RowList) -> int:
    """Compare a list by every two of its filters with a scan. Return the number of pairs that some row matches."""
    everything = await lists.all_items(row_list, await lists.ask(row_list, {}))
    matched = 0
    for first, second in combinations(row_list.filters, 2):
        values = {one.name: values_of(one, everything)[0] for one in (first, second)}
        for order in row_list.orders:
            asked = await lists.ask(row_list, values, order)
            scanned = [item for item in everything if matches(row_list, item, asked.values)]
            listed = await lists.all_items(row_list, asked)

            assert sorted(item["id"] for item in listed) == sorted(item["id"] for item in scanned), values
            matched += bool(scanned)
    return matched


async def test_a_filtered_list_of_an_earlier_time_equals_a_scan_of_that_time(dsn: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        await deliver_history(acme)
        async with acme.database() as connection:
            zones = TimeZones(await read_terms(connection, acme.ledger.ledger_id))
            lists = Lists(QueryContext(connection, acme.ledger, "key"), zones)
            compared = matched = 0
            for as_of in (AsOf(datetime.fromisoformat("2023-06-01T00:00:00Z")), AsOf(None, 150)):
                for row_list in LISTS:
                    everything = await lists.all_items(row_list, await lists.ask(row_list, {}, as_of=as_of))
                    for one in row_list.filters:
                        for value in values_of(one, everything)[:3]:
                            asked = await lists.ask(row_list, {one.name: value}, as_of=as_of)
                            scanned = [item for item in everything if one.test(item, asked.values[one.name])]
                            listed = await lists.all_items(row_list, asked)

                            assert listed == scanned, (row_list.path, one.name, value)
                            compared, matched = compared + 1, matched + bool(scanned)
                    by_two = await lists.items_by_pages_of_two(row_list, await lists.ask(row_list, {}, as_of=as_of))
                    assert by_two == everything

    assert compared > 200
    assert matched > 60


async def test_a_list_as_known_at_a_position_is_the_list_that_was_answered_then(dsn: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        for source in ("capillary", "ascenda", "fabric", "voucherify"):
            for body in samples(source):
                await acme.deliver(body, source)
        then = {row_list.path: await every_item(acme, row_list) for row_list in LISTS}
        await deliver_history(acme)
        await acme.deliver(merged("m2", 600, 379499720, 87884897))

        for path, (position, items) in then.items():
            row_list = next(one for one in LISTS if one.path == path)
            known = await every_item(acme, row_list, as_of_position=str(position))
            assert known == (position, items), path
            assert items, path


async def every_item(acme: TenantClient, row_list: RowList, **times: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the position of a list, and all its items without the time of the answer."""
    answer = await acme.ask_now(f"/v1/{row_list.path}", limit="1000", **times)
    items = [{name: value for name, value in item.items() if name != "at"} for item in answer["items"]]
    return answer["as_of_position"], sorted(items, key=lambda item: (item.get("account", ""), item["id"]))


async def test_pages_in_every_order_hold_each_account_once(dsn: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        await deliver_history(acme)
        async with acme.database() as connection:
            lists = Lists(QueryContext(connection, acme.ledger, "key"), TimeZones(await read_terms(connection, 1)))
            for order in ACCOUNT_LIST.orders:
                for values in ({}, {"available_min": Decimal(50), "available_max": Decimal(300)}, {"debt": False}):
                    asked = await lists.ask(ACCOUNT_LIST, values, order)
                    by_two = await lists.items_by_pages_of_two(ACCOUNT_LIST, asked)
                    whole = await lists.all_items(ACCOUNT_LIST, asked)

                    assert by_two == whole
                    assert len({item["id"] for item in whole}) == len(whole) > 5


async def test_a_list_comes_in_pages_with_a_total_and_as_files(dsn: str) -> None:
    async with serving(dsn, "acme", "other", settings=QUIET) as [acme, other]:
        await deliver_history(acme)
        bearer = {"Authorization": f"Bearer {acme.key}"}
        asked = {"unit": "points", "programme": PROGRAMME, "available_min": "200"}

        first = await acme.ask_now("/v1/accounts", **asked, limit="3", total="true")
        rest = await acme.ask_now("/v1/accounts", **asked, cursor=first["next"])
        file = await acme.client.get("/v1/accounts", params={**asked, "format": "csv"}, headers=bearer)
        accepted = await acme.client.get(
            "/v1/accounts", params=asked, headers={**bearer, "Accept": "application/x-ndjson"}
        )

        listed = [*first["items"], *rest["items"]]
        rows = list(csv.DictReader((await file.text()).splitlines()))
        lines = [json.loads(line) for line in (await accepted.text()).splitlines()]
        assert (len(first["items"]), first["total"], rest["next"]) == (3, len(listed), None)
        assert all(Decimal(item["available"]) >= 200 for item in listed)
        assert [Decimal(item["available"]) for item in listed] == sorted(Decimal(item["available"]) for item in listed)
        assert [(row["id"], row["available"]) for row in rows] == [(item["id"], item["available"]) for item in listed]
        assert [line["id"] for line in lines] == [item["id"] for item in listed]
        assert (file.content_type, accepted.content_type) == ("text/csv", "application/x-ndjson")
        assert (await other.ask_now("/v1/accounts"))["items"] == []


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"available_min": "many"}, "`available_min` must be a number of points"),
        ({"debt": "yes"}, "`debt` must be true or false"),
        ({"lapses_before": "2024-01-01"}, "`lapses_before` must have a time zone"),
        ({"sort": "name"}, "`sort` must be id, available or changed"),
        ({"sort": "available", "cursor": "WyJpZCIsImEiXQ"}, "`cursor` must be the `next` of an earlier answer"),
        ({"at": "2024-01-01T00:00:00Z", "sort": "available"}, "`sort` must be id in a list as of an earlier time"),
        ({"at": "2024-01-01"}, "`at` must have a time zone"),
    ],
)
async def test_a_wrong_filter_is_refused_with_its_rule(dsn: str, query: dict[str, str], sentence: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        status, problem = await acme.ask("/v1/accounts", **query)

        assert status == 400
        assert sentence in problem["detail"]


async def test_a_customer_lists_all_accounts_coupons_and_tiers_without_composed_ids(dsn: str) -> None:
    async with serving(dsn, "acme", settings=QUIET) as [acme]:
        await deliver_history(acme)

        for path in ("accounts", "coupons", "tiers"):
            everything = (await acme.ask_now(f"/v1/{path}", limit="1000"))["items"]
            customer = next(item["customer"] for item in everything if item["customer"])
            bare_id = customer.rpartition(":")[2]
            found = (await acme.ask_now(f"/v1/{path}", customer=bare_id))["items"]
            assert [one["id"] for one in found] == [one["id"] for one in everything if one["customer"] == customer]
