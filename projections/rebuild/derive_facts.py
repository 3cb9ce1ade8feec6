"""First half of a rebuild: derive the facts of a range of positions, and write them in the order of the fold.

The primary key of the facts is created after all facts are written. Each range is sorted before it is written. So facts
of one subject are close together, and a range of subjects is on few pages.
"""

from collections.abc import AsyncIterator, Sequence
from operator import itemgetter

from ledger.database import Connection
from ledger.events import Event
from ledger.intake.identify import KEY_BYTES
from ledger.intake.interpret import Interpretation, interpret_all
from ledger.store.read import conflicting_keys, event_at, events_between, events_with_key, with_bodies
from projections.engine import advance, store
from projections.engine.conflicts import policies_of_generation, record_retracted, select_by_policy
from projections.rebuild.work_items import ConflictingEvents, EventRange, Work

EVENTS_PER_READ = 2_000

_fold_order = itemgetter(1, 2, 3, 4, 5, 6)  # of a FactRow


async def derive_facts(connection: Connection, work: Work) -> int:
    """Derive and write the facts of some events; the generation has none of them yet. Return their number.

    If PostgreSQL rejects the facts of an event, the event is recorded as `advance.apply_batch` records it.
    """
    assert isinstance(work, EventRange | ConflictingEvents)
    facts: list[list[store.FactRow]] = []  # by event
    unread: list[tuple[Event, Interpretation]] = []
    orgs: set[tuple[str, str]] = set()
    interpreted = (
        _interpret_range(connection, work) if isinstance(work, EventRange) else _interpret_conflicts(connection, work)
    )
    async for event, interpretation in interpreted:
        orgs.add((event.source, event.org))
        if interpretation.facts:
            facts.append([store.fact_row(work.ledger_id, fact) for fact in interpretation.facts])
        if interpretation.status:
            unread.append((event, interpretation))

    async def write(events: Sequence[list[store.FactRow]]) -> None:
        await store.copy_facts(connection, sorted((row for rows in events for row in rows), key=_fold_order))

    async def reject(rows: list[store.FactRow], error: Exception) -> None:
        event = await event_at(connection, work.ledger_id, rows[0].position)
        await advance.write_unread(connection, work.ledger_id, [(event, advance.rejected_interpretation(error))])
        rows.clear()

    await advance.write_unread(connection, work.ledger_id, unread)
    await store.divide_rejected(connection, facts, write, reject)
    await store.write_orgs(connection, work.ledger_id, orgs)  # last, because other workers may wait for these rows
    return sum(map(len, facts))


async def _interpret_range(connection: Connection, work: EventRange) -> AsyncIterator[tuple[Event, Interpretation]]:
    """Interpret the events of a range that are in no conflict."""
    contested = await conflicting_keys(connection, work.ledger_id, work.last)
    async for events in events_between(connection, work.ledger_id, work.after, work.upto, EVENTS_PER_READ):
        unconflicted = [event for event in events if event.event_key[:KEY_BYTES] not in contested]
        for interpreted in zip(unconflicted, interpret_all(unconflicted), strict=True):
            yield interpreted


async def _interpret_conflicts(
    connection: Connection, work: ConflictingEvents
) -> AsyncIterator[tuple[Event, Interpretation]]:
    """Interpret the events in conflict. Only selected events keep their facts; the others are recorded as retracted."""
    policies = await policies_of_generation(connection, work.ledger_id)
    for key in sorted(await conflicting_keys(connection, work.ledger_id, work.last)):
        group = [
            event for event in await events_with_key(connection, work.ledger_id, key) if event.position <= work.last
        ]
        selected = {event.position for event in select_by_policy(group, policies)}
        async for block in with_bodies(connection, work.ledger_id, group):
            for event, interpretation in zip(block, interpret_all(block), strict=True):
                yield event, interpretation if event.position in selected else interpretation._replace(facts=())
        await record_retracted(connection, work.ledger_id, group, policies)
