"""First half of a rebuild: derive the facts of a range of positions, and write them in the order of the fold.

The primary key of the facts is created after all facts are written. Each range is sorted before it is written. So facts
of one subject are close together, and a range of subjects is on few pages.
"""

from collections.abc import Iterable, Sequence
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
_position_of_row = itemgetter(7)


async def derive_facts(connection: Connection, work: Work) -> int:
    """Derive and write the facts of some events; the generation has none of them yet. Return their number."""
    assert isinstance(work, EventRange | ConflictingEvents)
    rows: list[store.FactRow] = []
    unread: list[tuple[Event, Interpretation]] = []
    orgs: set[tuple[str, str]] = set()
    if isinstance(work, EventRange):
        contested = await conflicting_keys(connection, work.ledger_id, work.last)
        async for events in events_between(connection, work.ledger_id, work.after, work.upto, EVENTS_PER_READ):
            unconflicted = [event for event in events if event.event_key[:KEY_BYTES] not in contested]
            orgs.update((event.source, event.org) for event in unconflicted)
            _collect_facts(work.ledger_id, unconflicted, unconflicted, rows, unread)
    else:
        policies = await policies_of_generation(connection, work.ledger_id)
        for key in sorted(await conflicting_keys(connection, work.ledger_id, work.last)):
            group = [
                event for event in await events_with_key(connection, work.ledger_id, key) if event.position <= work.last
            ]
            orgs.update((event.source, event.org) for event in group)
            selected = {event.position for event in select_by_policy(group, policies)}
            async for block in with_bodies(connection, work.ledger_id, group):
                folded = [event for event in block if event.position in selected]
                _collect_facts(work.ledger_id, block, folded, rows, unread)
            await record_retracted(connection, work.ledger_id, group, policies)
    await advance.write_unread(connection, work.ledger_id, unread)
    rows.sort(key=_fold_order)
    rejected = await _write_facts(connection, work.ledger_id, rows)
    await store.write_orgs(connection, work.ledger_id, orgs)  # last, because other workers may wait for these rows
    return len(rows) - rejected


def _collect_facts(
    ledger_id: int,
    events: Sequence[Event],
    folded: Iterable[Event],
    rows: list[store.FactRow],
    unread: list[tuple[Event, Interpretation]],
) -> None:
    """Interpret events, and collect the facts of those that are folded."""
    selected_positions = {event.position for event in folded}
    for event, interpretation in zip(events, interpret_all(events), strict=True):
        if event.position in selected_positions:
            rows += [store.fact_row(ledger_id, fact) for fact in interpretation.facts]
        if interpretation.status:
            unread.append((event, interpretation))


async def _write_facts(connection: Connection, ledger_id: int, rows: Sequence[store.FactRow]) -> int:
    """Write facts. If PostgreSQL rejects the facts of an event, record the event as `advance.apply_batch` does.

    Return the number of rejected facts.
    """
    try:
        async with connection.transaction():
            await store.copy_facts(connection, rows)
    except store.ROW_REJECTED as error:
        positions = sorted({_position_of_row(row) for row in rows})
        if len(positions) == 1:
            event = await event_at(connection, ledger_id, positions[0])
            await advance.write_unread(connection, ledger_id, [(event, advance.rejected_interpretation(error))])
            return len(rows)
        middle = positions[len(positions) // 2]
        first = [row for row in rows if _position_of_row(row) < middle]
        second = [row for row in rows if _position_of_row(row) >= middle]
        return await _write_facts(connection, ledger_id, first) + await _write_facts(connection, ledger_id, second)
    return 0
