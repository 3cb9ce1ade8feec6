"""Fill a new generation from the ledger, or from the facts of the active generation, with several worker processes.

How it works:

1. Facts are written first. They are derived from ranges of events, or copied from the active generation.
2. The primary key of the facts gives the order of the fold. One ordered read therefore returns subject after subject.
3. Each subject is folded in memory, and its rows are written with COPY, range by range.
4. Indexes are created last.

Each range is a work item (work_items.py), which any free worker takes (workers.py). Memory grows with the number of
workers only, not with the history. The active generation is not touched: readers use it, and the projector advances it
meanwhile.

Invariant: the rows of a work item exist if and only if the item is marked done. So a rebuild that was killed resumes,
and ends in the same rows. When readers see them is decided in `projections/rebuild/__init__.py` and
`projections/engine/promotion.py`.
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
from projections.engine.shared_tables import INDEX_FACTS
from projections.rebuild import work_items
from projections.rebuild.copy_facts import copy_facts, copy_metadata
from projections.rebuild.derive_facts import derive_facts
from projections.rebuild.fold_rows import fold_range
from projections.rebuild.indexes import make_indexes
from projections.rebuild.local_workers import local_workers
from projections.rebuild.partition import partition_events, partition_subjects
from projections.rebuild.rejected_rows import CREATE_REJECTED, resolve_rejected
from projections.rebuild.work_items import IndexStatements, Task, Work
from projections.rebuild.workers import Workers, process_stage
from projections.registry import PROJECTIONS

SINGLE_PROCESS_EVENTS_MAX = 20_000  # so few are done before another process has started

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

CREATE_FILLED_BY = "CREATE TABLE filled_by (software text NOT NULL, fill_id uuid NOT NULL DEFAULT gen_random_uuid())"
WRITE_SOFTWARE = "INSERT INTO filled_by VALUES ($1)"
READ_SOFTWARE = "SELECT software FROM filled_by"
READ_FILL_ID = "SELECT fill_id::text FROM filled_by"
HAS_WORK_ITEMS = "SELECT to_regclass('parts') IS NOT NULL"
SET_CHECKPOINT = "INSERT INTO checkpoints (ledger_id, position) VALUES ($1, $2) ON CONFLICT (ledger_id) DO NOTHING"
READ_CHECKPOINTS = "SELECT ledger_id, position FROM checkpoints ORDER BY ledger_id"
CLEAR_LINKS = "DELETE FROM links WHERE ledger_id = $1 AND subject_kind = $2"
DROP_WORK_TABLES = "DROP TABLE parts, refused, filled_by"

Source = Literal["ledger", "facts"]
Progress = Callable[[str, int, int], None]  # (stage, done, total)
MakeWorkers = Callable[[str, str], Workers]  # (schema, id of the fill)


class FillResult(NamedTuple):
    """The number of events that a filled generation reflects, and of their facts."""

    events: int
    facts: int


def no_progress(_stage: str, _done: int, _of: int) -> None:
    """Report no progress."""


async def fill_generation(
    dsn: str,
    schema: str,
    *,
    source: Source = "ledger",
    workers: int | None = None,
    cluster: MakeWorkers | None = None,
    progress: Progress = no_progress,
) -> FillResult:
    """Fill a generation that was just created, or resume it after a crash, and create its indexes.

    Its checkpoints are the ends of the ledgers at the start. With `source="facts"` they are the active generation's
    checkpoints at the start. `workers` is the number of processes; None means one for each processor. With 1, or with
    little to do, this process works alone. `cluster` makes workers on other hosts instead. Raises WorkersLost.
    """
    connection = await connect(dsn, search_path=schema)
    try:
        size = await _prepare(connection, source)
        if cluster is not None:
            chosen = cluster(schema, await connection.fetchval(READ_FILL_ID))
        else:
            count = 1 if size <= SINGLE_PROCESS_EVENTS_MAX else workers or os.cpu_count() or 1
            chosen = local_workers(dsn, schema, TASKS, count)
        try:
            facts = await _run_stages(connection, chosen, source, progress)
        finally:
            await chosen.stop()
        await resolve_rejected(connection)
        events = sum(row["position"] for row in await connection.fetch(READ_CHECKPOINTS))
        await connection.execute(DROP_WORK_TABLES)
    finally:
        await connection.close()
    return FillResult(events, facts)


async def can_resume(connection: Connection) -> bool:
    """Return True if this software may continue to fill the connection's generation.

    That is so if no software, or exactly this one, has begun. Any change of the code means starting again.
    """
    return not await connection.fetchval(HAS_WORK_ITEMS) or await connection.fetchval(READ_SOFTWARE) == software_hash()


@cache
def software_hash() -> str:
    """Return a hash of all code that facts and rows come from."""
    sha256 = hashlib.sha256()
    for package in (ledger, projections):
        for file in sorted(Path(package.__path__[0]).rglob("*.py")):
            sha256.update(file.read_bytes())
    return sha256.hexdigest()


async def _run_stages(connection: Connection, workers: Workers, source: Source, progress: Progress) -> int:
    """Run all stages in order. Return the number of facts."""
    ledgers = [(row["ledger_id"], row["position"]) for row in await connection.fetch(READ_CHECKPOINTS)]
    if source == "ledger":
        facts = FACTS_FROM_EVENTS
        await _run_stage(connection, workers, facts, progress, lambda: partition_events(connection, ledgers))
    else:
        facts = FACTS_COPIED
        schema_of_facts = await generations.active_schema(connection)
        await _run_stage(
            connection, workers, facts, progress, lambda: partition_subjects(connection, ledgers, schema_of_facts)
        )
    count = (await work_items.read_totals(connection, facts)).counted
    await _run_stage(connection, workers, FACTS_KEY, progress, lambda: _index_items([INDEX_FACTS]))
    await _run_stage(connection, workers, ROWS, progress, lambda: _partition_rows(connection, ledgers))
    await _run_stage(connection, workers, INDEXES, progress, lambda: _index_items(generations.index_statements()))
    return count


async def _prepare(connection: Connection, source: Source) -> int:
    """Set the checkpoints of the generation, unless that was done before. Return the approximate number of events."""
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
    workers: Workers,
    stage: str,
    progress: Progress,
    make_items: Callable[[], Awaitable[list[tuple[int, Work]]]],
) -> None:
    """Partition a stage into work items, unless that was done before, and process the undone ones."""
    if not (await work_items.read_totals(connection, stage)).parts:
        async with connection.transaction():
            await work_items.add_items(connection, stage, await make_items())
    await process_with_progress(connection, workers, stage, progress)


async def process_with_progress(connection: Connection, workers: Workers, stage: str, progress: Progress) -> int:
    """Process the undone work items of a stage. Return the number of items that these workers have processed."""
    size = (await work_items.read_totals(connection, stage)).size
    done = size - sum(part.size for part in await work_items.read_undone_items(connection, stage))
    progress(stage, done, size)

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress(stage, done, size)

    return await process_stage(connection, workers, stage, report)


async def _partition_rows(connection: Connection, ledgers: Sequence[tuple[int, int]]) -> list[tuple[int, Work]]:
    """Write the groups of subjects before any subject is folded, then partition the subjects."""
    for projection in PROJECTIONS:
        for ledger_id, _ in ledgers:
            if projection.grouped:
                await connection.execute(CLEAR_LINKS, ledger_id, projection.subject)
                await write_all_groups(connection, ledger_id, projection)
    return await partition_subjects(connection, ledgers)


async def _index_items(tables: Iterable[tuple[str, ...]]) -> list[tuple[int, Work]]:
    return [(1, IndexStatements(statements)) for statements in tables]
