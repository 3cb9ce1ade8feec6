"""Latency of one ledger's webhooks while another transaction holds the append lock of a second ledger.

Both ledgers take deliveries over the same service. Deliveries to the held ledger wait, and then get 503.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice

from benchmarks import servers
from benchmarks.environment import BenchLedger, build_history, create_bench_ledger, open_database
from benchmarks.figures import Figure
from benchmarks.load import LoadResult, send_requests
from benchmarks.over_http import requests_of
from ledger.database import connect

PER_SECOND = 100  # deliveries to the measured ledger
MEASURED_CONNECTIONS = 8
HELD_CONNECTIONS = 16  # that deliver to the held ledger
RETRY_SECONDS = 0.2  # after a refused delivery
WARM_UP = 300

LOCK = "SELECT ledger.lock($1)"


async def held(events: int, runs: int) -> list[Figure]:
    """Deliver to one ledger at a pace: alone, while the other takes deliveries too, and while its lock is held."""
    alone, beside, meanwhile = list[LoadResult](), list[LoadResult](), list[LoadResult]()
    async with open_database() as database:
        measured, busy = [await create_bench_ledger(database, name) for name in ("measured", "held")]
        with servers.run_server(servers.whole_service, database.dsn, database.folder, True) as (port, _):
            for run in range(runs):
                requests = requests_of(build_history(3 * events + WARM_UP, seed=run + 1), measured.inbound)
                await _deliver(port, requests[:WARM_UP])
                parts = [requests[WARM_UP + number * events :][:events] for number in range(3)]
                alone.append(await _deliver(port, parts[0]))
                async with _senders(port, busy):
                    beside.append(await _deliver(port, parts[1]))
                    holder = await connect(database.dsn)
                    async with holder.transaction():
                        await holder.execute(LOCK, busy.ledger.ledger_id)
                        meanwhile.append(await _deliver(port, parts[2]))
                    await holder.close()
    return [
        _figure("alone", events, alone),
        _figure("beside a ledger that takes deliveries", events, beside),
        _figure("beside a ledger whose lock is held", events, meanwhile),
    ]


async def _deliver(port: int, requests: list[bytes]) -> LoadResult:
    return await send_requests(port, requests, PER_SECOND, connections=MEASURED_CONNECTIONS)


@asynccontextmanager
async def _senders(port: int, bench_ledger: BenchLedger) -> AsyncIterator[None]:
    """Deliver to a ledger as vendors do, whatever the answers, until the context ends."""
    requests = requests_of(build_history(1_000, seed=99), bench_ledger.inbound)
    tasks = [
        asyncio.create_task(_send(port, cycle(islice(requests, number, None, HELD_CONNECTIONS))))
        for number in range(HELD_CONNECTIONS)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send(port: int, requests: "cycle[bytes]") -> None:
    """Send one request after the other on one connection, with a pause after each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for request in requests:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            await asyncio.sleep(RETRY_SECONDS)
    finally:
        writer.close()


def _figure(name: str, size: int, runs: list[LoadResult]) -> Figure:
    p50, p99 = [one.p50_ms for one in runs], [one.p99_ms for one in runs]
    return Figure(name, "deliveries", size, [one.per_second for one in runs], None, p50, p99)
