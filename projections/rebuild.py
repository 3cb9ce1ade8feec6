"""Replay: fill a new generation from position 1, compare it with the live one, swap them.

Theory. Facts are derived from the events in order of position and loaded without an index; the index then puts them in
the order of the fold, so that one ordered read gives subject after subject, each folded in memory and written with
COPY. Memory does not grow with the history. Nothing of this touches the live generation, which readers go on reading
and the projector goes on feeding.

Invariant: the swap is one transaction that holds the live checkpoints, taken when the new generation is at exactly the
same positions. So readers see one whole generation before and another whole one after.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

from ledger.database import Connection, connect
from ledger.facts import Told
from ledger.identify import KEY_BYTES
from ledger.interpret import Event, Meaning, interpret
from ledger.read import conflicting_keys, events_between, tail, twins
from ledger.registry import Ledger, all_ledgers
from projections import advance, generations, store
from projections.catalogue import PROJECTIONS
from projections.conflicts import policies_of, winners
from projections.digest import digest
from projections.joined import join_all
from projections.programmes import read_terms
from projections.projection import Projection
from projections.terms import NO_TERMS

SUBJECTS_PER_COPY = 2_000
FACTS_PER_FETCH = 5_000

ORDERED_FACTS = """
    SELECT subject, kind, body, occurred_at, tag, ordinal, position, untimed FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2
     ORDER BY ledger_id, subject_kind, subject, occurred_at, rank, tag, ordinal
"""
SET_CHECKPOINT = """
    INSERT INTO checkpoints (ledger_id, position) VALUES ($1, $2)
    ON CONFLICT (ledger_id) DO UPDATE SET position = excluded.position
