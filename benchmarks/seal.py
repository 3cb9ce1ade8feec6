"""Sealing: leaves a second into a new tree, and the effect of the sealer on HTTP ingest and appends.

Runs with and without the sealer alternate, each on a ledger of its own. All ledgers are sealed before each run, so no
run pays for an earlier one.
"""

import time

from benchmarks import servers
from benchmarks.environment import (
    BenchDatabase,
    Stopwatch,
    append_history,
    build_history,
    create_bench_ledger,
    open_database,
)
from benchmarks.figures import Figure
from benchmarks.load import LoadResult, send_requests
from benchmarks.over_http import requests_of
from ledger.merkle import TILE_WIDTH, Frontier, leaf_hash
from ledger.store.registry import list_ledgers
from ledger.transparency.signer import Signer
from ledger.transparency.tree import seal_all
from ledger.transparency.tree_heads import sign_head

LEAVES_PER_EVENT = 40  # a leaf costs much less than a delivery
ENTRY = b"x" * 400
# Sealing reads only the entries of events.
MANY = """
    INSERT INTO ledger.events (ledger_id, position, connection_id, source, org, kind, event_key, content, variant,
                               occurred_at, recorded_at, delivery_position, ordinal, payload, entry, leaf_hash)
    SELECT $1, n, '-', '-', '-', '-', int8send(n) || int8send(n), '', '', NULL, now(), n, 0, '',
           e.entry, sha256('\\x00'::bytea || e.entry)
      FROM generate_series(1, $2::bigint) n, LATERAL (SELECT convert_to(rpad(n::text, 400), 'UTF8') AS entry) e
"""

HASHED_NAME = "leaves and nodes hashed in memory"
SEALED = "sealed and signed"
APPENDED = "append, blocks of 1,000"
APPENDED_SEALED = "the same, a sealer beside it"
INGESTED = "HTTP ingest, with the projector"
INGESTED_SEALED = "the same, with the sealer too"


async def seal(events: int, runs: int) -> list[Figure]:
    """Seal a whole ledger. Append and ingest deliveries with and without a sealer."""
    leaves = events * LEAVES_PER_EVENT
    rates: dict[str, list[float]] = {HASHED_NAME: [], SEALED: [], APPENDED: [], APPENDED_SEALED: []}
    offered: dict[str, list[LoadResult]] = {INGESTED: [], INGESTED_SEALED: []}
    async with open_database() as database:
        for run in range(runs):
            rates[HASHED_NAME].append(_hash(leaves))
            rates[SEALED].append(await _seal(database, leaves, f"sealed-{run}"))
            for name in (APPENDED, APPENDED_SEALED)[:: 1 if run % 2 else -1]:
                rates[name].append(await _append(database, events, run, sealer=name == APPENDED_SEALED))
            for name in (INGESTED, INGESTED_SEALED)[:: 1 if run % 2 else -1]:
                offered[name].append(await _ingest(database, events, run, sealer=name == INGESTED_SEALED))
    return [
        Figure(HASHED_NAME, "leaves", leaves, rates[HASHED_NAME]),
        Figure(SEALED, "leaves", leaves, rates[SEALED], HASHED_NAME),
        Figure(APPENDED, "deliveries", events, rates[APPENDED]),
        Figure(APPENDED_SEALED, "deliveries", events, rates[APPENDED_SEALED], APPENDED),
        _figure(INGESTED, events, offered[INGESTED], None),
        _figure(INGESTED_SEALED, events, offered[INGESTED_SEALED], INGESTED),
    ]


def _hash(leaves: int) -> float:
    begun = time.perf_counter()
    frontier = Frontier()
    for _ in range(leaves // TILE_WIDTH):
        for _tile in frontier.extend(b"".join([leaf_hash(ENTRY) for _ in range(TILE_WIDTH)])):
            pass
    frontier.root()
    return leaves / (time.perf_counter() - begun)


async def _seal(database: BenchDatabase, leaves: int, name: str) -> float:
    """Seal and sign `leaves` stored events."""
    bench_ledger = await create_bench_ledger(database, name)
    await database.connection.execute(MANY, bench_ledger.ledger.ledger_id, leaves)
    with Stopwatch() as watch:
        await sign_head(database.connection, Signer(database.folder / name), bench_ledger.ledger)
    return leaves / watch.seconds


async def _append(database: BenchDatabase, events: int, run: int, *, sealer: bool) -> float:
    """Append deliveries in blocks beside a service that seals, or beside one that does not."""
    await _seal_all(database)
    bench_ledger = await create_bench_ledger(database, f"appended-{run}-{int(sealer)}")
    deliveries = build_history(events, seed=run + 1)
    with servers.run_server(servers.whole_service, database.dsn, database.folder, False, sealer), Stopwatch() as watch:
        await append_history(database, bench_ledger, deliveries)
    return events / watch.seconds


async def _ingest(database: BenchDatabase, events: int, run: int, *, sealer: bool) -> LoadResult:
    await _seal_all(database)
    bench_ledger = await create_bench_ledger(database, f"taken-in-{run}-{int(sealer)}")
    requests = requests_of(build_history(events, seed=100 + run), bench_ledger.inbound)
    with servers.run_server(servers.whole_service, database.dsn, database.folder, True, sealer) as (port, _):
        return await send_requests(port, requests)


async def _seal_all(database: BenchDatabase) -> None:
    for ledger in await list_ledgers(database.connection):
        await seal_all(database.connection, ledger.ledger_id)


def _figure(name: str, size: int, runs: list[LoadResult], limit: str | None) -> Figure:
    taken = [run.p50_ms for run in runs], [run.p99_ms for run in runs]
    return Figure(name, "deliveries", size, [run.per_second for run in runs], limit, *taken)
