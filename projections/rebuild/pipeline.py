"""Replay: fill a new generation from the ledger or from the live facts, by several workers.

Theory. The facts come first: derived from the events, stretch by stretch, or taken over from the live generation. Their
key puts them in the order of the fold, so that one ordered read gives subject after subject, each folded in memory and
written with COPY, range by range; indexes come last. Every stretch and every range is a part (parts.py), done by
whichever worker is free (workers.py). Memory does not grow with the history, only with the number of workers. Nothing
of this touches the live generation, which readers go on reading and the projector goes on feeding.

Invariants. A part's rows are there if and only if it is marked done; so a rebuild that was killed goes on where it was,
and ends in the same rows. Who sees them, and when, is decided in replay.py and promotion.py.
"""

import hashlib
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import ledger
import projections
from ledger.database import Connection, connect
from ledger.store.read import tail
from ledger.store.registry import list_ledgers
from projections.engine import generations
from projections.engine.conflicts import copy_policies
from projections.engine.groups import write_all_groups
from projections.rebuild import work_items
from projections.rebuild.copy_facts import copy_facts, copy_metadata
from projections.rebuild.derive_facts import derive_facts
from projections.rebuild.fold_rows import fold_range
from projections.rebuild.indexes import make_indexes
from projections.rebuild.partition import partition_events, partition_subjects
from projections.rebuild.rejected_rows import CREATE_REJECTED, resolve_rejected
from projections.rebuild.work_items import IndexStatements, Task, Work
from projections.rebuild.worker_pool import WorkerPool
from projections.registry import PROJECTIONS

SINGLE_PROCESS_EVENTS_MAX = 20_000  # so few events or facts are done before another process has started

FACTS_FROM_EVENTS = "facts of events"
FACTS_COPIED = "facts taken over"
FACTS_KEY = "key of the facts"
ROWS = "rows"
INDEXES = "indexes"
TASKS: dict[str, Task] = {
    FACTS_FROM_EVENTS: derive_facts,
    FACTS_COPIED: copy_facts,
    FACTS_KEY: make_indexes,
    ROWS: fold_range,
    INDEXES: make_indexes,
}

CREATE_FILLED_BY = "CREATE TABLE filled_by (software text NOT NULL)"
WRITE_SOFTWARE = "INSERT INTO filled_by VALUES ($1)"
READ_SOFTWARE = "SELECT software FROM filled_by"
HAS_WORK_ITEMS = "SELECT to_regclass('parts') IS NOT NULL"
SET_CHECKPOINT = "INSERT INTO checkpoints (ledger_id, position) VALUES ($1, $2) ON CONFLICT (ledger_id) DO NOTHING"
READ_CHECKPOINTS = "SELECT ledger_id, position FROM checkpoints ORDER BY ledger_id"
CLEAR_LINKS = "DELETE FROM links WHERE ledger_id = $1 AND subject_kind = $2"
DROP_WORK_TABLES = "DROP TABLE parts, refused, filled_by"

Source = Literal["ledger", "facts"]
Progress = Callable[[str, int, int], None]  # (stage, done, of)


class FillResult(NamedTuple):
    """What a new generation was filled from: the events it reflects, and the facts they gave."""

    events: int
    facts: int


def no_progress(_stage: str, _done: int, _of: int) -> None:
    """Report no progress."""


async def fill_generation(
    dsn: str, schema: str, *, source: Source = "ledger", workers: int | None = None, progress: Progress = no_progress
) -> FillResult:
    """Fill a generation that was just created, or go on filling it after a crash, and make its indexes.

    Its checkpoints are then where the ledgers ended, or with `source="facts"` where the live generation was, when it
    was begun. `workers` processes work side by side, as many as there are processors unless told; with 1, or little to
    do, this one does. Raises WorkersLost.
    """
    connection = await connect(dsn, search_path=schema)
    try:
        size = await _prepare(connection, source)
        pool = WorkerPool(
            dsn, schema, TASKS, 1 if size <= SINGLE_PROCESS_EVENTS_MAX else workers or os.cpu_count() or 1
        )
        async with pool:
            facts = await _run_stages(connection, pool, source, progress)
        await resolve_rejected(connection)
        events = sum(row["position"] for row in await connection.fetch(READ_CHECKPOINTS))
        await connection.execute(DROP_WORK_TABLES)
    finally:
        await connection.close()
    return FillResult(events, facts)


