"""Read the gauges of positions: ledgers, generations, parked subjects, checkpoints, witnesses, endpoints.

These statements read all ledgers at once, by indexes. Each costs a few look-ups for a ledger, however long it is.
"""

import contextlib
from collections.abc import Sequence
from functools import cache
from importlib import metadata

import asyncpg

from ledger import clock
from ledger.database import Connection, has_several_servers
from ledger.store.registry import list_ledgers
from projections.engine import generations
from projections.engine.generations import FOLLOWING_STATES, Generation
from projections.engine.parked import TERMS_REASON
from service.monitoring import samples
from service.monitoring.outgoing_gauges import read_outgoing_gauges
from service.monitoring.samples import LEDGERS_MAX, Sample

SCHEMA_AND_TIME = "SELECT version_num, clock_timestamp() AS now FROM public.alembic_version"
LEDGERS = "(SELECT ledger_id, name FROM ledger.ledgers ORDER BY ledger_id LIMIT $1) l"
POSITIONS = f"""
    SELECT l.name, coalesce(tail.position, 0) AS tail, coalesce(c.position, 0) AS position,
           coalesce(extract(epoch FROM clock_timestamp() - next.recorded_at), 0)::float8 AS lag_seconds
      FROM {LEDGERS}
      LEFT JOIN checkpoints c ON c.ledger_id = l.ledger_id
      LEFT JOIN LATERAL (SELECT e.position FROM ledger.events e WHERE e.ledger_id = l.ledger_id
                          ORDER BY e.position DESC LIMIT 1) tail ON true
      LEFT JOIN ledger.events next ON next.ledger_id = l.ledger_id AND next.position = coalesce(c.position, 0) + 1
"""  # noqa: S608
PARKED = f"""
    SELECT l.name, parked.subjects, coalesce(parked.oldest_seconds, 0)::float8 AS oldest_seconds
      FROM {LEDGERS}
     CROSS JOIN LATERAL (
           SELECT count(*) AS subjects, extract(epoch FROM clock_timestamp() - min(e.recorded_at)) AS oldest_seconds
             FROM subjects s JOIN ledger.events e ON e.ledger_id = s.ledger_id AND e.position = s.parked_position
            WHERE s.ledger_id = l.ledger_id AND s.parked IS NOT NULL AND s.parked <> $2) parked
"""  # noqa: S608
SEALED = f"""
    SELECT l.name, coalesce(tail.position, 0) - coalesce(c.size, 0) AS unsealed,
           coalesce(extract(epoch FROM clock_timestamp() - next.recorded_at), 0)::float8 AS unsealed_seconds,
           extract(epoch FROM clock_timestamp() - c.signed_at)::float8 AS checkpoint_age
      FROM {LEDGERS}
      LEFT JOIN LATERAL (SELECT e.position FROM ledger.events e WHERE e.ledger_id = l.ledger_id
                          ORDER BY e.position DESC LIMIT 1) tail ON true
      LEFT JOIN LATERAL (SELECT size, signed_at FROM ledger.checkpoints WHERE ledger_id = l.ledger_id
                          ORDER BY checkpoint DESC LIMIT 1) c ON true
      LEFT JOIN ledger.events next ON next.ledger_id = l.ledger_id AND next.position = coalesce(c.size, 0) + 1
"""  # noqa: S608
WITNESSED = f"""
    SELECT l.name, w.witness, coalesce((
               SELECT extract(epoch FROM clock_timestamp() - c.signed_at) FROM ledger.checkpoints c
                WHERE c.ledger_id = l.ledger_id AND c.checkpoint > coalesce((
                          SELECT s.checkpoint FROM ledger.cosignatures s
                           WHERE s.ledger_id = l.ledger_id AND s.witness = w.witness
                           ORDER BY s.checkpoint DESC LIMIT 1), 0)
                ORDER BY c.checkpoint LIMIT 1), 0)::float8 AS age
      FROM {LEDGERS},
           unnest($2::text[]) AS w (witness)
"""  # noqa: S608
REBUILD_STAGES = """
    SELECT stage, (sum(size) FILTER (WHERE done))::float8 / nullif(sum(size), 0) AS done FROM parts GROUP BY stage
"""
GONE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)  # dropped, or not begun


