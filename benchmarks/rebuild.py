"""Rebuild of a whole ledger from its events and from its facts, with its limit and its peer in the same run.

The limit reads the same events or facts without interpretation. It copies the same rows, keys and indexes, over as many
connections as there are workers. The peer folds one balance and writes nothing else.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from tempfile import TemporaryFile
from typing import BinaryIO, NamedTuple

from benchmarks.copy_rows import load
from benchmarks.environment import BenchDatabase, Stopwatch, open_database, postgres_pid
from benchmarks.figures import Figure
from benchmarks.peer import rebuild_by_peer
from benchmarks.processes import CpuTime, Memory
from ledger.database import Connection
from projections.engine import generations, promotion
from projections.engine.generations import Generation
from projections.engine.shared_tables import CREATE_FACTS, INDEX_FACTS
from projections.rebuild import pipeline
from projections.rebuild.pipeline import FillResult, Source
from projections.rebuild.workers import open_connection
from projections.registry import PROJECTIONS

EVENTS_OF_PEER_MAX = 10_000

READ = {
    "ledger": "SELECT position, source, kind, event_key, payload FROM ledger.events ORDER BY ledger_id, position",
    "facts": "SELECT * FROM facts ORDER BY ledger_id, subject_kind, subject, occurred_at, rank, tag, ordinal",
}
MAKE_BARE = "DROP SCHEMA IF EXISTS bare CASCADE; CREATE SCHEMA bare"


class BareTable(NamedTuple):
    """A table with the statements that create it, its key and its indexes."""

    name: str
    create: str
    indexes: Sequence[str]


FACTS = BareTable("facts", CREATE_FACTS, INDEX_FACTS)
ROWS = [table for projection in PROJECTIONS for table in projection.tables]
TABLES = [FACTS, *(BareTable(table.name, table.create, table.index) for table in ROWS)]
UNIT = {"ledger": "events", "facts": "facts"}


async def measure_rebuild(events: int, runs: int, source: Source | None = None, workers: int = 2) -> list[Figure]:
    """Rebuild a ledger of `events` events from its events and from its facts, or from only one of them."""
    sources: Sequence[Source] = [source] if source else ["ledger", "facts"]
    rates, limits, peaks = (defaultdict[str, list[float]](list) for _ in range(3))
    spent = defaultdict[str, list[tuple[float, float]]](list)
    peer, filled = list[float](), FillResult(0, 0)
    async with open_database() as database:
        await load(database, events, workers)
        made, _ = await _fill(database, "ledger", workers)
        await generations.set_ready(database.connection, made.generation)
        await promotion.promote(database.dsn, made.generation, force=True)
        for _ in range(runs):
            peer.append(await asyncio.to_thread(rebuild_by_peer, database.dsn, min(events, EVENTS_OF_PEER_MAX)))
            for one in sources:
                bare = await _bare(database, one, workers)
                with (
                    Memory(postgres_pid(database)) as memory,
                    CpuTime(postgres=postgres_pid(database)) as cpu,
                    Stopwatch() as watch,
                ):
                    made, filled = await _fill(database, one, workers)
                await promotion.drop_generation(database.connection, made.generation)
                size = filled.events if one == "ledger" else filled.facts
                limits[one].append(size / bare)
                rates[one].append(size / watch.seconds)
                peaks[one].append(memory.peak_mib)
                spent[one].append(cpu.per_unit(size))
    return list(_figures(sources, rates, limits, peaks, spent, peer, filled, workers))


def _figures(
    sources: Iterable[Source],
    rates: dict[str, list[float]],
    limits: dict[str, list[float]],
    peaks: dict[str, list[float]],
    spent: dict[str, list[tuple[float, float]]],
    peer: list[float],
    filled: FillResult,
    workers: int,
) -> Iterable[Figure]:
    library = "peer: eventsourcing, one balance"
    yield Figure(library, "events", min(filled.events, EVENTS_OF_PEER_MAX), peer)
    for one in sources:
        size = filled.events if one == "ledger" else filled.facts
        limit = f"{UNIT[one]} read bare, the same rows copied"
        yield Figure(limit, UNIT[one], size, limits[one])
        name = f"rebuild from {one}, {workers} workers"
        yield Figure(name, UNIT[one], size, rates[one], limit, peak_mib=peaks[one], cpu_us=spent[one])
        if one == "ledger":
            yield Figure(f"{name}, beside the peer", UNIT[one], size, rates[one], library)


async def _fill(database: BenchDatabase, source: Source, workers: int) -> tuple[Generation, FillResult]:
    """Fill a new generation."""
    async with database.connection.transaction():
        made = await generations.create_generation(database.connection, basis=source)
    return made, await pipeline.fill_generation(database.dsn, made.schema_name, source=source, workers=workers)


async def _bare(database: BenchDatabase, source: Source, workers: int) -> float:
    """Read the same input without interpretation, and copy all rows into tables of the same form.

    Return the seconds, without the time that it takes to read these rows.
    """
    active = (await generations.active_generation(database.connection)).schema_name
    dumping = asyncio.Lock()
    connections = [await open_connection(database.dsn, "bare") for _ in range(workers)]
    waiting: asyncio.Queue[BareTable | None] = asyncio.Queue()
    try:
        await connections[0].execute(MAKE_BARE)
        for table in TABLES:
            await connections[0].execute(table.create)
        tables = [table for table in TABLES if source == "ledger" or table is not FACTS]
        sizes = {table.name: await _size(database, active, table) for table in tables}
        for job in (None, *sorted(tables, key=lambda table: -sizes[table.name])):
            waiting.put_nowait(job)

        async def work(connection: Connection) -> float:
            seconds = 0.0
            while not waiting.empty():
                table = waiting.get_nowait()
                if table is None:
                    seconds += await _read(database, active, source)
                    continue
                with TemporaryFile() as rows:
                    async with dumping:
                        await database.connection.copy_from_table(
                            table.name, schema_name=active, output=rows, format="binary"
                        )
                    rows.seek(0)
                    seconds += await _copy(connection, table, rows)
            return seconds

        return max(await asyncio.gather(*map(work, connections)))
    finally:
        await database.connection.execute("DROP SCHEMA IF EXISTS bare CASCADE")
        for connection in connections:
            await connection.close()


async def _size(database: BenchDatabase, schema: str, table: BareTable) -> int:
    size: int = await database.connection.fetchval(
        "SELECT pg_relation_size($1::text::regclass)", f"{schema}.{table.name}"
    )
    return size


async def _read(database: BenchDatabase, schema: str, source: Source) -> float:
    """Read all events or facts, in order, over a connection of its own."""

    async def take(_chunk: bytes) -> None:
        pass

    connection = await open_connection(database.dsn, schema)
    try:
        with Stopwatch() as watch:
            await connection.copy_from_query(READ[source], output=take, format="binary")
    finally:
        await connection.close()
    return watch.seconds


async def _copy(connection: Connection, table: BareTable, rows: BinaryIO) -> float:
    """COPY rows into a table, and create its keys and indexes."""
    with Stopwatch() as watch:
        await connection.copy_to_table(table.name, schema_name="bare", source=rows, format="binary")
        for statement in table.indexes:
            await connection.execute(statement)
    return watch.seconds
