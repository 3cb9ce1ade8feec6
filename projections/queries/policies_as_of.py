"""Conflicts as they were resolved at a position, if a policy changed after it.

1. A new policy also applies to past conflicts: rows and facts follow it at once.
2. An answer as of a position uses the policies in effect then. The internal event that changed a policy records the
   policy before it.

So an answer as of a position never changes.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from ledger.database import Connection
from ledger.events import Event
from ledger.facts import RecordedFact
from ledger.intake.identify import KEY_BYTES
from ledger.store.read import conflicting_events_of_kind, internal_events_after
from projections.engine.conflicts import (
    DEFAULT_POLICY,
    POLICY_SET,
    compare_selections,
    facts_of,
    policies_of_generation,
    read_policy,
)


class PolicyDifference(NamedTuple):
    """Difference of the present facts to those of a position: events to leave out, facts to add."""

    removed: frozenset[int] = frozenset()  # positions of events
    added: Sequence[RecordedFact] = ()


NO_DIFFERENCE = PolicyDifference()


async def resolve_as_of(connection: Connection, ledger_id: int, position: int | None) -> PolicyDifference:
    """Return the difference between the policies in effect at a position and those that the generation follows."""
    if position is None:
        return NO_DIFFERENCE
    changes = await internal_events_after(connection, ledger_id, POLICY_SET, position)
    if not changes:
        return NO_DIFFERENCE
    now = await policies_of_generation(connection, ledger_id)
    earlier_policies: dict[tuple[str, str], str] = {}
    for event in changes:
        change = read_policy(event)
        if change is not None:
            earlier_policies.setdefault((change.vendor, change.events), change.before)
    removed: set[int] = set()
    added: list[Event] = []
    for kind, policy in earlier_policies.items():
        if policy != now.get(kind, DEFAULT_POLICY):
            events = await conflicting_events_of_kind(connection, ledger_id, *kind, position)
            for _, same_key in groupby(events, lambda event: event.event_key[:KEY_BYTES]):
                events_removed, events_added = compare_selections(list(same_key), now, {kind: policy})
                removed.update(event.position for event in events_removed)
                added += events_added
    return PolicyDifference(frozenset(removed), await facts_of(connection, ledger_id, added))
