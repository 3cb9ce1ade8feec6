"""Pages of lists with each documented filter: the cost of 100 items, if the list has a million rows.

A history is appended and folded, with the published payloads. Its rows are then copied under other names, so each table
has the requested size and realistic rows. Each filter is asked with the value that most rows have, with a value that
few rows have, and with one that none has.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from benchmarks.environment import BenchDatabase, append_history, build_history, create_bench_ledger, open_database
from benchmarks.figures import Figure
from benchmarks.simulation import SentDelivery
from ledger import clock
from ledger.database import Connection
from ledger.store.registry import Ledger
from projections.engine.worker import catch_up
from projections.programme_terms import NO_TERMS
from projections.queries.validity_ends import TimeZones
from projections.tables import Table
from service.queries.context import QueryContext
from service.queries.list_catalogue import LISTS
from service.queries.lists import Filter, ListRequest, RowList, read_page, resolve_references

DELIVERIES = 2_000
PAGES = 20
LIMIT = 100
SAMPLES = Path(__file__).parents[1] / "tests" / "samples"
# Columns of copies: the names change, and a share of the copies has values that are rare.
COPIED_REFERENCES = {"customer", "holder", "sender", "receiver", "order_id", "record", "number", "code", "card_code"}
COPIED_REFERENCES |= {"bill", "bill_number", "account_id", "redemption", "lot_id", "promise_id", "reward"}
POINTS = {"available": "x.available + n % 1000", "debt": "CASE WHEN n % 1000 = 7 THEN 5 ELSE 0 END"}
DRIFT = "CASE WHEN n % 1000 = 9 THEN 7 ELSE 0 END"
LAST_POSITION = "x.last_position + n"
# Rows are loaded before the indexes are made, as a rebuild does.
DROP_INDEXES = """
    DO $do$ DECLARE one record; BEGIN
        EXECUTE (SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
                  WHERE conrelid = $1::regclass AND contype = 'p');
        FOR one IN SELECT indexrelid::regclass AS name FROM pg_index WHERE indrelid = $1::regclass LOOP
            EXECUTE format('DROP INDEX %s', one.name);
        END LOOP;
    END $do$
