"""Conflicts as they were resolved at a position, if a policy changed after it.

1. A new policy also applies to past conflicts: rows and facts follow it at once.
2. An answer as of a position uses the policies in effect then. The internal event that changed a policy records the
   policy before it.

So an answer as of a position never changes.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

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
KEPT_FACTS_MAX = 1_000

# The last difference that each session found, with its parameters: one answer may ask for it for each projection.
_last_found: WeakKeyDictionary[Any, tuple[Any, PolicyDifference]] = WeakKeyDictionary()


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
    differing = {kind: old for kind, old in earlier_policies.items() if old != now.get(kind, DEFAULT_POLICY)}
    session = getattr(connection, "_con", connection)  # a pool lends a proxy of it
    asked = (ledger_id, position, changes[-1].position, sorted(now.items()), differing)
    last_asked, last_difference = _last_found.get(session, (None, NO_DIFFERENCE))
    if asked == last_asked:
        return last_difference
    difference = await _compare_policies(connection, ledger_id, position, now, differing)
    if len(difference.added) <= KEPT_FACTS_MAX:
        _last_found[session] = (asked, difference)
    return difference


async def _compare_policies(
    connection: Connection,
    ledger_id: int,
    position: int,
    now: Mapping[tuple[str, str], str],
    differing: Mapping[tuple[str, str], str],
) -> PolicyDifference:
    """Compare the selections of the present policies with those of other ones."""
    removed: set[int] = set()
    added: list[Event] = []
    for kind, policy in differing.items():
        events = await conflicting_events_of_kind(connection, ledger_id, *kind, position)
        for _, same_key in groupby(events, lambda event: event.event_key[:KEY_BYTES]):
            events_removed, events_added = compare_selections(list(same_key), now, {kind: policy})
            removed.update(event.position for event in events_removed)
            added += events_added
    return PolicyDifference(frozenset(removed), await facts_of(connection, ledger_id, added))
