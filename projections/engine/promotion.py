"""Promote a generation, roll back to the previous one, and drop generations that are no longer needed.

Invariant: a promotion is one transaction. It holds the checkpoints of the active generation. It ends with the new
generation at the same positions or later. So no reader goes back in time. A reader that still uses the old generation
gets complete answers: that generation keeps following the ledger, and is dropped only when no session has it open.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from ledger.database import Connection, connect
from ledger.errors import GenerationUnknown, NotPromoted, RebuildRuns
from ledger.locks import GENERATION_FILLING, GENERATION_READERS, GENERATIONS
from ledger.store.registry import Ledger, list_ledgers
from projections.engine import advance, generations, store
from projections.engine.conflict_policies import follow_policies
from projections.engine.generations import LOCK_GENERATIONS, Generation, in_schema
from projections.engine.retry import refold_waiting
from projections.reports.publish import publish_views

DROP_WAIT_SECONDS = 10.0
POLL_SECONDS = 0.1
SET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"

RETIRE = """
    UPDATE projections.generations SET state = 'retired', retired_at = clock_timestamp() WHERE state = 'active'
"""
ACTIVATE = """
    UPDATE projections.generations SET state = 'active', promoted_at = clock_timestamp(), retired_at = NULL
     WHERE generation = $1
"""
# Keep one retired generation. Drop generations that became ready before the promoted one.
MARK_SUPERSEDED = """
    UPDATE projections.generations SET state = 'dropping'
     WHERE generation <> $1 AND (state = 'retired' OR (state = 'ready' AND generation < $1))
