"""Workers on other hosts take part in a rebuild that another process has begun: one for each item, or until its end.

The rebuild's own process partitions the work and decides when a stage ends. It holds an advisory lock as long as it
lives. A worker needs a connection to the same database, and the same software.
"""

import asyncio
import os
import socket
from typing import NamedTuple

import asyncpg

from ledger.database import Connection, connect
from ledger.errors import NoRebuildRuns, WorkerRefused
from ledger.locks import GENERATION_FILLING
from projections.rebuild import work_items
from projections.rebuild.local_workers import local_workers
from projections.rebuild.pipeline import TASKS, Progress, no_progress, process_with_progress, software_hash
from projections.rebuild.workers import Workers, open_connection

STAGE_WAIT_SECONDS = 0.2  # while the rebuild's own process prepares the next stage

FIND_FILLING = """
    SELECT g.generation, g.schema_name FROM projections.generations g
     WHERE g.state = 'filling' AND EXISTS (
        SELECT FROM pg_locks l
         WHERE l.locktype = 'advisory' AND l.granted
           AND l.classid = $1 AND l.objid = g.generation::oid AND l.objsubid = 2
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""
READ_GENERATION_STATE = "SELECT state FROM projections.generations WHERE generation = $1"
READ_STATE = "SELECT to_regclass('parts') IS NOT NULL AS has_items, EXISTS (SELECT FROM checkpoints) AS is_prepared"
FIND_STAGE = "SELECT stage FROM parts WHERE NOT done LIMIT 1"
HAS_FILLED_BY = "SELECT to_regclass('filled_by') IS NOT NULL"
READ_FILLED_BY = "SELECT software, fill_id::text FROM filled_by"


class JoinReport(NamedTuple):
    """Result of taking part in a rebuild: how many parts this host has done, and whether no part is left."""

    generation: int
    parts: int
    complete: bool


async def process_part(dsn: str, schema: str, fill_id: str, stage: str, number: int) -> bool:
    """Process one work item of a fill, on a connection of its own. Return False if another worker has it.

    Raises WorkerRefused if the DSN names another database, or if this software is not the one that began the fill.
    """
    connection = await open_connection(dsn, schema)
    try:
        await _check_fill(connection, fill_id)
        return await work_items.process_item(connection, stage, number, TASKS[stage])
    finally:
        await connection.close()


async def join_rebuild(dsn: str, *, workers: int | None = None, progress: Progress = no_progress) -> JoinReport:
    """Process work items of the running rebuild until none is left, or until its own process has ended.

    `workers` is the number of processes; None means one for each processor. Raises NoRebuildRuns, WorkerRefused,
    WorkersLost.
    """
    connection = await connect(dsn)
    try:
        found = await connection.fetchrow(FIND_FILLING, GENERATION_FILLING)
        if found is None:
            raise NoRebuildRuns
        generation, schema = found
        in_schema = await connect(dsn, search_path=schema)
        helpers = local_workers(dsn, schema, TASKS, workers or os.cpu_count() or 1)
        try:
            parts = 0
            while (await connection.fetchrow(FIND_FILLING, GENERATION_FILLING)) == found:
                try:
                    more = await _process_next_stage(in_schema, helpers, progress)
                except asyncpg.UndefinedTableError:  # the rebuild has dropped its table of work items
                    more = None
                if more is None:
                    return JoinReport(generation, parts, complete=True)
                parts += more
            state = await connection.fetchval(READ_GENERATION_STATE, generation)
            return JoinReport(generation, parts, complete=state != "filling")
        finally:
            await helpers.stop()
            await in_schema.close()
    finally:
        await connection.close()


async def _process_next_stage(connection: Connection, workers: Workers, progress: Progress) -> int | None:
    """Process the items of the stage that has undone ones, or wait a moment if there is none. Return the number of
    items done here, or None if the fill is complete."""
    state = await connection.fetchrow(READ_STATE)
    assert state is not None
    if not state["has_items"] and state["is_prepared"]:
        return None
    stage = await connection.fetchval(FIND_STAGE) if state["has_items"] else None
    if stage is None:
        await asyncio.sleep(STAGE_WAIT_SECONDS)
        return 0
    await _check_fill(connection)
    return await process_with_progress(connection, workers, stage, progress)


async def _check_fill(connection: Connection, fill_id: str | None = None) -> None:
    """Check that the connection's generation is being filled, by the named fill and by this software.

    Raises WorkerRefused.
    """
    row = await connection.fetchrow(READ_FILLED_BY) if await connection.fetchval(HAS_FILLED_BY) else None
    if row is None or fill_id not in (None, row["fill_id"]):
        raise WorkerRefused(socket.gethostname(), "its DATABASE_URL names another database than the rebuild's")
    if row["software"] != software_hash():
        raise WorkerRefused(socket.gethostname(), "its software differs; install the version that runs the rebuild")
