"""Compare each filter of each list with a scan of all rows.

1. All rows of a list are read once, without a filter. The exact tests of the filters are applied to them in memory.
2. The list is then read with each filter. Both must have the same rows in the same order: their hashes are compared.
3. `python -m tests.support.list_scan 100000` does so with a generated history of so many deliveries, as of now and as
   of an earlier time. As of an earlier time every list is folded from the facts, so each gets one filter only.
"""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from benchmarks.environment import append_history, build_history, create_bench_ledger, open_database
from benchmarks.list_filters import sample_deliveries
from benchmarks.simulation import SentDelivery
from ledger import clock
from projections.engine.programme_terms import read_terms
from projections.engine.worker import catch_up
from projections.queries.as_of import AsOf
from projections.queries.validity_ends import TimeZones
from service.demo.programme import ProgrammeSimulation
from service.formatting import encode_json
from service.queries.context import QueryContext
from service.queries.listing.filters import Filter
from service.queries.listing.list_catalogue import LISTS
from service.queries.listing.lists import ListRequest, RowList, matches, resolve_references
from service.queries.listing.past_lists import count_list_items, read_all

VALUES_PER_FILTER = 4
DELIVERIES_PER_MEMBER = 17
MIDDLE_EVENT = """
    SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY occurred_at) FROM ledger.events WHERE ledger_id = $1
"""
TIMES = tuple(map(datetime.fromisoformat, ("2000-01-01T00:00:00Z", "2024-06-01T00:00:00Z", "2150-01-01T00:00:00Z")))


class RowsHash:
    """A hash of rows in their order, and their number."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, item: dict[str, Any]) -> None:
        self.count += 1
        self._hash.update(encode_json(item))

    def result(self) -> tuple[int, str]:
        return self.count, self._hash.hexdigest()


class Comparison(NamedTuple):
    """A filter with a value, the rows that a scan finds, and the rows and the count of the filtered list."""

    path: str
    name: str
    value: Any
    scanned: tuple[int, str]
    listed: tuple[int, str]
    counted: int

    @property
    def agrees(self) -> bool:
        return self.scanned == self.listed and self.counted == self.scanned[0]


async def compare_list(
    query: QueryContext, row_list: RowList, zones: TimeZones, as_of: AsOf | None = None, filters_max: int | None = None
) -> AsyncIterator[Comparison]:
    """Compare a list by each of its filters, with values that rows have and one that none has.

    `filters_max` limits the number of values that are compared.
    """
    at = clock.now() if as_of is None else as_of.at or clock.now()
    everything = ListRequest({}, row_list.orders[0], at, zones, as_of)
    rows = [item async for item in _items(query, row_list, everything)]
    asked = [
        (one, value)
        for one in row_list.filters
        for value in _chosen(one, {value for item in rows for value in _values_in(one, item)})
    ]
    for one, value in _most_useful(asked)[:filters_max]:
        values = await resolve_references(query, row_list.filters, {one.name: value})
        request = everything._replace(values=values)
        scanned, listed = RowsHash(), RowsHash()
        for item in rows:
            if matches(row_list, item, values):
                scanned.add(item)
        async for item in _items(query, row_list, request):
            listed.add(item)
        # Without an exact condition, and as of an earlier time, a count reads the pages that were just read.
        counted = listed.count if as_of or not one.exact else await count_list_items(query, row_list, request)
        yield Comparison(row_list.path, one.name, value, scanned.result(), listed.result(), counted)


def _most_useful(asked: list[tuple[Filter, Any]]) -> list[tuple[Filter, Any]]:
    """Return filters with values that rows have first: those of text and references."""
    return sorted(asked, key=lambda one: one[0].kind not in ("text", "reference"))


async def _items(query: QueryContext, row_list: RowList, asked: ListRequest) -> AsyncIterator[dict[str, Any]]:
    async for page in read_all(query, row_list, asked):
        for item in page.items:
            yield item


def _values_in(one: Filter, item: dict[str, Any]) -> set[Any]:
    """Return the values of a row by which a filter finds it."""
    if one.kind == "points":
        return {item["available"]}
    if one.kind not in ("text", "reference"):
        return set()
    columns = ("sender", "receiver") if one.name == "customer" and "sender" in item else (one.name,)
    if one.name not in item and "sender" not in item:
        columns = ("id",)
    return {str(item[column]) for column in columns if item[column] is not None}


def _chosen(one: Filter, known: set[Any]) -> list[Any]:
    if one.kind == "flag":
        return [True, False]
    if one.kind == "time":
        return list(TIMES)
    if one.kind == "position":
        return [0, 150, 10**6]
    others: list[Any] = [Decimal(10**9)] if one.kind == "points" else ["expired", "none of them"]
    return [*sorted(known)[:: max(1, len(known) // VALUES_PER_FILTER)], *others]


def _history(deliveries: int) -> list[SentDelivery]:
    """Return every published payload, then a history of plain deliveries, then a year of a simulated programme."""
    programme = ProgrammeSimulation(clock.now().date(), deliveries // 2 // DELIVERIES_PER_MEMBER).deliveries()
    year = [SentDelivery(one.source, one.body) for one in programme]
    return [*sample_deliveries(), *build_history(deliveries - len(year)), *year]


async def compare_history(deliveries: int) -> int:
    """Compare all lists of a generated history, as of now and as of an earlier time. Return the number of failures."""
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "acme")
        await append_history(database, bench_ledger, _history(deliveries))
        await catch_up(database.connection, bench_ledger.ledger.ledger_id)
        await database.connection.execute("ANALYZE")
        zones = TimeZones(await read_terms(database.connection, bench_ledger.ledger.ledger_id))
        query = QueryContext(database.connection, bench_ledger.ledger, "key")
        earlier = await database.connection.fetchval(MIDDLE_EVENT, bench_ledger.ledger.ledger_id)
        failures = 0
        for as_of, filters_max in ((None, None), (AsOf(earlier), 1)):
            for row_list in LISTS:
                compared = [one async for one in compare_list(query, row_list, zones, as_of, filters_max)]
                failures += sum(not one.agrees for one in compared)
                rows = sum(one.scanned[0] for one in compared)
                print(f"{row_list.path}: {len(compared)} filters, {rows} rows", as_of or "now", flush=True)
                for one in compared:
                    if not one.agrees:
                        print("differs:", one, flush=True)
        return failures


if __name__ == "__main__":
    sys.exit(bool(asyncio.run(compare_history(int(sys.argv[1])))))
