"""Time to query an account of 1,000 facts: now, at a time, as known at a position, explained; and a whole ledger's
liability.

Queries run one after the other, because latency is measured.
"""

import time
from collections.abc import Sequence
from datetime import date

from benchmarks import servers
from benchmarks.environment import (
    BenchDatabase,
    BenchLedger,
    append_history,
    build_history,
    create_bench_ledger,
    open_database,
)
from benchmarks.figures import Figure
from benchmarks.load import LoadResult, get, send_requests
from benchmarks.servers import MASTER_KEY
from ledger.database import Connection
from ledger.intake.identify import identify
from ledger.store import api_keys
from ledger.store.append import append
from projections.engine.worker import catch_up
from projections.queries.account_history import LINE_ROWS, ROWS_PER_FETCH, snapshot
from projections.queries.roll_forward import RollForwardQuery
from service.finance.liability import roll_forward
from tests.support.payloads import issued, redeemed

FACTS = 1_000
REQUESTS = 40
ACCOUNT = "/v1/accounts/capillary:9001:1:77:points"
POSITION_IN_THE_MIDDLE = """
    SELECT position FROM facts WHERE ledger_id = $1 AND subject_kind = 'account' AND subject = 'capillary:9001:1'
     ORDER BY position OFFSET $2 LIMIT 1
"""
LINES = "SELECT count(*) FROM statement WHERE ledger_id = $1"


async def query_as_of(events: int, runs: int) -> list[Figure]:
    """GET one account in every way that folds it for the query. The limit is one row by its key."""
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        await append_history(database, bench_ledger, build_history(events))
        await _append_account_history(database, bench_ledger)
        await catch_up(database.connection, bench_ledger.ledger.ledger_id)
        key = await api_keys.create_key(database.connection, MASTER_KEY, bench_ledger.ledger, ["read"])
        access = await api_keys.find_key(database.connection, MASTER_KEY, key)
        known = await database.connection.fetchval(POSITION_IN_THE_MIDDLE, bench_ledger.ledger.ledger_id, FACTS // 2)
        last = known + FACTS // 2
        asked = {
            "one row by its key": ACCOUNT,
            "now": ACCOUNT,
            "at a time, 500 facts": f"{ACCOUNT}?at=2023-12-05T00:00:00Z",
            "as known, 500 facts": f"{ACCOUNT}?as_of_position={known}",
            "both, 1,000 facts": f"{ACCOUNT}?at=2026-01-01T00:00:00Z&as_of_position={last - 1}",
            "statement as known, 1,000 lines": f"{ACCOUNT}/statement?as_of_position={last - 1}&limit=1000",
            "explained, 1,000 steps": f"{ACCOUNT}/explanation",
        }
        measured: dict[str, list[LoadResult]] = {name: [] for name in asked}
        with (
            servers.run_server(servers.bare_query, database.dsn, access) as (bare_query_port, _),
            servers.run_server(servers.whole_service, database.dsn, database.folder, False) as (service_port, _),
        ):
            for _ in range(runs):
                for name, path in asked.items():
                    requests = [get(path, f"Authorization: Bearer {key}\r\n")] * REQUESTS
                    port = bare_query_port if name == "one row by its key" else service_port
                    measured[name].append(await send_requests(port, requests, connections=1))
    return [_figure(name, runs_of) for name, runs_of in measured.items()]


async def _append_account_history(database: BenchDatabase, bench_ledger: BenchLedger) -> None:
    """Append 1,000 events of one account, an hour apart. Two of three are credits."""
    origin = bench_ledger.inbound["capillary"].origin(bench_ledger.vault)
    bodies = [
        redeemed(f"k{n}", n * 3600, 1, 15) if n % 3 == 2 else issued(f"k{n}", n * 3600, 1, 10, lapses="2025-12-31")
        for n in range(FACTS)
    ]
    await append(
        database.connection,
        bench_ledger.vault,
        bench_ledger.ledger.ledger_id,
        [identify(origin, body) for body in bodies],
    )


async def finance(events: int, runs: int) -> list[Figure]:
    """Roll a whole ledger forward by month, as known now and before the last tenth. The limit reads all statement
    lines.
    """
    limit, current, known_before = (
        "all lines read",
        "liability by month and vintage",
        "the same, as known before the last tenth",
    )
    measured: dict[str, list[float]] = {limit: [], current: [], known_before: []}
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        event_count = await append_history(database, bench_ledger, build_history(events))
        await catch_up(database.connection, bench_ledger.ledger.ledger_id)
        lines = await database.connection.fetchval(LINES, bench_ledger.ledger.ledger_id)
        query = RollForwardQuery(date(2025, 1, 1), date(2026, 12, 31), monthly=True)
        for _ in range(runs):
            started = time.perf_counter()
            await _read_lines(database.connection, bench_ledger.ledger.ledger_id)
            measured[limit].append(lines / (time.perf_counter() - started))
            for name, position in ((current, None), (known_before, event_count * 9 // 10)):
                started = time.perf_counter()
                await roll_forward(database.connection, bench_ledger.ledger.ledger_id, query, position)
                measured[name].append(lines / (time.perf_counter() - started))
    return [
        Figure(name, "lines", lines, runs_of, None if name == limit else limit) for name, runs_of in measured.items()
    ]


async def _read_lines(connection: Connection, ledger_id: int) -> None:
    async with snapshot(connection):
        cursor = await connection.cursor(LINE_ROWS, ledger_id)
        while await cursor.fetch(ROWS_PER_FETCH):
            pass


def _figure(name: str, runs: Sequence[LoadResult]) -> Figure:
    limit = "one row by its key"
    return Figure(
        name,
        "answers",
        REQUESTS,
        [run.per_second for run in runs],
        limit if name != limit else None,
        [run.p50_ms for run in runs],
        [run.p99_ms for run in runs],
    )