"""
HOLD_CHECKPOINTS = "SELECT ledger_id, position FROM live.checkpoints ORDER BY ledger_id FOR UPDATE"
LIVE_GENERATION = "SELECT generation FROM projections.generations WHERE schema_name = 'live'"
RENAME = "UPDATE projections.generations SET schema_name = $2 WHERE schema_name = $1"
PROMOTED = "UPDATE projections.generations SET promoted_at = now() WHERE schema_name = 'live'"
FORGET = "DELETE FROM projections.generations WHERE schema_name = $1"

Progress = Callable[[str, int, int], None]  # (stage, done, of)


class Report(NamedTuple):
    """What a rebuild did: events read, facts derived, and for each ledger the tables whose rows came out otherwise."""

    events: int
    facts: int
    differing: dict[str, list[str]]


def quiet(_stage: str, _done: int, _of: int) -> None:
    """Report no progress."""


async def rebuild(dsn: str, *, progress: Progress = quiet) -> Report:
    """Derive facts and rows of every ledger again, from position 1, and put them in the place of the live ones."""
    reader = await connect(dsn)
    writer = await connect(dsn)
    try:
        async with writer.transaction():
            schema = await generations.create(writer)
        for connection in (reader, writer):
            await connection.execute(f"SET search_path = {generations.checked(schema)}")
        try:
            return await _fill_and_swap(dsn, reader, writer, schema, progress)
        except BaseException:
            await _drop(writer, schema)
            raise
    finally:
        await reader.close()
        await writer.close()


async def _fill_and_swap(dsn: str, reader: Connection, writer: Connection, schema: str, progress: Progress) -> Report:
    ledgers = await all_ledgers(reader)
    events = facts = 0
    for ledger in ledgers:
        last = await tail(reader, ledger.ledger_id)
        facts += await derive(reader, writer, ledger, last, progress)
        events += last
    await generations.index_facts(writer, schema)
    for ledger in ledgers:
        for projection in PROJECTIONS:
            await fold_all(reader, writer, ledger, projection, progress)
    await generations.index_rows(writer, schema)
    live = await connect(dsn)
    try:
        differing = await _compare(live, writer, ledgers)
        await _swap(live, writer, schema)
    finally:
        await live.close()
    return Report(events, facts, differing)


async def derive(reader: Connection, writer: Connection, ledger: Ledger, last: int, progress: Progress) -> int:
    """Derive the facts of a ledger up to a position; give how many."""
    contested = await conflicting_keys(reader, ledger.ledger_id, last)
    count = done = 0
    async for events in events_between(reader, ledger.ledger_id, 0, last):
        plain = [event for event in events if event.event_key[:KEY_BYTES] not in contested]
        count += await _write(writer, ledger.ledger_id, plain)
        done += len(events)
        progress(f"{ledger.name}: events to facts", done, last)
    policies = await policies_of(reader, ledger.ledger_id) if contested else {}
    for key in sorted(contested):
        group = [event for event in await twins(reader, ledger.ledger_id, key) if event.position <= last]
        count += await _write(writer, ledger.ledger_id, group, winners(group, policies))
    await writer.execute(SET_CHECKPOINT, ledger.ledger_id, last)
    return count


async def _write(
    writer: Connection, ledger_id: int, events: Sequence[Event], folded: Sequence[Event] | None = None
) -> int:
    """Write what some events mean; of those in conflict only the `folded` give facts."""
    read: list[tuple[Event, Meaning]] = [(event, interpret(event)) for event in events]
    chosen = {event.position for event in (events if folded is None else folded)}
    told = [one for event, meaning in read if event.position in chosen for one in meaning.told]
    async with writer.transaction():
        await store.write_facts(writer, ledger_id, told)
        await store.write_orgs(writer, ledger_id, ((event.source, event.org) for event in events))
        await advance.write_unread(writer, ledger_id, read)
    return len(told)


async def fold_all(
    reader: Connection, writer: Connection, ledger: Ledger, projection: Projection, progress: Progress
) -> None:
    """Fold every subject of one projection and write its rows, which the generation does not hold yet."""
    groups = await join_all(writer, ledger.ledger_id, projection)
    terms = await read_terms(writer, ledger.ledger_id) if projection.under is not None else NO_TERMS
    joined = groups.root_of()
    changes: list[store.Change] = []
    done = 0
    async for subject, told in _subjects(reader, ledger.ledger_id, projection.subject):
        if subject in joined:
            continue
        changes.append(advance.anew(projection, subject, told, {}, terms))
        if len(changes) == SUBJECTS_PER_COPY:
            await _write_rows(writer, ledger.ledger_id, projection, changes)
            done += len(changes)
            progress(f"{ledger.name}: {projection.name}", done, 0)
            changes.clear()
    for root, members in groups.members.items():
        told = await advance.read_group(reader, ledger.ledger_id, projection, members)
        changes.append(advance.anew(projection, root, told, {}, terms))
    await _write_rows(writer, ledger.ledger_id, projection, changes)


async def _subjects(reader: Connection, ledger_id: int, subject_kind: str) -> AsyncIterator[tuple[str, list[Told]]]:
    """Read all facts of one kind of subject in the order of the fold, a subject at a time."""
    subject, told = None, list[Told]()
    async with reader.transaction():
        cursor = await reader.cursor(ORDERED_FACTS, ledger_id, subject_kind)
        while rows := await cursor.fetch(FACTS_PER_FETCH):
            for row in rows:
                if row[0] != subject:
                    if subject is not None:
                        yield subject, told
                    subject, told = row[0], []
                told.append(store.told_of(row))
    if subject is not None:
        yield subject, told


async def _write_rows(
    writer: Connection, ledger_id: int, projection: Projection, changes: Sequence[store.Change]
) -> None:
    async with writer.transaction():
        await store.copy_subjects(writer, ledger_id, projection, changes)
        for table in projection.tables:
            rows = [(change.subject, row) for change in changes for row in change.after.get(table.name, ())]
            await store.copy_rows(writer, ledger_id, table, rows)


async def _compare(live: Connection, fresh: Connection, ledgers: Sequence[Ledger]) -> dict[str, list[str]]:
    """Bring the new generation and a snapshot of the live one to the same position, and compare all rows.

    Gives, for each ledger that differs, the tables that do.
    """
    differing = {}
    for ledger in ledgers:
        reached = await store.checkpoint(fresh, ledger.ledger_id)
        while await store.checkpoint(live, ledger.ledger_id) < reached:
            await advance.advance(live, ledger.ledger_id)
        async with live.transaction(isolation="repeatable_read", readonly=True):
            await _bring_to(fresh, ledger.ledger_id, await store.checkpoint(live, ledger.ledger_id))
            ours = await digest(live, ledger.ledger_id, untimed=True)
            theirs = await digest(fresh, ledger.ledger_id, untimed=True)
        tables = [name for name in ours.tables if ours.tables[name] != theirs.tables[name]]
        if tables:
            differing[ledger.name] = tables
    return differing


async def _bring_to(connection: Connection, ledger_id: int, position: int) -> None:
    """Advance a generation to exactly a position."""
    while (at := await store.checkpoint(connection, ledger_id)) < position:
        await advance.advance(connection, ledger_id, min(position - at, advance.EVENTS_PER_BATCH_MAX))


async def _swap(live: Connection, fresh: Connection, schema: str) -> None:
    """Hold the live checkpoints, bring the new generation to them, swap the names, drop what was live."""
    async with live.transaction():
        await live.execute(generations.LOCK_GENERATIONS)
        for row in await live.fetch(HOLD_CHECKPOINTS):
            await _bring_to(fresh, row["ledger_id"], row["position"])
        old = generations.checked(f"generation_{await live.fetchval(LIVE_GENERATION)}")
        await live.execute(f"ALTER SCHEMA live RENAME TO {old}")
        await live.execute(f"ALTER SCHEMA {generations.checked(schema)} RENAME TO live")
        await live.execute(RENAME, "live", old)
        await live.execute(RENAME, schema, "live")
        await live.execute(PROMOTED)
    await _drop(live, old)


async def _drop(connection: Connection, schema: str) -> None:
    """Drop a generation that is not live."""
    async with connection.transaction():
        await connection.execute(f"DROP SCHEMA IF EXISTS {generations.checked(schema)} CASCADE")
        await connection.execute(FORGET, schema)
