"""Replay of a whole ledger, from its events and from its facts, beside its limit and its peer, all in the same run.

The limit reads the same events or facts bare and copies the same rows, keys and indexes after, over as many connections
as there are workers. The peer folds one balance and writes nothing else.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from tempfile import TemporaryFile
from typing import BinaryIO

from benchmarks.copy_rows import load
from benchmarks.environment import Place, Watch, opened, server_pid
from benchmarks.figures import Figure
from benchmarks.memory import Memory
from benchmarks.peer import rebuild_by_peer
from ledger.database import Connection
from projections.definition import Table
from projections.engine import generations, promotion
from projections.engine.generations import Generation
from projections.rebuild import pipeline
from projections.rebuild.pipeline import FillResult, Source
from projections.rebuild.worker_pool import open_connection
from projections.registry import PROJECTIONS

EVENTS_OF_PEER_MAX = 10_000

READ = {
    "ledger": "SELECT position, source, kind, event_key, payload FROM ledger.events ORDER BY ledger_id, position",
    "facts": "SELECT * FROM facts ORDER BY ledger_id, subject_kind, subject, occurred_at, rank, tag, ordinal",
}
FACTS = Table(name="facts", create=generations.CREATE_FACTS, index=generations.INDEX_FACTS, columns=(), key=())
TABLES = [FACTS, *(table for projection in PROJECTIONS for table in projection.tables)]
MAKE_BARE = "DROP SCHEMA IF EXISTS bare CASCADE; CREATE SCHEMA bare"
UNIT = {"ledger": "events", "facts": "facts"}


async def replay(events: int, runs: int, source: Source | None = None, workers: int = 2) -> list[Figure]:
    """Rebuild a ledger of so many events from its events and from its facts, or from one of them."""
    sources: Sequence[Source] = [source] if source else ["ledger", "facts"]
    rates, limits, peaks = (defaultdict[str, list[float]](list) for _ in range(3))
    peer, filled = list[float](), FillResult(0, 0)
    async with opened() as place:
        await load(place, events, workers)
        made, _ = await _fill(place, "ledger", workers)
        await generations.set_ready(place.connection, made.generation)
        await promotion.promote(place.dsn, made.generation, force=True)
        for _ in range(runs):
            peer.append(await asyncio.to_thread(rebuild_by_peer, place.dsn, min(events, EVENTS_OF_PEER_MAX)))
            for one in sources:
                bare = await _bare(place, one, workers)
                with Memory(server_pid(place)) as memory, Watch() as watch:
                    made, filled = await _fill(place, one, workers)
                await promotion.drop_generation(place.connection, made.generation)
                size = filled.events if one == "ledger" else filled.facts
                limits[one].append(size / bare)
                rates[one].append(size / watch.seconds)
                peaks[one].append(memory.peak_mib)
    return list(_figures(sources, rates, limits, peaks, peer, filled, workers))


def _figures(
    sources: Iterable[Source],
    rates: dict[str, list[float]],
    limits: dict[str, list[float]],
    peaks: dict[str, list[float]],
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
        yield Figure(name, UNIT[one], size, rates[one], limit, peak_mib=peaks[one])
        if one == "ledger":
            yield Figure(f"{name}, beside the peer", UNIT[one], size, rates[one], library)


async def _fill(place: Place, source: Source, workers: int) -> tuple[Generation, FillResult]:
    """Fill a new generation."""
    async with place.connection.transaction():
        made = await generations.create_generation(place.connection, basis=source)
    return made, await pipeline.fill_generation(place.dsn, made.schema_name, source=source, workers=workers)


async def _bare(place: Place, source: Source, workers: int) -> float:
    """Read the same input as it is, and copy all rows into tables like theirs; give the seconds that takes, without
    what it takes to get at the rows first."""
    active = (await generations.active_generation(place.connection)).schema_name
    dumping = asyncio.Lock()
    connections = [await open_connection(place.dsn, "bare") for _ in range(workers)]
    waiting: asyncio.Queue[Table | None] = asyncio.Queue()
    try:
        await connections[0].execute(MAKE_BARE)
        for table in TABLES:
            await connections[0].execute(table.create)
        tables = [table for table in TABLES if source == "ledger" or table is not FACTS]
        sizes = {table.name: await _size(place, active, table) for table in tables}
        for job in (None, *sorted(tables, key=lambda table: -sizes[table.name])):
            waiting.put_nowait(job)

        async def work(connection: Connection) -> float:
            seconds = 0.0
            while not waiting.empty():
                table = waiting.get_nowait()
                if table is None:
                    seconds += await _read(place, active, source)
                    continue
                with TemporaryFile() as rows:
                    async with dumping:
                        await place.connection.copy_from_table(
                            table.name, schema_name=active, output=rows, format="binary"
                        )
                    rows.seek(0)
                    seconds += await _copy(connection, table, rows)
            return seconds

        return max(await asyncio.gather(*map(work, connections)))
    finally:
        await place.connection.execute("DROP SCHEMA IF EXISTS bare CASCADE")
        for connection in connections:
            await connection.close()


async def _size(place: Place, schema: str, table: Table) -> int:
    size: int = await place.connection.fetchval("SELECT pg_relation_size($1::text::regclass)", f"{schema}.{table.name}")
    return size


async def _read(place: Place, schema: str, source: Source) -> float:
    """Read all events or facts, in order, over a connection of its own."""

    async def take(_chunk: bytes) -> None:
        pass

    connection = await open_connection(place.dsn, schema)
    try:
        with Watch() as watch:
            await connection.copy_from_query(READ[source], output=take, format="binary")
    finally:
        await connection.close()
    return watch.seconds


async def _copy(connection: Connection, table: Table, rows: BinaryIO) -> float:
    """COPY rows into a table and make its keys and indexes."""
    with Watch() as watch:
        await connection.copy_to_table(table.name, schema_name="bare", source=rows, format="binary")
        for statement in table.index:
            await connection.execute(statement)
    return watch.seconds
