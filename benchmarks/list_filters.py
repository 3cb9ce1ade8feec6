"""Pages of lists with each documented filter: the time of a request for 100 items, if the list has a million rows.

A history is appended and folded, with the published payloads. Its rows are then copied under other names, so each table
has the requested size and realistic rows. Each filter is asked over HTTP with the value that most rows have, with a
value that few rows have, and with one that none has; then every two filters together, and the last page.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from benchmarks import servers
from benchmarks.environment import BenchDatabase, append_history, build_history, create_bench_ledger, open_database
from benchmarks.figures import Figure
from benchmarks.load import get, send_requests
from benchmarks.servers import MASTER_KEY
from benchmarks.simulation import SentDelivery
from ledger.database import Connection
from ledger.store import api_keys
from ledger.store.registry import Ledger
from projections.engine.worker import catch_up
from projections.tables import Table
from service.api.lists import encode_key
from service.queries.listing.filters import Filter, ListOrder
from service.queries.listing.list_catalogue import LISTS
from service.queries.listing.lists import RowList

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


class AskedPage(NamedTuple):
    """One request for a page of a list, and a word for its values."""

    row_list: RowList
    values: dict[str, str]
    word: str

    @property
    def name(self) -> str:
        return f"/v1/{self.row_list.path}?{'&'.join(self.values)} ({self.word})"

    @property
    def path(self) -> str:
        return f"/v1/{self.row_list.path}?{urlencode({**self.values, 'limit': str(LIMIT)})}"


class FilterValue(NamedTuple):
    """A value of a filter, and a word for it."""

    name: str
    value: str
    word: str


async def measure_filters(rows: int, runs: int) -> list[Figure]:
    """GET pages of every list with each of its filters. Every list has at least `rows` rows."""
    async with open_database() as database:
        ledger = await build_lists(database, rows)
        key = await api_keys.create_key(database.connection, MASTER_KEY, ledger, ["read"])
        asked = [one for row_list in LISTS for one in await choose_pages(database.connection, ledger, row_list)]
        with servers.run_server(servers.whole_service, database.dsn, database.folder, False) as (port, _):
            return [await measure_page(port, key, one, runs) for one in asked]


async def build_lists(database: BenchDatabase, rows: int) -> Ledger:
    """Append a history, and copy its rows until every table of a list has `rows` rows."""
    bench_ledger = await create_bench_ledger(database, "bench")
    await append_history(database, bench_ledger, [*sample_deliveries(), *build_history(DELIVERIES)])
    await catch_up(database.connection, bench_ledger.ledger.ledger_id)
    tables = {row_list.table.name: row_list.table for row_list in LISTS}
    for table in tables.values():
        await _copy_rows(database.connection, bench_ledger.ledger.ledger_id, table, rows)
    return bench_ledger.ledger


def sample_deliveries() -> Iterable[SentDelivery]:
    """Yield every published payload of the vendors."""
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


async def choose_pages(connection: Connection, ledger: Ledger, row_list: RowList) -> list[AskedPage]:
    """Return the pages to ask for: without a filter, with each one, with every two, and the last pages."""
    values = [await _values(connection, ledger, row_list, one) for one in row_list.filters]
    asked = [AskedPage(row_list, {}, "all")]
    asked += [AskedPage(row_list, {one.name: one.value}, one.word) for several in values for one in several]
    for first, second in combinations(values, 2):
        for one, other in (*zip(first, second, strict=False), *zip(first, second[1:], strict=False)):
            pair = {one.name: one.value, other.name: other.value}
            asked.append(AskedPage(row_list, pair, f"{one.word}, {other.word}"))
    return [*asked, *[await _last_page(connection, ledger, row_list, order) for order in row_list.orders]]


async def _last_page(connection: Connection, ledger: Ledger, row_list: RowList, order: ListOrder) -> AskedPage:
    columns = ", ".join(f"{column} DESC" for column in order.columns)
    row = await connection.fetchrow(
        f"SELECT * FROM {row_list.table.name} WHERE ledger_id = $1 ORDER BY {columns} OFFSET {LIMIT} LIMIT 1",  # noqa: S608
        ledger.ledger_id,
    )
    assert row is not None
    values = {"cursor": encode_key(order, tuple(row[column] for column in order.columns))}
    if len(row_list.orders) > 1:
        values["sort"] = order.name
    return AskedPage(row_list, values, f"last by {order.name}")


async def _values(connection: Connection, ledger: Ledger, row_list: RowList, one: Filter) -> list[FilterValue]:
    return [
        FilterValue(one.name, value, word) for word, value in await _named_values(connection, ledger, row_list, one)
    ]


async def _named_values(
    connection: Connection, ledger: Ledger, row_list: RowList, one: Filter
) -> list[tuple[str, str]]:
    if one.kind == "flag":
        return [("true", "true"), ("false", "false")]
    if one.kind == "points":
        return [("0", "0"), ("1 million", "1000000")]
    if one.kind == "position":
        last = await connection.fetchval(
            "SELECT max(last_position) FROM accounts WHERE ledger_id = $1", ledger.ledger_id
        )
        return [("all", "0"), ("last", str(last - 10))]
    if one.kind == "time":
        now = datetime.now(UTC)
        times = {"in 90 years": now + timedelta(days=33_000), "now": now, "long ago": now - timedelta(days=9_000)}
        return [(word, time.isoformat()) for word, time in times.items()]
    column = {"holder": "subject", "customer": "sender"}.get(one.name, one.name)
    column = one.name if column == "sender" and "sender" not in row_list.table.columns else column
    found = await connection.fetch(
        f'SELECT "{column}" AS value, count(*) AS count FROM {row_list.table.name} '  # noqa: S608
        f'WHERE ledger_id = $1 AND "{column}" IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1',
        ledger.ledger_id,
    )
    values = [("most", found[0]["value"]), ("few", found[-1]["value"])] if found else []
    return [*values, ("none", "none of them")]


async def measure_page(port: int, key: str, asked: AskedPage, runs: int) -> Figure:
    """GET a page several times over one connection."""
    request = get(asked.path, f"Authorization: Bearer {key}\r\n")
    results = [await send_requests(port, [request] * PAGES, connections=1) for _ in range(runs)]
    return Figure(
        asked.name,
        "pages",
        PAGES,
        [one.per_second for one in results],
        None,
        [one.p50_ms for one in results],
        [one.p99_ms for one in results],
    )
