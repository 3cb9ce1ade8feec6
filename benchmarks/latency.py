"""Latency for callers: until rows reflect a delivery, and of answers during a rebuild."""

import asyncio
import multiprocessing
from itertools import cycle, islice

import uvloop

from benchmarks import servers
from benchmarks.environment import BenchDatabase, append_history, build_history, create_bench_ledger, open_database
from benchmarks.figures import Figure
from benchmarks.load import LoadResult, get, quantile, send_requests
from benchmarks.over_http import ACCOUNTS, requests_of
from benchmarks.servers import MASTER_KEY
from ledger.database import Connection, connect
from ledger.store import api_keys
from projections import rebuild
from projections.engine import promotion
from projections.engine.worker import catch_up

DELIVERIES_PER_SECOND = 1_000
REQUESTS_PER_SECOND = 200
REQUESTS_ALONE = 2_000
SAMPLE_SECONDS = 0.01
WARM_UP = 500  # requests, so that lazily started parts are running

BEHIND_SECONDS = """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - (
        SELECT recorded_at FROM ledger.events WHERE ledger_id = $1 AND position = coalesce(
            (SELECT position FROM checkpoints WHERE ledger_id = $1), 0) + 1)), 0)::float8
"""


async def lag(events: int, runs: int) -> list[Figure]:
    """Deliver at a pace. Sample every 10 ms the age of the first event that is not projected."""
    delivered, behind = list[LoadResult](), list[list[float]]()
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        with servers.run_server(servers.whole_service, database.dsn, database.folder, True) as (port, _):
            for run in range(runs):
                requests = requests_of(build_history(events, seed=run + 1), bench_ledger.inbound)
                await send_requests(port, requests[:WARM_UP])
                while await database.connection.fetchval(BEHIND_SECONDS, bench_ledger.ledger.ledger_id):  # noqa: ASYNC110
                    await asyncio.sleep(SAMPLE_SECONDS)
                samples = list[float]()
                sampling = asyncio.create_task(_sample(database.connection, bench_ledger.ledger.ledger_id, samples))
                delivered.append(await send_requests(port, requests[WARM_UP:], DELIVERIES_PER_SECOND))
                sampling.cancel()
                behind.append(sorted(samples))
    return [
        _figure("delivered", "deliveries", events, delivered),
        Figure(
            "behind the ledger",
            "samples",
            min(map(len, behind)),
            [one.per_second for one in delivered],
            p50_ms=[1000 * quantile(samples, 0.5) for samples in behind],
            p99_ms=[1000 * quantile(samples, 0.99) for samples in behind],
        ),
    ]


async def _sample(connection: Connection, ledger_id: int, samples: list[float]) -> None:
    while True:
        samples.append(await connection.fetchval(BEHIND_SECONDS, ledger_id))
        await asyncio.sleep(SAMPLE_SECONDS)


async def read_during_rebuild(events: int, runs: int) -> list[Figure]:
    """GET accounts at a pace, first alone and then during a rebuild of `events` events."""
    alone, meanwhile = list[LoadResult](), list[LoadResult]()
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        await append_history(database, bench_ledger, build_history(events))
        await catch_up(database.connection, bench_ledger.ledger.ledger_id)
        key = await api_keys.create_key(database.connection, MASTER_KEY, bench_ledger.ledger, ["read"])
        names = [row[0] for row in await database.connection.fetch(ACCOUNTS, bench_ledger.ledger.ledger_id)]
        headers = f"Authorization: Bearer {key}\r\n"
        requests = [get(f"/v1/accounts/{name}", headers) for name in islice(cycle(names), REQUESTS_ALONE)]
        with servers.run_server(servers.whole_service, database.dsn, database.folder, True) as (port, _):
            await send_requests(port, requests[:WARM_UP])
            for _ in range(runs):
                alone.append(await send_requests(port, requests, REQUESTS_PER_SECOND))
                meanwhile.append(await _request_during_rebuild(database, port, requests))
    return [
        _figure("nothing else going on", "answers", REQUESTS_ALONE, alone),
        _figure("while everything is rebuilt", "answers", REQUESTS_ALONE, meanwhile),
    ]


async def _request_during_rebuild(database: BenchDatabase, port: int, requests: list[bytes]) -> LoadResult:
    """Send the requests repeatedly until a rebuild in another process is done. The middle round counts."""
    process = multiprocessing.get_context("spawn").Process(target=_rebuild, args=(database.dsn,))
    process.start()
    rounds = [await send_requests(port, requests[: REQUESTS_PER_SECOND * 2], REQUESTS_PER_SECOND)]
    while process.is_alive():
        rounds.append(await send_requests(port, requests[: REQUESTS_PER_SECOND * 2], REQUESTS_PER_SECOND))
    process.join()
    assert process.exitcode == 0
    return sorted(rounds, key=lambda one: one.p99_ms)[len(rounds) // 2]


def _rebuild(dsn: str) -> None:
    async def work() -> None:
        built, _ = await rebuild.build_generation(dsn, workers=2)
        connection = await connect(dsn)
        await promotion.drop_generation(connection, built.generation)
        await connection.close()

    uvloop.run(work())


def _figure(name: str, unit: str, size: int, runs: list[LoadResult]) -> Figure:
    rates = [run.per_second for run in runs]
    return Figure(name, unit, size, rates, None, [run.p50_ms for run in runs], [run.p99_ms for run in runs])