async def can_resume(connection: Connection) -> bool:
    """Say whether this software may go on filling the connection's generation: it has begun to, or nobody has. One
    that reads events or folds facts otherwise, however little, must begin anew."""
    return not await connection.fetchval(HAS_WORK_ITEMS) or await connection.fetchval(READ_SOFTWARE) == software_hash()


@cache
def software_hash() -> str:
    """Give a hash of everything that facts and rows come from."""
    sha256 = hashlib.sha256()
    for package in (ledger, projections):
        for file in sorted(Path(package.__path__[0]).rglob("*.py")):
            sha256.update(file.read_bytes())
    return sha256.hexdigest()


async def _run_stages(connection: Connection, pool: WorkerPool, source: Source, progress: Progress) -> int:
    """Do one stage after the other; give the number of facts."""
    ledgers = [(row["ledger_id"], row["position"]) for row in await connection.fetch(READ_CHECKPOINTS)]
    if source == "ledger":
        facts = FACTS_FROM_EVENTS
        await _run_stage(connection, pool, facts, progress, lambda: partition_events(connection, ledgers))
    else:
        facts = FACTS_COPIED
        schema_of_facts = await generations.active_schema(connection)
        await _run_stage(
            connection, pool, facts, progress, lambda: partition_subjects(connection, ledgers, schema_of_facts)
        )
    count = (await work_items.read_totals(connection, facts)).counted
    await _run_stage(connection, pool, FACTS_KEY, progress, lambda: _index_items([generations.INDEX_FACTS]))
    await _run_stage(connection, pool, ROWS, progress, lambda: _partition_rows(connection, ledgers))
    await _run_stage(connection, pool, INDEXES, progress, lambda: _index_items(generations.index_statements()))
    return count


async def _prepare(connection: Connection, source: Source) -> int:
    """Note how far the generation will reach, unless that was done before; give how much there is to do about."""
    async with connection.transaction():
        if not await connection.fetchval(HAS_WORK_ITEMS):
            await connection.execute(CREATE_FILLED_BY)
            await connection.execute(WRITE_SOFTWARE, software_hash())
        await connection.execute(work_items.CREATE_WORK_ITEMS)
        await connection.execute(CREATE_REJECTED)
        if not await connection.fetchval(READ_CHECKPOINTS):
            if source == "facts":
                await copy_metadata(connection, await generations.active_schema(connection))
            else:
                for ledger in await list_ledgers(connection):
                    await copy_policies(connection, ledger.ledger_id)
                    await connection.execute(SET_CHECKPOINT, ledger.ledger_id, await tail(connection, ledger.ledger_id))
    return sum(row["position"] for row in await connection.fetch(READ_CHECKPOINTS))


async def _run_stage(
    connection: Connection,
    pool: WorkerPool,
    stage: str,
    progress: Progress,
    make_items: Callable[[], Awaitable[list[tuple[int, Work]]]],
) -> None:
    """Cut a stage into parts, unless that was done before, and do those that are not done."""
    if not (await work_items.read_totals(connection, stage)).parts:
        async with connection.transaction():
            await work_items.add_items(connection, stage, await make_items())
    size = (await work_items.read_totals(connection, stage)).size
    done = size - sum(part.size for part in await work_items.read_undone_items(connection, stage))
    progress(stage, done, size)

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress(stage, done, size)

    await pool.do(stage, report)


async def _partition_rows(connection: Connection, ledgers: Sequence[tuple[int, int]]) -> list[tuple[int, Work]]:
    """Find who is joined with whom, before anybody is folded, and cut the subjects into ranges."""
    for projection in PROJECTIONS:
        for ledger_id, _ in ledgers:
            if projection.grouped:
                await connection.execute(CLEAR_LINKS, ledger_id, projection.subject)
                await write_all_groups(connection, ledger_id, projection)
    return await partition_subjects(connection, ledgers)


async def _index_items(tables: Iterable[tuple[str, ...]]) -> list[tuple[int, Work]]:
    return [(1, IndexStatements(statements)) for statements in tables]
