"""Replay, supervised: make a generation, fill it, let it follow, compare it with the active one, promote it.

What a killed rebuild has filled is gone on with if the software that comes after it would fill the same; what it would
not is removed. Whoever fills a generation holds a lock on it, which the kernel and PostgreSQL free with the process.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from ledger.database import Connection, connect
from ledger.errors import RebuildRuns
from ledger.registry import all_ledgers
from projections import generations, promotion, store
from projections.digest import digest
from projections.generations import FILLING, LOCK_GENERATIONS, Generation
from projections.rebuild import Filled, Progress, Source, fill, quiet

TAKE_FILLING = "SELECT pg_try_advisory_lock($1, $2)"
LEAVE_FILLING = "SELECT pg_advisory_unlock($1, $2)"
FILLED = """
    SELECT sum(position)::bigint, (SELECT count(*) FROM facts) FROM checkpoints
     WHERE to_regclass('parts') IS NULL HAVING count(*) > 0
"""  # the parts go when all are done
MARK_DROPPING = "UPDATE projections.generations SET state = 'dropping' WHERE generation = $1"


class Report(NamedTuple):
    """What a rebuild did: events read, facts derived, and for each ledger the tables whose rows came out otherwise."""

    generation: int
    events: int
    facts: int
    differing: Mapping[str, Sequence[str]]
    promoted: bool


async def rebuild(
    dsn: str,
    *,
    source: Source = "ledger",
    workers: int | None = None,
    force: bool = True,
    to_promote: bool = True,
    progress: Progress = quiet,
) -> Report:
    """Derive facts and rows of every ledger again, from position 1, compare, and let readers see them."""
    built, filled = await build(dsn, source=source, workers=workers, progress=progress)
    differing = await _compare(dsn, built)
    if to_promote:
        await promotion.promote(dsn, built.generation, force=force)
    return Report(built.generation, filled.events, filled.facts, differing, to_promote)


async def build(
    dsn: str,
    *,
    source: Source = "ledger",
    scope: Mapping[str, Any] = {},
    workers: int | None = None,
    progress: Progress = quiet,
) -> tuple[Generation, Filled]:
    """Fill a new generation, or go on with one that was not finished, and let it follow the ledger from then on.

    Raises RebuildRuns if another is being filled.
    """
    connection = await connect(dsn)
    try:
        async with _begun(connection, source, scope) as made:
            filled = await _filled(dsn, made.schema_name)
            if filled is None:
                filled = await fill(dsn, made.schema_name, source=source, workers=workers, progress=progress)
            await promotion.bring_up(dsn, made)
            await generations.set_ready(connection, made.generation)
        return await generations.find(connection, made.generation), filled
    finally:
        await connection.close()


async def _filled(dsn: str, schema: str) -> Filled | None:
    """Say what a generation was filled from, if a rebuild was killed after it had filled all of it; else None."""
    connection = await connect(dsn, search_path=schema)
    try:
        row = await connection.fetchrow(FILLED)
        return None if row is None else Filled(*row)
    finally:
        await connection.close()


@asynccontextmanager
async def _begun(connection: Connection, source: Source, scope: Mapping[str, Any]) -> AsyncIterator[Generation]:
    """Hold a generation that is to be filled: one that a killed rebuild left, if it fits, else a new one."""
    async with connection.transaction():
        await connection.execute(LOCK_GENERATIONS)
        made = await _left(connection, source, scope)
        if made is None:
            made = await generations.create(connection, basis=source, scope=scope)
            await connection.fetchval(TAKE_FILLING, FILLING, made.generation)
    await promotion.sweep(connection)
    try:
        yield made
    finally:
        await connection.fetchval(LEAVE_FILLING, FILLING, made.generation)


async def _left(connection: Connection, source: Source, scope: Mapping[str, Any]) -> Generation | None:
    """Find what a killed rebuild left, and mark for removal what this one cannot go on with."""
    found = None
    for one in await generations.listed(connection):
        if one.state != "filling":
            continue
        if not await connection.fetchval(TAKE_FILLING, FILLING, one.generation):
            raise RebuildRuns(f"generation {one.generation}")
        fits = (one.basis, one.scope, one.versions, one.shapes) == (
            source, scope, generations.versions(), generations.shapes(),
        )  # fmt: skip
        if fits and found is None:
            found = one
        else:
            await connection.execute(MARK_DROPPING, one.generation)
            await connection.fetchval(LEAVE_FILLING, FILLING, one.generation)
    return found


async def _compare(dsn: str, built: Generation) -> dict[str, list[str]]:
    """Give, for each ledger that differs, the tables that do."""
    active = await connect(dsn)
    fresh = await connect(dsn, search_path=built.schema_name)
    differing = {}
    try:
        for ledger in await all_ledgers(active):
            await promotion.bring_to(active, ledger.ledger_id, await store.checkpoint(fresh, ledger.ledger_id))
            async with active.transaction(isolation="repeatable_read", readonly=True):
                await promotion.bring_to(fresh, ledger.ledger_id, await store.checkpoint(active, ledger.ledger_id))
                ours = await digest(active, ledger.ledger_id, untimed=True)
                theirs = await digest(fresh, ledger.ledger_id, untimed=True)
            tables = [name for name in ours.tables if ours.tables[name] != theirs.tables[name]]
            if tables:
                differing[ledger.name] = tables
    finally:
        await active.close()
        await fresh.close()
    return differing
