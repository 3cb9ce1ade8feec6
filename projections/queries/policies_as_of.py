"""How conflicts stood settled at a position, where somebody has set another policy for them since.

A policy settles past conflicts, too: rows and facts follow it at once, as if it had always held. What was known at a
position went by the policy of then, which the act that changed it tells. So an answer as of a position stays the same.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from ledger.database import Connection
from ledger.facts import RecordedFact
from ledger.intake.identify import KEY_BYTES
from ledger.intake.interpret import Event
from ledger.store.read import conflicting_events_of_kind, internal_events_after
from projections.engine.conflicts import (
    DEFAULT_POLICY,
    POLICY_SET,
    PolicyByKind,
    facts_of,
    policies_of_generation,
    read_policy,
    select_by_policy,
)


class PolicyDifference(NamedTuple):
    """What the rows would show as of a position and must not (`gone`), and what they must instead (`back`)."""

    gone: frozenset[int] = frozenset()  # positions of events
    back: Sequence[RecordedFact] = ()


NOT_OTHERWISE = PolicyDifference()


async def resolve_as_of(connection: Connection, ledger_id: int, position: int | None) -> PolicyDifference:
    """Give what was settled otherwise as known at a position than by the policies of the connection's generation."""
    if position is None:
        return NOT_OTHERWISE
    changes = await internal_events_after(connection, ledger_id, POLICY_SET, position)
    if not changes:
        return NOT_OTHERWISE
    now = await policies_of_generation(connection, ledger_id)
    then: dict[tuple[str, str], str] = {}
    for act in changes:
        said = read_policy(act)
        if said is not None:
            then.setdefault((said.vendor, said.events), said.before)
    gone: set[int] = set()
    returned: list[Event] = []
    for of, policy in then.items():
        if policy != now.get(of, DEFAULT_POLICY):
            events = await conflicting_events_of_kind(connection, ledger_id, *of, position)
            for _, same in groupby(events, lambda event: event.event_key[:KEY_BYTES]):
                _compare(list(same), now, {of: policy}, gone, returned)
    return PolicyDifference(frozenset(gone), await facts_of(connection, ledger_id, returned))


def _compare(
    events: Sequence[Event], now: PolicyByKind, then: PolicyByKind, gone: set[int], returned: list[Event]
) -> None:
    """Compare whom both policies choose among the events of one key that were told until then."""
    chosen_now = {event.position: event for event in select_by_policy(events, now)}
    chosen_then = {event.position: event for event in select_by_policy(events, then)}
    gone.update(chosen_now.keys() - chosen_then.keys())
    for position in sorted(chosen_then.keys() - chosen_now.keys()):
        returned.append(chosen_then[position])
