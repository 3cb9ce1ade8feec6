"""Live: the next events become facts, and the facts rows, in one transaction.

Theory. The facts of a subject have a total order that does not mention arrival (projection.Key). A subject whose new
facts all come after its last folded one is folded forward from where it stands; any other is folded again from before
the first of them, alone (subjects.py). Either way its rows are a function of the set of its facts, so any arrival
order, duplicates, batch cuts and crashes end in the same rows (law 5).

Invariant: a generation's rows and facts always reflect exactly the events up to its checkpoint. The checkpoint
moves by compare-and-swap at the start of the transaction that writes them; a second projector waits for that row and
then finds that it lost, having written nothing. A subject with a fact that cannot be folded is parked: its rows reflect
the facts before it, those after it wait, all other subjects go on.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence, Set
from typing import NamedTuple

from ledger.database import Connection
from ledger.facts import RecordedFact
from ledger.intake.interpret import Event, Interpretation, interpret_all
from ledger.store.read import events_after
from projections.engine import parked, snapshots, store
from projections.engine.cache import SubjectCache
from projections.engine.conflicts import Resolution, resolve_conflicts
from projections.engine.fold_subjects import fold_subjects
from projections.engine.generations import outdated_projections
from projections.engine.groups import update_groups
from projections.engine.retracted_facts import record_retracted
from projections.programmes import governed_holders
from projections.registry import BY_SUBJECT

EVENTS_PER_BATCH_MIN = 500  # where the ledger's end is near; twice as many after each full batch, at most
EVENTS_PER_BATCH_MAX = 8_000
IDLE_SECONDS_MAX = 30.0
EVENTS_PER_YIELD = 16  # interpreted at a stretch: about a millisecond, in which nothing else on the event loop runs
ROW_REJECTED = store.ROW_REJECTED
REJECTED_REASON = "the database cannot hold what it means"
UNREAD_COLUMNS = ("ledger_id", "position", "source", "kind", "unread", "reason")


SET_IDLE_TIMEOUT = "SELECT set_config('idle_in_transaction_session_timeout', $1, false)"


class Batch(NamedTuple):
    """Events read after a checkpoint, and what they mean."""

    after: int
    last: int
    events: Sequence[Event]
    meanings: Sequence[Interpretation]
    outdated: frozenset[str] = frozenset()  # projections whose rows another version made: they wait for a rebuild


async def set_idle_in_transaction_timeout(connection: Connection, seconds: float = IDLE_SECONDS_MAX) -> None:
    """Let PostgreSQL undo a batch in the midst of which this process is stopped for so long, so that no other projector
    waits for it longer. When it wakes it has written nothing."""
    await connection.execute(SET_IDLE_TIMEOUT, f"{int(seconds * 1000)}ms")


async def advance(
    connection: Connection, ledger_id: int, limit: int = EVENTS_PER_BATCH_MAX, memory: SubjectCache | None = None
) -> int:
    """Take the next batch into the generation of the connection's search_path; give the number of events taken.

    `memory` is what the connection has folded before. 0 means that there was nothing to do, or that another projector
    was quicker. Raises RebuildDue.
    """
    unfit = await outdated_projections(connection)
    after = await store.read_checkpoint(connection, ledger_id)
    batch = await _interpret_batch(after, await events_after(connection, ledger_id, after, limit), unfit)
    return len(batch.events) if batch.events and await apply_batch(connection, ledger_id, batch, memory) else 0


async def advance_until_current(
    connection: Connection, ledger_id: int, memory: SubjectCache | None = None
) -> AsyncGenerator[int, None]:
    """Take batch after batch, and give the position reached after each; end where the ledger does, or where another
    projector was quicker. What comes next is read before a batch is written, and interpreted while PostgreSQL works.
    `memory` is what the connection has folded before. Raises RebuildDue."""
    memory = SubjectCache() if memory is None else memory
    unfit = await outdated_projections(connection)
    limit = EVENTS_PER_BATCH_MIN
    after = await store.read_checkpoint(connection, ledger_id)
    batch = await _interpret_batch(after, await events_after(connection, ledger_id, after, limit), unfit)
    while batch.events:
        limit = min(2 * limit, EVENTS_PER_BATCH_MAX)
        ahead = await events_after(connection, ledger_id, batch.last, limit)
        written, following = await asyncio.gather(
            apply_batch(connection, ledger_id, batch, memory), _interpret_batch(batch.last, ahead, unfit)
        )
        if not written:
            return
        yield batch.last
        batch = following


async def _interpret_batch(after: int, events: Sequence[Event], unfit: frozenset[str] = frozenset()) -> Batch:
    """Interpret the events after a position. Others on the event loop get their turn in between."""
    meanings = []
    for meaning in interpret_all(events):
        meanings.append(meaning)
        if len(meanings) % EVENTS_PER_YIELD == 0:
            await asyncio.sleep(0)
    return Batch(after, events[-1].position if events else after, events, meanings, unfit)


async def apply_batch(connection: Connection, ledger_id: int, batch: Batch, memory: SubjectCache | None = None) -> bool:
    """Write what a batch means; False, with nothing written, if the checkpoint is no longer where it begins.

    An event whose meaning PostgreSQL cannot hold must not stop those behind it: the batch is halved until it stands
    alone, and it is noted as unrecognised.
    """
    memory = SubjectCache() if memory is None else memory
    try:
        return await _write_batch(connection, ledger_id, batch, memory)
    except ROW_REJECTED as error:
        if len(batch.events) == 1:
            return await _write_batch(
                connection, ledger_id, batch._replace(meanings=[rejected_interpretation(error)]), memory
            )
    middle = len(batch.events) // 2
    cut = batch.events[middle - 1].position
    first = Batch(batch.after, cut, batch.events[:middle], batch.meanings[:middle], batch.outdated)
    second = Batch(cut, batch.last, batch.events[middle:], batch.meanings[middle:], batch.outdated)
    return await apply_batch(connection, ledger_id, first, memory) and await apply_batch(
        connection, ledger_id, second, memory
    )


def rejected_interpretation(error: Exception) -> Interpretation:
    """Say of an event that PostgreSQL refuses what it means."""
    return Interpretation((), "unrecognised", f"{REJECTED_REASON}: {type(error).__name__}")


async def _write_batch(connection: Connection, ledger_id: int, batch: Batch, memory: SubjectCache) -> bool:
    async with connection.transaction():
        turn = await store.move_checkpoint(connection, ledger_id, batch.after, batch.last)
        if turn is None:
            return False
        memory.begin(ledger_id, turn.before)
        await snapshots.write_snapshots(connection, ledger_id, memory.overflow(ledger_id))
        settled = await resolve_conflicts(connection, ledger_id, batch.events)
        told = [
            one
            for event, meaning in zip(batch.events, batch.meanings, strict=True)
            if event.position not in settled.losers
            for one in meaning.facts
        ]
        await store.delete_facts(connection, ledger_id, settled.withdrawn)
        for twins in settled.twins:
            await record_retracted(connection, ledger_id, twins, settled.policies, settled.first)
        await store.write_facts(connection, ledger_id, told)
        await store.write_orgs(connection, ledger_id, ((event.source, event.org) for event in batch.events))
        await write_unread(connection, ledger_id, zip(batch.events, batch.meanings, strict=True))
        await _fold_touched(connection, ledger_id, told, settled, batch.outdated, memory)
    memory.commit(ledger_id, turn.now)
    return True


async def write_unread(connection: Connection, ledger_id: int, read: Iterable[tuple[Event, Interpretation]]) -> None:
    """Note the events that gave no facts because they could not be read or recognised."""
    records = [
        (ledger_id, event.position, event.source, event.kind, meaning.status, meaning.reason)
        for event, meaning in read
        if meaning.status
    ]
    if records:
        await connection.copy_records_to_table("unread", records=records, columns=UNREAD_COLUMNS)


async def _fold_touched(
    connection: Connection,
    ledger_id: int,
    told: Sequence[RecordedFact],
    settled: Resolution,
    outdated: Set[str],
    memory: SubjectCache,
) -> None:
    """Fold each touched subject, one kind of subject after the other."""
    new: dict[str, list[RecordedFact]] = defaultdict(list)
    withdrawn: dict[str, list[RecordedFact]] = defaultdict(list)
    for one in told:
        new[one.fact.subject_kind].append(one)
    for one in settled.withdrawn:
        withdrawn[one.fact.subject_kind].append(one)
    for subject_kind in sorted(new.keys() | withdrawn.keys()):
        projection = BY_SUBJECT[subject_kind]
        gone = withdrawn[subject_kind]
        if projection.name in outdated:
            await parked.park_for_rebuild(connection, ledger_id, projection, [*new[subject_kind], *gone])
            continue
        again = {one.fact.subject for one in gone}
        again |= await update_groups(connection, ledger_id, projection, [*new[subject_kind], *gone])
        await fold_subjects(connection, ledger_id, projection, new[subject_kind], again, memory)
    await _fold_governed(connection, ledger_id, [*new["programme"], *withdrawn["programme"]], memory)


async def _fold_governed(
    connection: Connection, ledger_id: int, told: Sequence[RecordedFact], memory: SubjectCache
) -> None:
    """Fold again the accounts of programmes whose terms changed."""
    async for subjects in governed_holders(connection, ledger_id, told):
        await fold_subjects(connection, ledger_id, BY_SUBJECT["account"], (), frozenset(subjects), memory)


async def refold_from_facts(connection: Connection, ledger_id: int, touched: Sequence[RecordedFact]) -> None:
    """Fold again, from their first fact, the subjects of facts that were written or taken away out of turn. Call inside
    a transaction that holds the checkpoint."""
    unfit = await outdated_projections(connection)
    for subject_kind in sorted({one.fact.subject_kind for one in touched}):
        projection = BY_SUBJECT[subject_kind]
        facts = [one for one in touched if one.fact.subject_kind == subject_kind]
        if projection.name in unfit:
            await parked.park_for_rebuild(connection, ledger_id, projection, facts)
            continue
        again = {one.fact.subject for one in facts} | await update_groups(connection, ledger_id, projection, facts)
        await fold_subjects(connection, ledger_id, projection, (), again)
    await _fold_governed(connection, ledger_id, touched, SubjectCache())
