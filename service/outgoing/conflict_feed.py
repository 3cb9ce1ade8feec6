"""Facts that events of earlier positions gain or lose: by a conflict, or by a policy for conflicts.

Both are computed from the events of the ledger and the policies in effect at the position. So a later policy, which the
rows of a generation follow for the past too, changes nothing here.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from ledger.database import Connection
from ledger.events import Event
from ledger.facts import RecordedFact
from ledger.intake.identify import KEY_BYTES
from ledger.store.read import conflicting_events_of_kind, events_with_key, internal_events_after
from projections.engine.conflicts import (
    POLICY_SET,
    PolicyByKind,
    compare_selections,
    facts_of,
    policies_of,
    policies_of_generation,
    read_policy,
    select_by_policy,
)

# An event in conflict has a longer key.
SPECIAL_EVENTS = """
    SELECT position, recorded_at, event_key, kind = $5 AS sets_policy FROM ledger.events
     WHERE ledger_id = $1 AND position > $2 AND position <= $3 AND (octet_length(event_key) > $4 OR kind = $5)
     ORDER BY position
"""


class SpecialEvent(NamedTuple):
    """An event in conflict with an earlier one, or one that sets a policy."""

    position: int
    recorded_at: datetime
    event_key: bytes
    sets_policy: bool


class FactsChanged(NamedTuple):
    """The facts that an event takes back, and those that count from it on; these may be of earlier events."""

    event: SpecialEvent
    retracted: Sequence[RecordedFact]
    added: Sequence[RecordedFact]


async def read_special_events(connection: Connection, ledger_id: int, after: int, upto: int) -> list[SpecialEvent]:
    """Read the special events of a range, in order."""
    rows = await connection.fetch(SPECIAL_EVENTS, ledger_id, after, upto, KEY_BYTES, POLICY_SET)
    return [SpecialEvent(*row) for row in rows]


async def follows_policies(connection: Connection, ledger_id: int) -> bool:
    """Return True if the rows of the generation follow every policy that the ledger has recorded."""
    return await policies_of(connection, ledger_id) == await policies_of_generation(connection, ledger_id)


async def read_facts_changed(
    connection: Connection, ledger_id: int, special: Sequence[SpecialEvent]
) -> list[FactsChanged]:
    """Return the facts that special events change."""
    if not special:
        return []
    settings = await internal_events_after(connection, ledger_id, POLICY_SET, 0)
    found = []
    for event in special:
        if event.sets_policy:
            retracted, added = await _changed_by_policy(connection, ledger_id, settings, event.position)
        else:
            policies = _policies_at(settings, event.position)
            retracted, added = await _changed_by_conflict(connection, ledger_id, policies, event)
        found.append(
            FactsChanged(
                event,
                await facts_of(connection, ledger_id, retracted),
                await facts_of(connection, ledger_id, added),
            )
        )
    return found


def _policies_at(settings: Sequence[Event], position: int) -> PolicyByKind:
    """Return the policies in effect at a position. `settings` are all events that set one."""
    policies: dict[tuple[str, str], str] = {}
    for event in settings:
        policy = read_policy(event) if event.position <= position else None
        if policy is not None:
            policies[policy.vendor, policy.events] = policy.policy
    return policies


async def _changed_by_conflict(
    connection: Connection, ledger_id: int, policies: PolicyByKind, special: SpecialEvent
) -> tuple[list[Event], list[Event]]:
    same_key = await events_with_key(connection, ledger_id, special.event_key[:KEY_BYTES])
    events = [event for event in same_key if event.position <= special.position]
    earlier = [event for event in events if event.position < special.position]
    before = {event.position: event for event in select_by_policy(earlier, policies)} if earlier else {}
    after = {event.position: event for event in select_by_policy(events, policies)}
    retracted = [before[at] for at in sorted(before.keys() - after.keys())]
    return retracted, [after[at] for at in sorted(after.keys() - before.keys())]


async def _changed_by_policy(
    connection: Connection, ledger_id: int, settings: Sequence[Event], position: int
) -> tuple[list[Event], list[Event]]:
    setting = next(event for event in settings if event.position == position)
    policy = read_policy(setting)
    if policy is None:
        return [], []
    before, after = _policies_at(settings, position - 1), _policies_at(settings, position)
    events = await conflicting_events_of_kind(connection, ledger_id, policy.vendor, policy.events, position)
    retracted: list[Event] = []
    added: list[Event] = []
    for _, same_key in groupby(events, lambda event: event.event_key[:KEY_BYTES]):
        removed_events, added_events = compare_selections(list(same_key), before, after)
        retracted += removed_events
        added += added_events
    return retracted, added
