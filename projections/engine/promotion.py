"""Which generation readers see: promote another, go back to the one before, drop what nobody wants.

Invariant: a promotion is one transaction that holds the checkpoints of the active generation and ends with the new one
as far, or farther. So no reader goes back in time, and one that still reads the old generation reads it whole: it goes
on being fed, and is dropped only when nobody has it open.
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
from projections.engine.retry import retry_after_upgrade

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
# One retired generation is kept, and none that was made ready before the one that is promoted.
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
    """Let readers see a generation that is ready; the active one is retired, and those before are dropped.

    Raises GenerationUnknown; NotPromoted if it is not ready, or, without `force`, if it was not compared with the
    active one or differs from it otherwise than expected.
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
    """Let readers see again the generation that was active before; the one active now is retired and stays fed.

    Raises NotPromoted if there is none.
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
    """Raise NotPromoted unless a generation may be promoted by its state and its comparison."""
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
    """Make a generation the active one. What it is behind is caught up before anything is held, but for the rest."""
    ledgers = await list_ledgers(connection)
    await catch_up_with_active(dsn, candidate)
    async with connection.transaction():
        await connection.execute(SET_LOCK_TIMEOUT)
        await connection.execute(LOCK_GENERATIONS, GENERATIONS)
        candidate = await generations.find_generation(connection, candidate.generation)
        if candidate.state not in states:
            raise NotPromoted(f"generation {candidate.generation} is {candidate.state} by now")
        was = await generations.active_generation(connection)
        reached = await _hold(connection, was, ledgers)
        async with in_schema(connection, candidate.schema_name):
            for ledger in ledgers:
                await advance_to(connection, ledger.ledger_id, reached[ledger])
        await connection.execute(MARK_SUPERSEDED, candidate.generation)
        await connection.execute(RETIRE)
        await connection.execute(ACTIVATE, candidate.generation)
    await drop_unused(connection)


async def _hold(connection: Connection, generation: Generation, ledgers: Sequence[Ledger]) -> dict[Ledger, int]:
    """Keep a generation where it is until the transaction ends; say where that is."""
    async with in_schema(connection, generation.schema_name):
        return {ledger: await store.hold_checkpoint(connection, ledger.ledger_id) for ledger in ledgers}


async def catch_up_with_active(dsn: str, generation: Generation) -> None:
    """Advance a generation to where the active one is now, if anything keeps it behind."""
    connection = await connect(dsn)
    follower = await connect(dsn, search_path=generations.checked_schema_name(generation.schema_name))
    try:
        for ledger in await list_ledgers(connection):
            reached = await store.read_checkpoint(connection, ledger.ledger_id)
            await advance_to(follower, ledger.ledger_id, reached)
    finally:
        await connection.close()
        await follower.close()


async def advance_to(connection: Connection, ledger_id: int, position: int) -> None:
    """Advance a generation to exactly a position, unless it is farther; what waited for this version waits no more."""
    while (at := await store.read_checkpoint(connection, ledger_id)) < position:
        await advance.advance(connection, ledger_id, min(position - at, advance.EVENTS_PER_BATCH_MAX))
    await follow_policies(connection, ledger_id)
    await retry_after_upgrade(connection, ledger_id)


async def save_comparison(connection: Connection, generation: int, comparison: object) -> None:
    """Note what a comparison with the active generation found."""
    await connection.execute(SAVE_COMPARISON, generation, msgspec.json.encode(comparison).decode())


async def drop_generation(connection: Connection, generation: int) -> bool:
    """Drop a generation that is not active; False if somebody still reads it, so that it goes when they have left.

    Raises GenerationUnknown, NotPromoted for the active one, RebuildRuns for one that is being filled.
    """
    async with connection.transaction():
        await connection.execute(LOCK_GENERATIONS, GENERATIONS)
        found = await generations.find_generation(connection, generation)
        if found.state == "active":
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
    """Remove the generations that are to be dropped and that nobody reads; give those that somebody still does."""
    waiting = []
    for one in await generations.list_generations(connection):
        if one.state == "dropping" and not await _remove(connection, one):
            waiting.append(one.generation)
    return waiting


async def _remove(connection: Connection, generation: Generation) -> bool:
    async with connection.transaction():
        await connection.execute(LOCK_GENERATIONS, GENERATIONS)
        if not await connection.fetchval(LOCK_IF_UNREAD, GENERATION_READERS, generation.generation):
            return False
        try:
            if (await generations.find_generation(connection, generation.generation)).state != "dropping":
                return True
        except GenerationUnknown:
            return True  # another was quicker
        await connection.execute(
            f"DROP SCHEMA IF EXISTS {generations.checked_schema_name(generation.schema_name)} CASCADE"
        )
        await connection.execute(DELETE_GENERATION, generation.generation)
    return True
