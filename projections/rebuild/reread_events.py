"""Interpret stored events again with the current code, beside their stored outcome. Nothing is written.

Three checks need it: of stored facts (verify_facts.py), of a whole ledger (recheck_events.py), and the estimate of a
rebuild (estimate.py).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from ledger.database import Connection
from ledger.events import Event
from ledger.intake.identify import KEY_BYTES
from ledger.intake.interpret import Interpretation, interpret_all
from ledger.store.read import conflicting_keys, events_between, events_with_key
from ledger.store.registry import Ledger
from projections.engine.conflicts import policies_of_generation, select_by_policy

EVENTS_PER_READ = 1_000

READ_UNREAD = "SELECT position, reason FROM unread WHERE ledger_id = $1 AND position = ANY ($2)"

FoldedPositions = Mapping[bytes, set[int]]  # by event key in conflict: the positions of the events that are folded


class RereadEvent(NamedTuple):
    """One stored event, interpreted again. `unread` is the stored reason why it has no facts; None if it was read."""

    event: Event
    interpretation: Interpretation
    unread: str | None
    is_folded: bool  # it is in no conflict, or the policy selects it


async def folded_positions(connection: Connection, ledger: Ledger, last: int) -> FoldedPositions:
    """Return the events in conflict that are folded, among those up to a position."""
    policies = await policies_of_generation(connection, ledger.ledger_id)
    folded = {}
    for key in await conflicting_keys(connection, ledger.ledger_id, last):
        group = [event for event in await events_with_key(connection, ledger.ledger_id, key) if event.position <= last]
        folded[key] = {event.position for event in select_by_policy(group, policies)}
    return folded


async def reread_between(
    connection: Connection, ledger: Ledger, after: int, last: int, folded: FoldedPositions
) -> AsyncIterator[list[RereadEvent]]:
    """Yield the events after position `after` up to position `last`, in blocks of EVENTS_PER_READ."""
    async for events in events_between(connection, ledger.ledger_id, after, last, EVENTS_PER_READ):
        yield await reread(connection, ledger, events, folded)


async def reread(
    connection: Connection, ledger: Ledger, events: Sequence[Event], folded: FoldedPositions
) -> list[RereadEvent]:
    """Interpret some events again."""
    positions = [event.position for event in events]
    unread: dict[int, str] = dict(await connection.fetch(READ_UNREAD, ledger.ledger_id, positions))
    return [
        RereadEvent(event, interpretation, unread.get(event.position), _is_folded(event, folded))
        for event, interpretation in zip(events, interpret_all(events), strict=True)
    ]


def _is_folded(event: Event, folded: FoldedPositions) -> bool:
    key = event.event_key[:KEY_BYTES]
    return key not in folded or event.position in folded[key]