async def read_position_gauges(connection: Connection, witnesses: Sequence[str]) -> list[Sample]:
    """Read all gauges of positions. `witnesses` are the names of the configured witnesses.

    The first LEDGERS_MAX ledgers are read. Raises an error of the driver.
    """
    row = await connection.fetchrow(SCHEMA_AND_TIME)
    assert row is not None
    offset = (clock.wall_time() - row["now"]).total_seconds()
    found = [
        Sample(samples.BUILD_INFO, (software_version(), row["version_num"]), 1),
        Sample(samples.CLOCK_OFFSET, (), offset),
    ]
    listed = await generations.list_generations(connection)
    for state in FOLLOWING_STATES:
        newest = next((one for one in reversed(listed) if one.state == state), None)
        if newest is not None:
            found += await _generation_gauges(connection, newest)
    filling = next((one for one in reversed(listed) if one.state == "filling"), None)
    if filling is not None:
        found += await _rebuild_gauges(connection, filling)
    return [*found, *await _seal_gauges(connection, witnesses), *await read_outgoing_gauges(connection)]


async def _generation_gauges(connection: Connection, generation: Generation) -> list[Sample]:
    """Read the positions of one generation. Of the active one, also what is parked and due."""
    found = []
    try:
        async with connection.transaction(readonly=True), generations.in_schema(connection, generation.schema_name):
            for name, tail, position, seconds in await _fetch_by_ledger(connection, POSITIONS):
                labels = (name, generation.state)
                found += [
                    Sample(samples.PROJECTION_POSITION, labels, position),
                    Sample(samples.LAG_EVENTS, labels, tail - position),
                    Sample(samples.LAG_SECONDS, labels, max(0.0, seconds)),
                ]
                if generation.state == "active":
                    found.append(Sample(samples.LEDGER_POSITION, (name,), tail))
            if generation.state == "active":
                for name, subjects, seconds in await _fetch_by_ledger(connection, PARKED, TERMS_REASON):
                    found += [
                        Sample(samples.PARKED, (name,), subjects),
                        Sample(samples.PARKED_OLDEST, (name,), max(0.0, seconds)),
                    ]
    except GONE:
        return []
    if generation.state == "active":
        due = generations.due_projections(generation)
        versions = generations.projection_versions()
        found += [Sample(samples.REBUILD_DUE, (name,), float(name in due)) for name in versions]
    return found


async def _fetch_by_ledger(connection: Connection, statement: str, *arguments: object) -> Sequence[asyncpg.Record]:
    """Fetch the rows of the first LEDGERS_MAX ledgers by one statement; with several servers, by one for each ledger.

    Ledgers whose server cannot be reached are left out.
    """
    if not await has_several_servers(connection):
        rows: Sequence[asyncpg.Record] = await connection.fetch(statement, LEDGERS_MAX, *arguments)
        return rows
    one_ledger = f"(SELECT $1::int AS ledger_id, ${len(arguments) + 2}::text AS name) l"
    statement = statement.replace(LEDGERS, one_ledger).replace("= l.ledger_id", "= $1")
    found: list[asyncpg.Record] = []
    for ledger in (await list_ledgers(connection))[:LEDGERS_MAX]:
        with contextlib.suppress(asyncpg.PostgresConnectionError):
            async with connection.transaction():
                found += await connection.fetch(statement, ledger.ledger_id, *arguments, ledger.name)
    return found


async def _rebuild_gauges(connection: Connection, generation: Generation) -> list[Sample]:
    """Read the progress of a rebuild, by stage."""
    try:
        async with connection.transaction(readonly=True), generations.in_schema(connection, generation.schema_name):
            rows = await connection.fetch(REBUILD_STAGES)
    except GONE:
        return []
    return [Sample(samples.REBUILD_PROGRESS, (row["stage"],), row["done"] or 0) for row in rows]


async def _seal_gauges(connection: Connection, witnesses: Sequence[str]) -> list[Sample]:
    found = []
    for name, unsealed, seconds, age in await _fetch_by_ledger(connection, SEALED):
        found.append(Sample(samples.UNSEALED, (name,), max(0, unsealed)))
        found.append(Sample(samples.UNSEALED_OLDEST, (name,), max(0.0, seconds)))
        if age is not None:
            found.append(Sample(samples.CHECKPOINT_AGE, (name,), max(0.0, age)))
    if witnesses:
        for name, witness, age in await _fetch_by_ledger(connection, WITNESSED, witnesses):
            found.append(Sample(samples.WITNESS_AGE, (name, witness), max(0.0, age)))
    return found


@cache
def software_version() -> str:
    """Return the version of the installed software; "unknown" if it runs without an installation."""
    try:
        return metadata.version("loyalty-ledger")
    except metadata.PackageNotFoundError:
        return "unknown"
