"""Events that share a key but not their content: all are in the ledger, and a policy says which are folded.

The policy chooses by order of occurrence, then by content, never by arrival, so that it chooses the same whatever came
first.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from pydantic import ValidationError

from ledger.database import Connection
from ledger.facts import RecordedFact
from ledger.intake.identify import KEY_BYTES
from ledger.intake.interpret import Event, interpret
from ledger.store.read import events_with_key, internal_events_after, with_bodies
from ledger.vendors.internal.policies import PolicySetPayload

POLICY_SET = "conflictPolicySet"  # the kind of event that sets one

TIME_UNKNOWN = datetime.max.replace(tzinfo=UTC)  # a twin whose time cannot be true comes last


class Resolution(NamedTuple):
    """Positions of events that are not folded, and the facts of those among them that had been."""

    losers: frozenset[int]
    withdrawn: Sequence[RecordedFact]
    twins: Sequence[Sequence[Event]] = ()  # all events of each key in conflict, up to now
    policies: Mapping[tuple[str, str], str] = {}
    first: int = 1  # position of the first event of the batch


def occurrence_order(event: Event) -> tuple[datetime, bytes]:
    """Order twins by occurrence, then content."""
    return (event.occurred_at or TIME_UNKNOWN, event.content)


POLICIES: dict[str, Callable[[Sequence[Event]], list[Event]]] = {
    "earliest": lambda events: [min(events, key=occurrence_order)],
    "latest": lambda events: [max(events, key=occurrence_order)],
    "both": list,
}
DEFAULT_POLICY = "earliest"

# By which the facts of a generation were settled: a policy that was set later reaches it when it follows (policies.py).
CREATE_POLICIES = """
    CREATE TABLE IF NOT EXISTS policies (
        ledger_id int NOT NULL, source text NOT NULL, kind text NOT NULL, policy text NOT NULL,
        PRIMARY KEY (ledger_id, source, kind))
"""
WRITE_POLICY = """
    INSERT INTO policies (ledger_id, source, kind, policy) VALUES ($1, $2, $3, $4)
    ON CONFLICT (ledger_id, source, kind) DO UPDATE SET policy = excluded.policy
"""
READ_GENERATION_POLICIES = "SELECT source, kind, policy FROM policies WHERE ledger_id = $1"

PolicyByKind = Mapping[tuple[str, str], str]  # by source and kind


async def policies_of(connection: Connection, ledger_id: int) -> PolicyByKind:
    """Return the policies that somebody has set: for each source and kind, what the last event about it in the ledger
    says. No table holds them, so no balance changes without an event."""
    policies: dict[tuple[str, str], str] = {}
    for act in await internal_events_after(connection, ledger_id, POLICY_SET, 0):
        said = read_policy(act)
        if said is not None:
            policies[said.vendor, said.events] = said.policy
    return policies


def read_policy(act: Event) -> PolicySetPayload | None:
    """Read an event that sets a policy; None if it is not one that this system writes."""
    try:
        return PolicySetPayload.model_validate(msgspec.json.decode(act.payload))
    except (ValidationError, msgspec.DecodeError):
        return None


async def copy_policies(connection: Connection, ledger_id: int) -> None:
    """Settle the facts of the connection's generation, which is being filled, by the policies of the ledger."""
    for of, policy in (await policies_of(connection, ledger_id)).items():
        await connection.execute(WRITE_POLICY, ledger_id, *of, policy)


async def policies_of_generation(connection: Connection, ledger_id: int) -> PolicyByKind:
    """Give the policies by which the facts of the connection's generation were settled, default ones left out."""
    rows = await connection.fetch(READ_GENERATION_POLICIES, ledger_id)
    return {(row["source"], row["kind"]): row["policy"] for row in rows}


def select_by_policy(events: Sequence[Event], policies: PolicyByKind) -> list[Event]:
    """Choose which of the events that share a key are folded. Events that differ in personal values only have the same
    facts, so one of them stands for all."""
    policy = policies.get((events[0].source, events[0].kind), DEFAULT_POLICY)
    distinct = {event.content: event for event in reversed(events)}
    return POLICIES[policy](list(distinct.values()))


def retractions(events: Sequence[Event], policies: PolicyByKind) -> list[tuple[Event, int]]:
    """Of all events that share a key, in order of position, give those that were folded until a later one won, with the
    position of that one. Who has lost never wins again, for each choice is among all that were told until then."""
    policy = policies.get((events[0].source, events[0].kind), DEFAULT_POLICY)
    if policy == "both":
        return []
    gone: list[tuple[Event, int]] = []
    standing: Event | None = None
    seen: set[bytes] = set()
    for event in events:
        if event.content in seen:
            continue
        seen.add(event.content)
        [chosen] = POLICIES[policy]([event] if standing is None else [standing, event])
        if standing is not None and chosen is event:
            gone.append((standing, event.position))
        standing = chosen
    return gone


async def facts_of(connection: Connection, ledger_id: int, events: Sequence[Event]) -> list[RecordedFact]:
    """Interpret events that were read without their bodies; return their facts in order."""
    return [
        fact
        async for block in with_bodies(connection, ledger_id, events)
        for event in block
        for fact in interpret(event).facts
    ]


async def resolve_conflicts(connection: Connection, ledger_id: int, batch: Sequence[Event]) -> Resolution:
    """Settle the conflicts that a batch brings; it must be the next one after what is folded."""
    keys = {event.event_key[:KEY_BYTES] for event in batch if len(event.event_key) > KEY_BYTES}
    if not keys:
        return Resolution(frozenset(), ())
    policies = await policies_of_generation(connection, ledger_id)
    first, last = batch[0].position, batch[-1].position
    losers: set[int] = set()
    folded_before: list[Event] = []
    groups: list[list[Event]] = []
    for key in sorted(keys):
        events = [event for event in await events_with_key(connection, ledger_id, key) if event.position <= last]
        groups.append(events)
        chosen = {event.position for event in select_by_policy(events, policies)}
        losers |= {event.position for event in events} - chosen
        earlier = [event for event in events if event.position < first]
        if earlier:
            folded_before += [one for one in select_by_policy(earlier, policies) if one.position not in chosen]
    withdrawn = await facts_of(connection, ledger_id, folded_before)
    return Resolution(frozenset(losers), withdrawn, groups, policies, first)