"""
MARK_DROPPING = "UPDATE projections.generations SET state = 'dropping' WHERE generation = $1"
LOCK_IF_UNREAD = "SELECT pg_try_advisory_xact_lock($1, $2)"
LOCK_IF_NOT_FILLED = "SELECT pg_try_advisory_xact_lock($1, $2)"
DELETE_GENERATION = "DELETE FROM projections.generations WHERE generation = $1"
LATEST_RETIRED = "SELECT max(generation) FROM projections.generations WHERE state = 'retired'"
SAVE_COMPARISON = "UPDATE projections.generations SET comparison = $2 WHERE generation = $1"


async def promote(dsn: str, generation: int, *, force: bool = False) -> Generation:
    """Make a ready generation the active one. The active one is retired, and earlier ones are dropped.

    Raises GenerationUnknown. Raises NotPromoted if the generation is not ready. Without `force`, also raises
    NotPromoted if it was not compared with the active one, or has unexpected differences.
    """
    connection = await connect(dsn)
    try:
        candidate = await generations.find_generation(connection, generation)
        check_promotable(candidate, force=force)
        await _switch(dsn, connection, candidate, ("ready",))
        return await generations.find_generation(connection, generation)
    finally:
        await connection.close()


async def roll_back(dsn: str) -> Generation:
    """Make the retired generation active again. The active one is retired, and keeps following the ledger.

    Raises NotPromoted if no generation is retired.
    """
    connection = await connect(dsn)
    try:
        retired = await connection.fetchval(LATEST_RETIRED)
        if retired is None:
            raise NotPromoted("none is retired, so there is nothing to go back to")
        await _switch(dsn, connection, await generations.find_generation(connection, retired), ("retired",))
        return await generations.find_generation(connection, retired)
    finally:
        await connection.close()


def check_promotable(candidate: Generation, *, force: bool) -> None:
    """Raise NotPromoted unless the state and the comparison of a generation allow its promotion."""
    if candidate.state != "ready":
        raise NotPromoted(f"generation {candidate.generation} is {candidate.state}, not ready")
    if force:
        return
    if candidate.comparison is None:
        raise NotPromoted(f"generation {candidate.generation} was not compared with the active one")
    if candidate.comparison["unexpected"]:
        count = candidate.comparison["unexpected"]
        raise NotPromoted(f"generation {candidate.generation} differs from the active one at {count} unexpected places")


async def _switch(dsn: str, connection: Connection, candidate: Generation, states: Sequence[str]) -> None:
    """Make a generation the active one. Most of its lag is caught up before any lock is held."""
    ledgers = await list_ledgers(connection)
    await catch_up_with_active(dsn, candidate)
    async with connection.transaction():
        await connection.execute(SET_LOCK_TIMEOUT)
        await connection.execute(LOCK_GENERATIONS, GENERATIONS)
        candidate = await generations.find_generation(connection, candidate.generation)
        if candidate.state not in states:
            raise NotPromoted(f"generation {candidate.generation} is {candidate.state} by now")
        active = await generations.active_generation(connection)
        async with in_schema(connection, candidate.schema_name):
            await publish_views(connection, candidate.schema_name)  # before checkpoints are held: it may wait
        positions = await _hold(connection, active, ledgers)
        async with in_schema(connection, candidate.schema_name):
            for ledger in ledgers:
                await advance_to(connection, ledger.ledger_id, positions[ledger])
        await connection.execute(MARK_SUPERSEDED, candidate.generation)
        await connection.execute(RETIRE)
        await connection.execute(ACTIVATE, candidate.generation)
    await drop_unused(connection)


async def _hold(connection: Connection, generation: Generation, ledgers: Sequence[Ledger]) -> dict[Ledger, int]:
    """Hold the checkpoints of a generation until the transaction ends, and return their positions."""
    async with in_schema(connection, generation.schema_name):
        return {ledger: await store.hold_checkpoint(connection, ledger.ledger_id) for ledger in ledgers}


async def catch_up_with_active(dsn: str, generation: Generation) -> None:
    """Advance a generation to the current positions of the active one."""
    connection = await connect(dsn)
    follower = await connect(dsn, search_path=generations.checked_schema_name(generation.schema_name))
    try:
        for ledger in await list_ledgers(connection):
            position = await store.read_checkpoint(connection, ledger.ledger_id)
            await advance_to(follower, ledger.ledger_id, position)
    finally:
        await connection.close()
        await follower.close()


async def advance_to(connection: Connection, ledger_id: int, position: int) -> None:
    """Advance a generation to exactly a position, unless it is farther. Retry subjects that waited for this version."""
    while (at := await store.read_checkpoint(connection, ledger_id)) < position:
        await advance.advance(connection, ledger_id, min(position - at, advance.EVENTS_PER_BATCH_MAX))
    await follow_changes(connection, ledger_id)


async def follow_changes(connection: Connection, ledger_id: int, tries_max: int | None = None) -> bool:
    """Apply changes of rows that no batch writes: changed policies, and parked subjects that may be folded now.

    Return True if more subjects may wait, because about `tries_max` were folded. Raises RebuildDue.
    """
    await follow_policies(connection, ledger_id)
    return await refold_waiting(connection, ledger_id, tries_max)


async def save_comparison(connection: Connection, generation: int, comparison: object) -> None:
    """Store the result of a comparison with the active generation."""
    await connection.execute(SAVE_COMPARISON, generation, msgspec.json.encode(comparison).decode())


async def drop_generation(connection: Connection, generation: int) -> bool:
    """Drop a generation that is not active. Return False if a session still reads it; it is dropped later then.

    Raises GenerationUnknown. Raises NotPromoted for the active generation, RebuildRuns if a rebuild fills it.
    """
    async with connection.transaction():
        await connection.execute(LOCK_GENERATIONS, GENERATIONS)
        candidate = await generations.find_generation(connection, generation)
        if candidate.state == "active":
            raise NotPromoted(f"generation {generation} is active: promote another, or roll back, first")
        if not await connection.fetchval(LOCK_IF_NOT_FILLED, GENERATION_FILLING, generation):
            raise RebuildRuns(generation)
        await connection.execute(MARK_DROPPING, generation)
    deadline = time.monotonic() + DROP_WAIT_SECONDS
    while generation in await drop_unused(connection):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


async def drop_unused(connection: Connection) -> list[int]:
    """Drop the generations in state `dropping` that no session reads. Return the numbers of the others."""
    in_use = []
    for generation in await generations.list_generations(connection):
        if generation.state == "dropping" and not await _remove(connection, generation):
            in_use.append(generation.generation)
    return in_use


async def _remove(connection: Connection, generation: Generation) -> bool:
    async with connection.transaction():
        await connection.execute(LOCK_GENERATIONS, GENERATIONS)
        if not await connection.fetchval(LOCK_IF_UNREAD, GENERATION_READERS, generation.generation):
            return False
        try:
            if (await generations.find_generation(connection, generation.generation)).state != "dropping":
                return True
        except GenerationUnknown:
            return True  # another process has dropped it
        await connection.execute(
            f"DROP SCHEMA IF EXISTS {generations.checked_schema_name(generation.schema_name)} CASCADE"
        )
        await connection.execute(DELETE_GENERATION, generation.generation)
    return True
