"""Advance a projection: the next events become facts, and the facts become rows, in one transaction.

How it works:

1. The facts of a subject have a total order (`FactKey`) that does not mention arrival.
2. If all new facts of a subject are later than its last folded fact, its state is folded forward.
3. Otherwise that subject alone is folded again, from before the first new fact (subject_history.py).
4. Either way the rows of a subject are a function of the set of its facts. Any order of arrival, duplicates, batch
   boundaries and crashes end in the same rows (invariant 5).

Invariant: the rows and facts of a generation reflect exactly the events up to its checkpoint. The transaction that
writes them first moves the checkpoint by compare-and-swap. A second projector waits for that row lock. It then sees
that the checkpoint has moved, and has written nothing.

A subject with a fact that cannot be folded is parked. Its rows reflect the facts before that fact, and later facts
wait. All other subjects continue.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence, Set

from ledger import spans
from ledger.database import Connection
from ledger.events import Event
from ledger.facts import RecordedFact
from ledger.facts.terms import ProgrammeTermsSet
from ledger.intake.interpret import Interpretation, interpret_all
from ledger.store.read import events_after
from projections.accounts import ACCOUNTS
from projections.engine import parked, snapshots, store
from projections.engine.cache import SubjectCache
from projections.engine.conflicts import record_retracted, resolve_conflicts
from projections.engine.fold_subjects import fold_subjects
from projections.engine.generations import outdated_projections
from projections.engine.groups import update_groups
from projections.engine.programme_terms import governed_holders
from projections.registry import BY_SUBJECT

EVENTS_PER_BATCH_MIN = 500  # near the end of the ledger. It doubles after each full batch, up to EVENTS_PER_BATCH_MAX
EVENTS_PER_BATCH_MAX = 8_000
HOLDERS_PER_BATCH_MAX = 2_000  # folded again at once when terms of their programmes change
IDLE_SECONDS_MAX = 30.0
EVENTS_PER_YIELD = 16  # interpreted without a pause: about a millisecond, in which no other task of the event loop runs
REJECTED_REASON = "the database cannot hold what it means"
UNREAD_COLUMNS = ("ledger_id", "position", "source", "kind", "unread", "reason")
SET_IDLE_TIMEOUT = "SELECT set_config('idle_in_transaction_session_timeout', $1, false)"


Interpreted = tuple[Event, Interpretation]


async def set_idle_in_transaction_timeout(connection: Connection, seconds: float = IDLE_SECONDS_MAX) -> None:
    """Limit how long this connection may be idle inside a transaction.

    If this process stops inside a batch, PostgreSQL rolls the batch back after `seconds`. Other projectors wait no
    longer than that. A process that resumes later finds its transaction undone.
    """
    await connection.execute(SET_IDLE_TIMEOUT, f"{int(seconds * 1000)}ms")


async def advance(
    connection: Connection, ledger_id: int, limit: int = EVENTS_PER_BATCH_MAX, cache: SubjectCache | None = None
) -> int:
    """Write the next batch into the generation of the connection's search_path. Return the number of its events.

    0 means that there were no new events, or that another projector wrote them first. `cache` holds the subjects that
    this connection has folded before. Raises RebuildDue.
    """
    outdated = await outdated_projections(connection)
    after = await store.read_checkpoint(connection, ledger_id)
    batch = await _interpret_batch(await events_after(connection, ledger_id, after, limit))
    return len(batch) if batch and await apply_batch(connection, ledger_id, batch, outdated, cache) else 0


async def advance_until_current(
    connection: Connection, ledger_id: int, cache: SubjectCache | None = None
) -> AsyncGenerator[int, None]:
    """Write batch after batch, and yield the position reached after each.

    Ends at the end of the ledger, or when another projector wrote a batch first. The next batch is read before a batch
    is written, and is interpreted while PostgreSQL works. `cache` holds the subjects that this connection has folded
    before. Raises RebuildDue.
    """
    cache = SubjectCache() if cache is None else cache
    outdated = await outdated_projections(connection)
    limit = EVENTS_PER_BATCH_MIN
    after = await store.read_checkpoint(connection, ledger_id)
    batch = await _interpret_batch(await events_after(connection, ledger_id, after, limit))
    while batch:
        limit = min(2 * limit, EVENTS_PER_BATCH_MAX)
        last = batch[-1][0].position
        next_events = await events_after(connection, ledger_id, last, limit)
        is_written, next_batch = await asyncio.gather(
            _apply_traced(connection, ledger_id, batch, outdated, cache), _interpret_batch(next_events)
        )
        if not is_written:
            return
        yield last
        batch = next_batch


async def _interpret_batch(events: Sequence[Event]) -> list[Interpreted]:
    """Interpret events. Other tasks of the event loop run in between."""
    batch: list[Interpreted] = []
    for interpreted in zip(events, interpret_all(events), strict=True):
        batch.append(interpreted)
        if len(batch) % EVENTS_PER_YIELD == 0:
            await asyncio.sleep(0)
    return batch


async def _apply_traced(
    connection: Connection, ledger_id: int, batch: Sequence[Interpreted], outdated: Set[str], cache: SubjectCache
) -> bool:
    last = batch[-1][0].position
    with spans.span("project batch", ledger_id=ledger_id, events=len(batch), last_position=last):
        return await apply_batch(connection, ledger_id, batch, outdated, cache)


async def apply_batch(
    connection: Connection,
    ledger_id: int,
    batch: Sequence[Interpreted],
    outdated: Set[str] = frozenset(),
    cache: SubjectCache | None = None,
) -> bool:
    """Write the facts and rows of the events after the checkpoint. Return False if the checkpoint has moved; nothing is
    written then.

    The rows of projections in `outdated` were made by another software version. They wait for a rebuild.

    PostgreSQL may reject the facts or rows of an event. Such an event must not stop later events. Therefore the batch
    is halved until the event is alone. It is then recorded as unrecognised.
    """
    cache = SubjectCache() if cache is None else cache
    try:
        return await _write_batch(connection, ledger_id, batch, outdated, cache)
    except store.ROW_REJECTED as error:
        if len(batch) == 1:
            rejected = [(batch[0][0], rejected_interpretation(error))]
            return await _write_batch(connection, ledger_id, rejected, outdated, cache)
    middle = len(batch) // 2
    return await apply_batch(connection, ledger_id, batch[:middle], outdated, cache) and await apply_batch(
        connection, ledger_id, batch[middle:], outdated, cache
    )


def rejected_interpretation(error: Exception) -> Interpretation:
    """Return the interpretation of an event whose facts or rows PostgreSQL rejects: unrecognised, with the error's
    name.
    """
    return Interpretation((), "unrecognised", f"{REJECTED_REASON}: {type(error).__name__}")


async def _write_batch(
    connection: Connection, ledger_id: int, batch: Sequence[Interpreted], outdated: Set[str], cache: SubjectCache
) -> bool:
    events = [event for event, _ in batch]
    async with connection.transaction():
        move = await store.move_checkpoint(connection, ledger_id, events[0].position - 1, events[-1].position)
        if move is None:
            return False
        cache.start_batch(ledger_id, move.previous)
        await snapshots.write_snapshots(connection, ledger_id, cache.evict(ledger_id))
        resolution = await resolve_conflicts(connection, ledger_id, events)
        facts = [
            fact
            for event, interpretation in batch
            if event.position not in resolution.excluded
            for fact in interpretation.facts
        ]
        await store.delete_facts(connection, ledger_id, resolution.retracted)
        for group in resolution.groups:
            await record_retracted(connection, ledger_id, group, resolution.policies, resolution.first)
        await store.write_facts(connection, ledger_id, facts)
        await store.write_orgs(connection, ledger_id, ((event.source, event.org) for event in events))
        await write_unread(connection, ledger_id, batch)
        await _fold_touched(connection, ledger_id, facts, resolution.retracted, outdated, cache)
    cache.commit_batch(ledger_id, move.current)
    return True


async def write_unread(connection: Connection, ledger_id: int, interpreted: Iterable[Interpreted]) -> None:
    """Record the events that gave no facts because they are quarantined or unrecognised."""
    records = [
        (ledger_id, event.position, event.source, event.kind, interpretation.status, interpretation.reason)
        for event, interpretation in interpreted
        if interpretation.status
    ]
    if records:
        await connection.copy_records_to_table("unread", records=records, columns=UNREAD_COLUMNS)


async def refold_from_facts(connection: Connection, ledger_id: int, changed: Sequence[RecordedFact]) -> None:
    """Fold the subjects of some facts from the start. Call it after facts were written or deleted outside a batch. Call
    inside a transaction that holds the checkpoint.
    """
    await _fold_touched(connection, ledger_id, (), changed, await outdated_projections(connection), SubjectCache())


async def _fold_touched(
    connection: Connection,
    ledger_id: int,
    new: Sequence[RecordedFact],
    changed: Sequence[RecordedFact],
    outdated: Set[str],
    cache: SubjectCache,
) -> None:
    """Fold the subjects of new facts, and from the start those of changed facts, one subject kind after the other."""
    new_by_kind, changed_by_kind = _facts_by_kind(new), _facts_by_kind(changed)
    for subject_kind in sorted(new_by_kind.keys() | changed_by_kind.keys()):
        projection = BY_SUBJECT[subject_kind]
        facts = [*new_by_kind[subject_kind], *changed_by_kind[subject_kind]]
        if projection.name in outdated:
            await parked.park_for_rebuild(connection, ledger_id, projection, facts)
            continue
        refold_subjects = {recorded.fact.subject for recorded in changed_by_kind[subject_kind]}
        refold_subjects |= await update_groups(connection, ledger_id, projection, facts)
        await fold_subjects(connection, ledger_id, projection, new_by_kind[subject_kind], refold_subjects, cache)
    if ACCOUNTS.name not in outdated:
        await _fold_governed(connection, ledger_id, [*new, *changed], cache)


async def _fold_governed(
    connection: Connection, ledger_id: int, facts: Sequence[RecordedFact], cache: SubjectCache
) -> None:
    """Fold the holders in programmes whose terms some facts set.

    The transaction stays short: holders beyond HOLDERS_PER_BATCH_MAX are parked, and retry.py folds them again, a few
    in each transaction. A parked holder shows the figures from before the terms.
    """
    position = min((at.position for fact, at in facts if isinstance(fact, ProgrammeTermsSet)), default=0)
    touched = {fact.subject for fact, _ in facts if fact.subject_kind == ACCOUNTS.subject}  # their rows have changed
    folded = 0
    async for holders in governed_holders(connection, ledger_id, facts):
        at_once = set(holders) if folded < HOLDERS_PER_BATCH_MAX else touched.intersection(holders)
        await fold_subjects(connection, ledger_id, ACCOUNTS, (), at_once, cache)
        folded += len(at_once)
        if waiting := sorted(set(holders) - at_once):
            await parked.park_for_terms(connection, ledger_id, ACCOUNTS.subject, waiting, position)
            cache.take(ledger_id, ACCOUNTS.subject, waiting)


def _facts_by_kind(facts: Iterable[RecordedFact]) -> Mapping[str, list[RecordedFact]]:
    by_kind: dict[str, list[RecordedFact]] = defaultdict(list)
    for recorded in facts:
        by_kind[recorded.fact.subject_kind].append(recorded)
    return by_kind
