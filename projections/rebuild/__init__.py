"""Rebuild: create a generation, fill it, let it follow the ledger, compare it with the active one, and promote it.

A rebuild that was killed is resumed if this software would fill the generation with the same rows. Otherwise its
generation is dropped. The process that fills a generation holds an advisory lock on it. PostgreSQL releases the lock
when the process ends.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from ledger.database import Connection, connect
from ledger.errors import NotPromoted, RebuildDue, RebuildRuns
from ledger.locks import GENERATION_FILLING, GENERATIONS
from projections.engine import generations, promotion
from projections.engine.generations import LOCK_GENERATIONS, Generation, is_incompatible
from projections.rebuild.compare_rows import compare_generations
from projections.rebuild.comparison import Comparison
from projections.rebuild.copy_unselected import copy_unselected
from projections.rebuild.pipeline import (
    HAS_WORK_ITEMS,
    FillResult,
    MakeWorkers,
    Progress,
    Source,
    can_resume,
    fill_generation,
    no_progress,
)
from projections.rebuild.scope import EVERYTHING, RebuildScope

TAKE_FILLING_LOCK = "SELECT pg_try_advisory_lock($1, $2)"
RELEASE_FILLING_LOCK = "SELECT pg_advisory_unlock($1, $2)"
COUNT_EVENTS = "SELECT sum(position)::bigint FROM checkpoints"
COUNT_FACTS = "SELECT count(*) FROM facts"
MARK_DROPPING = "UPDATE projections.generations SET state = 'dropping' WHERE generation = $1"


OnGenerationKnown = Callable[[int], None]  # called with the number of the generation


def ignore_generation(_generation: int) -> None:
    """Do nothing with the number of the generation."""


class RebuildReport(NamedTuple):
    """Result of a rebuild: events read, facts derived, and the tables whose rows differ, by ledger.

    `promoted` is True if readers now see the rows; otherwise `refused` is the reason, or None if no promotion was
    asked.
    """

    generation: int
    events: int
    facts: int
    differing: Mapping[str, Sequence[str]]
    promoted: bool
    comparison: Comparison | None = None
    refused: str | None = None


async def rebuild(
    dsn: str,
    *,
    source: Source = "ledger",
    scope: RebuildScope = EVERYTHING,
    workers: int | None = None,
    cluster: MakeWorkers | None = None,
    expect: Sequence[str] = (),
    force: bool = False,
    to_promote: bool = True,
    progress: Progress = no_progress,
    on_generation_known: OnGenerationKnown = ignore_generation,
) -> RebuildReport:
    """Rebuild the rows, and with `source="ledger"` the facts too. Compare them with the active generation, and promote
    them unless there are unexpected differences. `force` promotes them in any case. `workers` and `cluster` are those
    of `fill_generation`. Raises RebuildRuns, WorkersLost.
    """
    generation, fill_result = await build_generation(
        dsn,
        source=source,
        scope=scope,
        workers=workers,
        cluster=cluster,
        progress=progress,
        on_generation_known=on_generation_known,
    )
    comparison = await compare_with_active(dsn, generation, expect)
    report = RebuildReport(
        generation.generation, fill_result.events, fill_result.facts, comparison.differing, False, comparison
    )
    if not to_promote:
        return report
    try:
        await promotion.promote(dsn, generation.generation, force=force)
    except NotPromoted as error:
        return report._replace(refused=str(error))
    return report._replace(promoted=True)


async def compare_with_active(dsn: str, generation: Generation, expect: Sequence[str] = ()) -> Comparison:
    """Compare a generation with the active one, and store the result with the generation."""
    connection = await connect(dsn)
    try:
        comparison = await compare_generations(dsn, await generations.active_generation(connection), generation, expect)
        await promotion.save_comparison(connection, generation.generation, comparison.summary())
    finally:
        await connection.close()
    return comparison


async def build_generation(
    dsn: str,
    *,
    source: Source = "ledger",
    scope: RebuildScope = EVERYTHING,
    workers: int | None = None,
    cluster: MakeWorkers | None = None,
    progress: Progress = no_progress,
    on_generation_known: OnGenerationKnown = ignore_generation,
) -> tuple[Generation, FillResult]:
    """Fill a new generation, or resume one that was not finished. It follows the ledger from then on.

    Raises RebuildRuns if another generation is being filled. Raises RebuildDue if a part would be copied from an active
    generation whose shared tables another version made: then everything must be rebuilt from the ledger.
    """
    connection = await connect(dsn)
    try:
        if (source == "facts" or scope != EVERYTHING) and is_incompatible(
            (await generations.active_generation(connection)).shapes
        ):
            raise RebuildDue
        async with _hold_generation(connection, source, scope.document()) as generation:
            on_generation_known(generation.generation)
            fill_result = await _completed_fill(dsn, generation.schema_name)
            if fill_result is None:
                fill_result = await fill_generation(
                    dsn, generation.schema_name, source=source, workers=workers, cluster=cluster, progress=progress
                )
            await copy_unselected(dsn, generation, scope)
            await promotion.catch_up_with_active(dsn, generation)
            await generations.set_ready(connection, generation.generation)
        return await generations.find_generation(connection, generation.generation), fill_result
    finally:
        await connection.close()


async def _completed_fill(dsn: str, schema: str) -> FillResult | None:
    """Return the result of a complete fill, if a rebuild was killed after it. None if the fill is not complete."""
    connection = await connect(dsn, search_path=schema)
    try:
        events = await connection.fetchval(COUNT_EVENTS)
        if events is None or await connection.fetchval(HAS_WORK_ITEMS):  # they are dropped when all are done
            return None
        return FillResult(events, await connection.fetchval(COUNT_FACTS))
    finally:
        await connection.close()


@asynccontextmanager
async def _hold_generation(
    connection: Connection, source: Source, scope: Mapping[str, Any]
) -> AsyncIterator[Generation]:
    """Hold the lock on a generation to fill: the one of a killed rebuild if it can be resumed, otherwise a new one."""
    async with connection.transaction():
        await connection.execute(LOCK_GENERATIONS, GENERATIONS)
        generation = await _find_resumable(connection, source, scope)
        if generation is None:
            generation = await generations.create_generation(connection, basis=source, scope=scope)
            await connection.fetchval(TAKE_FILLING_LOCK, GENERATION_FILLING, generation.generation)
    await promotion.drop_unused(connection)
    try:
        yield generation
    finally:
        await connection.fetchval(RELEASE_FILLING_LOCK, GENERATION_FILLING, generation.generation)


async def _find_resumable(connection: Connection, source: Source, scope: Mapping[str, Any]) -> Generation | None:
    """Find the generation of a killed rebuild. Mark those that this rebuild cannot resume for removal."""
    resumable = None
    for generation in await generations.list_generations(connection):
        if generation.state != "filling" and (generation.state != "ready" or generation.comparison is not None):
            continue
        if not await connection.fetchval(TAKE_FILLING_LOCK, GENERATION_FILLING, generation.generation):
            raise RebuildRuns(f"generation {generation.generation}")
        is_resumable = (generation.basis, generation.scope, generation.versions, generation.shapes) == (
            source, scope, generations.projection_versions(), generations.table_shapes(),
        )  # fmt: skip
        async with generations.in_schema(connection, generation.schema_name):
            is_resumable = is_resumable and await can_resume(connection)
        if is_resumable and resumable is None:
            resumable = generation
        else:
            await connection.execute(MARK_DROPPING, generation.generation)
            await connection.fetchval(RELEASE_FILLING_LOCK, GENERATION_FILLING, generation.generation)
    return resumable
