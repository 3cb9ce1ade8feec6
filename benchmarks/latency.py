"""What callers wait for: rows that reflect what was just delivered, and answers while everything is rebuilt."""

import asyncio
import multiprocessing
from itertools import cycle, islice

import uvloop

from benchmarks import servers
from benchmarks.environment import Place, a_history, fill, new_book, opened
from benchmarks.figures import Figure
from benchmarks.load import Offered, at_share, get, offer
from benchmarks.over_http import ACCOUNTS, requests_of
from benchmarks.servers import MASTER_KEY
from ledger.database import Connection, connect
from ledger.store import api_keys
from projections import rebuild
from projections.engine import promotion
from projections.engine.worker import catch_up

OFFERED_PER_SECOND = 1_000
ASKED_PER_SECOND = 200
ASKED_ALONE = 2_000
SAMPLE_SECONDS = 0.01
WARM_UP = 500  # requests, until all has started that is started by the first ones

BEHIND_SECONDS = """
    SELECT coalesce(extract(epoch FROM clock_timestamp() - (
        SELECT recorded_at FROM ledger.events WHERE ledger_id = $1 AND position = coalesce(
            (SELECT position FROM checkpoints WHERE ledger_id = $1), 0) + 1)), 0)::float8
"""


async def lag(events: int, runs: int) -> list[Figure]:
    """Deliver at a pace, and look every 10 ms how long the first event that is not projected has been waiting."""
    delivered, behind = list[Offered](), list[list[float]]()
    async with opened() as place:
        book = await new_book(place, "bench")
        with servers.running(servers.house, place.dsn, place.folder, True) as port:
            for run in range(runs):
                requests = requests_of(a_history(events, seed=run + 1), book.inbound)
                await offer(port, requests[:WARM_UP])
                while await place.connection.fetchval(BEHIND_SECONDS, book.ledger.ledger_id):  # noqa: ASYNC110
                    await asyncio.sleep(SAMPLE_SECONDS)
                samples = list[float]()
                sampling = asyncio.create_task(_sample(place.connection, book.ledger.ledger_id, samples))
                delivered.append(await offer(port, requests[WARM_UP:], OFFERED_PER_SECOND))
                sampling.cancel()
                behind.append(sorted(samples))
    return [
        _figure("delivered", "deliveries", events, delivered),
        Figure(
            "behind the ledger",
            "samples",
            min(map(len, behind)),
            [one.per_second for one in delivered],
            p50_ms=[1000 * at_share(samples, 0.5) for samples in behind],
            p99_ms=[1000 * at_share(samples, 0.99) for samples in behind],
        ),
    ]


async def _sample(connection: Connection, ledger_id: int, samples: list[float]) -> None:
    while True:
        samples.append(await connection.fetchval(BEHIND_SECONDS, ledger_id))
        await asyncio.sleep(SAMPLE_SECONDS)


async def reading(events: int, runs: int) -> list[Figure]:
    """Ask for accounts at a pace, with nothing else going on and while a rebuild of so many events is."""
    alone, meanwhile = list[Offered](), list[Offered]()
    async with opened() as place:
        book = await new_book(place, "bench")
        await fill(place, book, a_history(events))
        await catch_up(place.connection, book.ledger.ledger_id)
        key = await api_keys.create_key(place.connection, MASTER_KEY, book.ledger, ["read"])
        names = [row[0] for row in await place.connection.fetch(ACCOUNTS, book.ledger.ledger_id)]
        headers = f"Authorization: Bearer {key}\r\n"
        requests = [get(f"/v1/accounts/{name}", headers) for name in islice(cycle(names), ASKED_ALONE)]
        with servers.running(servers.house, place.dsn, place.folder, True) as port:
            await offer(port, requests[:WARM_UP])
            for _ in range(runs):
                alone.append(await offer(port, requests, ASKED_PER_SECOND))
                meanwhile.append(await _while_rebuilt(place, port, requests))
    return [
        _figure("nothing else going on", "answers", ASKED_ALONE, alone),
        _figure("while everything is rebuilt", "answers", ASKED_ALONE, meanwhile),
    ]


async def _while_rebuilt(place: Place, port: int, requests: list[bytes]) -> Offered:
    """Ask again and again until a rebuild in another process is done; the middle round counts."""
    process = multiprocessing.get_context("spawn").Process(target=_rebuild, args=(place.dsn,))
    process.start()
    rounds = [await offer(port, requests[: ASKED_PER_SECOND * 2], ASKED_PER_SECOND)]
    while process.is_alive():
        rounds.append(await offer(port, requests[: ASKED_PER_SECOND * 2], ASKED_PER_SECOND))
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


def _figure(name: str, unit: str, size: int, runs: list[Offered]) -> Figure:
    rates = [run.per_second for run in runs]
    return Figure(name, unit, size, rates, None, [run.p50_ms for run in runs], [run.p99_ms for run in runs])
