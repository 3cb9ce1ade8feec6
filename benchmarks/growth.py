"""One ledger that grows: ten equal steps of import and projection, with queries after each, and two rebuilds.

`each run` shows the events of the ledger at the end of a step. The last column is the ratio to the first step. Memory
is that of all processes: import, projection, the service that answers the queries, PostgreSQL, and the simulation of
the vendors in this process.
"""

import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

from benchmarks import servers
from benchmarks.environment import BenchDatabase, BenchLedger, create_bench_ledger, open_database, postgres_pid
from benchmarks.figures import Figure
from benchmarks.history import history
from benchmarks.load import get, send_requests
from benchmarks.over_http import ACCOUNTS
from benchmarks.processes import CpuTime, Memory
from benchmarks.servers import MASTER_KEY
from benchmarks.simulation import Mix, SentDelivery
from ledger.gc_tuning import freeze_loaded_objects
from ledger.store import api_keys
from ledger.store.read import tail
from projections.engine import generations, promotion
from projections.engine.worker import catch_up
from projections.rebuild.pipeline import fill_generation
from service.importing.block_appender import BlockAppender
from service.importing.deliveries import import_lines
from service.importing.split import DeliveryLine

STEPS = 10
DELIVERIES_PER_CHUNK = 10_000  # imported, then projected
QUERIES_PER_STEP = 300
REBUILD_WORKERS = 2
QUERIES = {
    "GET an account": "/v1/accounts/{}",
    "GET its statement": "/v1/accounts/{}/statement?limit=100",
    "GET a page of 100 accounts": "/v1/accounts?limit=100",
}
READ_SIZE = "SELECT pg_database_size(current_database())"


async def growth(events: int, _runs: int) -> list[Figure]:
    """Import and project `events` deliveries in ten steps. Query after each; rebuild after the first and the last."""
    freeze_loaded_objects()
    figures: dict[str, list[Figure]] = defaultdict(list)
    step_size = max(1, events // STEPS)
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "growth")
        key = await api_keys.create_key(database.connection, MASTER_KEY, bench_ledger.ledger, ["read"])
        deliveries = history(step_size * STEPS, Mix(seed=1, customers=max(100, events // 10)))
        with servers.run_server(servers.whole_service, database.dsn, database.folder, False) as service:
            for step in range(1, STEPS + 1):
                with Memory(postgres_pid(database)) as memory:
                    grown = await _grow(database, bench_ledger, islice(deliveries, step_size))
                stored = await tail(database.connection, bench_ledger.ledger.ledger_id)
                size = await database.connection.fetchval(READ_SIZE)
                measured = [
                    *(figure._replace(peak_mib=[memory.peak_mib]) for figure in grown),
                    Figure("disk of an event", "", 0, [size / stored], per=" bytes"),
                    *await _query(database, bench_ledger, service.port, key),
                    *([await _rebuild(database)] if step in (1, STEPS) else []),
                ]
                for figure in measured:
                    figures[figure.name].append(figure._replace(unit="events", size=stored, limit=figure.name))
    return [figure for of_name in figures.values() for figure in of_name]


async def _grow(database: BenchDatabase, bench_ledger: BenchLedger, deliveries: Iterator[SentDelivery]) -> list[Figure]:
    """Import and project the deliveries of one step. The time to simulate them is not counted."""
    ledger_id = bench_ledger.ledger.ledger_id
    seconds = {"import": 0.0, "project": 0.0}
    cpu_us = {"import": (0.0, 0.0), "project": (0.0, 0.0)}
    done = 0

    def count(name: str, begun: float, cpu: CpuTime) -> None:
        seconds[name] += time.perf_counter() - begun
        python, postgres = cpu_us[name]
        cpu_us[name] = (python + cpu.python_us, postgres + cpu.postgres_us)

    async with BlockAppender(database.dsn, bench_ledger.vault, ledger_id) as appender:
        while chunk := list(islice(deliveries, DELIVERIES_PER_CHUNK)):
            lines: dict[str, list[DeliveryLine]] = defaultdict(list)
            for number, (source, body) in enumerate(chunk, 1):
                lines[source].append(DeliveryLine(number, body))
            begun = time.perf_counter()
            with CpuTime(postgres=postgres_pid(database)) as cpu:
                for source, of_source in lines.items():
                    await import_lines(appender, bench_ledger.inbound[source], iter(of_source), lambda _: None)
            count("import", begun, cpu)
            begun = time.perf_counter()
            with CpuTime(postgres=postgres_pid(database)) as cpu:
                await catch_up(database.connection, ledger_id)
            count("project", begun, cpu)
            done += len(chunk)
    return [
        Figure(name, "", 0, [done / seconds[name]], cpu_us=[(cpu_us[name][0] / done, cpu_us[name][1] / done)])
        for name in seconds
    ]


async def _query(database: BenchDatabase, bench_ledger: BenchLedger, port: int, key: str) -> list[Figure]:
    """Send each query one at a time."""
    names = [row[0] for row in await database.connection.fetch(ACCOUNTS, bench_ledger.ledger.ledger_id)]
    headers = f"Authorization: Bearer {key}\r\n"
    figures = []
    for name, path in QUERIES.items():
        requests = [get(path.format(names[n % len(names)]), headers) for n in range(QUERIES_PER_STEP)]
        load = await send_requests(port, requests, connections=1)
        figures.append(Figure(name, "", 0, [load.per_second], None, [load.p50_ms], [load.p99_ms]))
    return figures


async def _rebuild(database: BenchDatabase) -> Figure:
    """Rebuild everything from the ledger, and drop the result."""
    async with database.connection.transaction():
        made = await generations.create_generation(database.connection)
    begun = time.perf_counter()
    with Memory(postgres_pid(database)) as memory, CpuTime(postgres=postgres_pid(database)) as cpu:
        filled = await fill_generation(database.dsn, made.schema_name, workers=REBUILD_WORKERS)
    seconds = time.perf_counter() - begun
    await promotion.drop_generation(database.connection, made.generation)
    return Figure(
        f"rebuild, {REBUILD_WORKERS} workers", "", 0, [filled.events / seconds],
        peak_mib=[memory.peak_mib], cpu_us=[cpu.per_unit(filled.events)],
    )  # fmt: skip
