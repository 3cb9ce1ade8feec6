"""Import in blocks: by one process, by workers and by two commands. The limit is COPY of the same bytes.

The peers append small events, the same bodies, or transfers, in batches of 1,000. They authenticate, redact, hash and
encrypt nothing.
"""

import asyncio
import hashlib
import multiprocessing
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path

import uvloop

from benchmarks.environment import (
    BLOCK,
    BenchDatabase,
    BenchLedger,
    Stopwatch,
    build_history,
    create_bench_ledger,
    open_database,
    postgres_pid,
)
from benchmarks.figures import Figure
from benchmarks.peer import append_by_peer
from benchmarks.processes import CpuTime
from benchmarks.servers import MASTER_KEY
from benchmarks.sql_peers import append_by_message_db, transfer_by_double_entry, without_repeats
from ledger.database import Connection
from ledger.gc_tuning import freeze_loaded_objects
from ledger.privacy.vault import Vault
from ledger.store.registry import InboundConnection
from service.importing.block_appender import BlockAppender
from service.importing.deliveries import import_lines
from service.importing.split import DeliveryLine
from service.importing.worker_pool import ImportTask, import_by_workers

PROCESSES = 2
COLUMNS = ("ledger_id", "position", "event_key", "payload")
CREATE = """
    CREATE TABLE bare (ledger_id int, position bigint, event_key bytea, payload bytea)
      WITH (toast_tuple_target = 8160);
    ALTER TABLE bare ALTER payload SET STORAGE EXTERNAL;
"""
KEYS = "ALTER TABLE bare ADD PRIMARY KEY (ledger_id, position), ADD UNIQUE (ledger_id, event_key)"

Lines = dict[str, list[DeliveryLine]]


async def import_history(events: int, runs: int, message_db: Path | None = None) -> list[Figure]:
    """Import deliveries as `loyalty import` does, and COPY the same bodies. `message_db` is the folder of its SQL."""
    measured: dict[str, list[float]] = {
        "COPY without an index": [],
        "COPY with the same two keys": [],
        "import by one process": [],
        f"import by {PROCESSES} workers": [],
        f"import by {PROCESSES} commands at once": [],
        "peer: eventsourcing, saved in batches": [],
        "peer: double entry, a transfer for each": [],
        **({"peer: message-db, the same bodies": []} if message_db else {}),
    }
    spent = defaultdict[str, list[tuple[float, float]]](list)  # with the start of the workers
    freeze_loaded_objects()  # as `loyalty import` does
    async with open_database() as database:
        for run in range(runs):
            lines = lines_of(events, run + 1)
            bodies = without_repeats(build_history(events, run + 1))
            one, workers, several = [
                await create_bench_ledger(database, f"{name}-{run}") for name in ("one", "workers", "several")
            ]
            works: list[Callable[[], Awaitable[float]]] = [
                partial(_copy, database.connection, lines, keys=False),
                partial(_copy, database.connection, lines, keys=True),
                partial(_import, database, lines, one),
                partial(_import_by_workers, database, lines, workers),
                partial(_import_by_several, database, events, run, several),
                partial(asyncio.to_thread, append_by_peer, database.dsn, events),
                partial(transfer_by_double_entry, database.dsn, bodies),
            ]
            if message_db:
                works.append(partial(append_by_message_db, database.dsn, bodies, message_db))
            for name, work in zip(measured, works, strict=True):
                with CpuTime(postgres=postgres_pid(database)) as cpu:
                    measured[name].append(await work())
                spent[name].append(cpu.per_unit(events))
    limit = "COPY with the same two keys"
    return [
        Figure(name, "deliveries", events, rates, limit if name.startswith("import") else None, cpu_us=spent[name])
        for name, rates in measured.items()
    ]


def lines_of(events: int, seed: int) -> Lines:
    """Return a history as one file for each source, because a file is imported over one connection."""
    files: Lines = defaultdict(list)
    for source, body in build_history(events, seed):
        files[source].append(DeliveryLine(len(files[source]) + 1, body))
    return dict(files)


async def _copy(connection: Connection, files: Lines, *, keys: bool) -> float:
    bodies = [line.body for lines in files.values() for line in lines]
    records = [(1, n, hashlib.sha256(b"%d" % n).digest()[:16], body) for n, body in enumerate(bodies, 1)]
    await connection.execute("DROP TABLE IF EXISTS bare")
    await connection.execute(CREATE)
    if keys:
        await connection.execute(KEYS)
    await connection.reload_schema_state()
    with Stopwatch() as watch:
        for start in range(0, len(records), BLOCK):
            await connection.copy_records_to_table("bare", records=records[start : start + BLOCK], columns=COLUMNS)
    return len(records) / watch.seconds


async def _import(database: BenchDatabase, files: Lines, bench_ledger: BenchLedger) -> float:
    with Stopwatch() as watch:
        for source, lines in files.items():
            inbound = bench_ledger.inbound[source]
            async with BlockAppender(database.dsn, bench_ledger.vault, inbound.ledger.ledger_id) as appender:
                await import_lines(appender, inbound, iter(lines), lambda _: None)
    return sum(map(len, files.values())) / watch.seconds


async def _import_by_workers(database: BenchDatabase, files: Lines, bench_ledger: BenchLedger) -> float:
    """Import as `loyalty import --workers 2` does, with the start and the end of the workers."""
    with Stopwatch() as watch:
        for source, lines in files.items():
            task = ImportTask(database.dsn, MASTER_KEY, bench_ledger.inbound[source], repair=False)
            await asyncio.to_thread(import_by_workers, task, iter(lines), lambda _: None, PROCESSES)
    return sum(map(len, files.values())) / watch.seconds


async def _import_by_several(database: BenchDatabase, events: int, run: int, bench_ledger: BenchLedger) -> float:
    """Let each process import a part of its own into the same ledger at the same time."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES + 1)
    seeds = [1_000 * (run + 1) + n for n in range(PROCESSES)]
    part = events // PROCESSES
    processes = [
        context.Process(target=_import_part, args=(database.dsn, bench_ledger.inbound, part, seed, barrier))
        for seed in seeds
    ]
    for process in processes:
        process.start()
    await asyncio.to_thread(barrier.wait, 120)
    begun = time.perf_counter()
    await asyncio.to_thread(barrier.wait, 600)
    taken = time.perf_counter() - begun
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    return part * PROCESSES / taken


def _import_part(dsn: str, inbound: dict[str, InboundConnection], events: int, seed: int, barrier: Barrier) -> None:
    async def run() -> None:
        freeze_loaded_objects()
        files = lines_of(events, seed)
        vault = Vault(MASTER_KEY)
        ledger_id = next(iter(inbound.values())).ledger.ledger_id
        async with BlockAppender(dsn, vault, ledger_id) as appender:
            await asyncio.to_thread(barrier.wait, 120)
            for source, lines in files.items():
                await import_lines(appender, inbound[source], iter(lines), lambda _: None)
            await asyncio.to_thread(barrier.wait, 600)

    uvloop.run(run())