"""


class AskedFilter(NamedTuple):
    """One filter of a list, with a value and a word for it."""

    row_list: RowList
    values: dict[str, Any]
    word: str

    @property
    def name(self) -> str:
        return f"/v1/{self.row_list.path}?{'&'.join(self.values)} ({self.word})"


async def measure_filters(rows: int, runs: int) -> list[Figure]:
    """Read pages of every list with each of its filters. Every list has at least `rows` rows."""
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        await append_history(database, bench_ledger, [*_samples(), *build_history(DELIVERIES)])
        await catch_up(database.connection, bench_ledger.ledger.ledger_id)
        tables = {row_list.table.name: row_list.table for row_list in LISTS}
        for table in tables.values():
            await _copy_rows(database.connection, bench_ledger.ledger.ledger_id, table, rows)
        asked = [one for row_list in LISTS for one in await _asked_filters(database, bench_ledger.ledger, row_list)]
        return [await _measure(database.connection, bench_ledger.ledger, one, runs) for one in asked]


def _samples() -> Iterable[SentDelivery]:
    for file in sorted(SAMPLES.glob("*/*.json")):
        if file.parent.name != "loyalty" and not file.name.endswith(".facts.json"):
            yield SentDelivery(file.parent.name, file.read_bytes())


async def _copy_rows(connection: Connection, ledger_id: int, table: Table, rows: int) -> None:
    """Copy the rows of a table under other names until there are `rows`."""
    count = await connection.fetchval(f"SELECT count(*) FROM {table.name} WHERE ledger_id = $1", ledger_id)  # noqa: S608
    if not count:
        return
    columns = ("ledger_id", "subject", *table.columns)
    values = ", ".join(_copied_value(table, column) for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    await connection.execute(DROP_INDEXES.replace("$1", f"'{table.name}'"))
    await connection.execute(
        f"INSERT INTO {table.name} ({names}) SELECT {values} FROM {table.name} x, generate_series(1, $2::int) n "  # noqa: S608
        "WHERE x.ledger_id = $1",
        ledger_id,
        rows // count,
    )
    for statement in table.index:
        await connection.execute(statement)
    await connection.execute(f"VACUUM ANALYZE {table.name}")


def _copied_value(table: Table, column: str) -> str:
    if column == "account_id":  # the copy of a holder has all accounts of the holder
        return "split_part(x.account_id, ':', 1) || ':' || split_part(x.account_id, ':', 2) || ':n' || n || '-' || " + (
            "split_part(x.account_id, ':', 3) || ':' || split_part(x.account_id, ':', 4) || ':' || "
            "split_part(x.account_id, ':', 5)"
        )
    if column == "subject" or column in COPIED_REFERENCES:
        return f"x.\"{column}\" || '~' || n"
    if table.name == "accounts" and column in POINTS:
        return POINTS[column]
    if table.name == "accounts" and column in ("drift", "missing"):
        return DRIFT
    if column == "last_position":
        return LAST_POSITION
    return f'x."{column}"'


async def _asked_filters(database: BenchDatabase, ledger: Ledger, row_list: RowList) -> list[AskedFilter]:
    asked = [AskedFilter(row_list, {}, "all")]
    for one in row_list.filters:
        for word, value in await _values(database.connection, ledger, row_list, one):
            asked.append(AskedFilter(row_list, {one.name: value}, word))
    return asked


async def _values(connection: Connection, ledger: Ledger, row_list: RowList, one: Filter) -> list[tuple[str, Any]]:
    if one.kind == "flag":
        return [("true", True), ("false", False)]
    if one.kind == "points":
        return [("0", Decimal(0)), ("1 million", Decimal(10**6))]
    if one.kind == "position":
        last = await connection.fetchval(
            "SELECT max(last_position) FROM accounts WHERE ledger_id = $1", ledger.ledger_id
        )
        return [("all", 0), ("last", last - 10)]
    if one.kind == "time":
        now = datetime.now(UTC)
        return [("long ago", now - timedelta(days=9_000)), ("now", now), ("in 90 years", now + timedelta(days=33_000))]
    column = {"holder": "subject", "customer": "sender"}.get(one.name, one.name)
    column = one.name if column == "sender" and "sender" not in row_list.table.columns else column
    found = await connection.fetch(
        f'SELECT "{column}" AS value, count(*) AS count FROM {row_list.table.name} '  # noqa: S608
        f'WHERE ledger_id = $1 AND "{column}" IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1',
        ledger.ledger_id,
    )
    values = [("most", found[0]["value"]), ("few", found[-1]["value"])] if found else []
    return [*values, ("none", "none of them")]


async def _measure(connection: Connection, ledger: Ledger, asked: AskedFilter, runs: int) -> Figure:
    query = QueryContext(connection, ledger, "key")
    values = await resolve_references(query, asked.row_list, asked.values)
    implied = [one.order for one in asked.row_list.filters if one.order is not None and one.name in values]
    order = next(one for one in asked.row_list.orders if one.name == (implied or [asked.row_list.orders[0].name])[0])
    request = ListRequest(values, order, clock.now(), TimeZones(NO_TERMS))
    per_second, p50, p99 = list[float](), list[float](), list[float]()
    for _ in range(runs):
        times = []
        for _ in range(PAGES):
            begun = time.perf_counter()
            await read_page(query, asked.row_list, request, None, LIMIT)
            times.append(1_000 * (time.perf_counter() - begun))
        p50.append(median(times))
        p99.append(quantiles(times, n=100)[-1])
        per_second.append(1_000 / median(times))
    return Figure(asked.name, "pages", PAGES, per_second, None, p50, p99)
