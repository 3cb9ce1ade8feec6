"""Conflicts: events with the same key and different contents. All are stored, and a policy selects the folded ones.

The policy selects by time of occurrence, then by content, and never by arrival. So the result does not depend on the
order of arrival.

Retracted facts were folded until their event lost a conflict to a later event with the same key. Answers as known at an
earlier position still hold them: projections/queries/as_of.py adds them again. They are always recorded from all events
of one key together, so live and rebuild record the same.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from pydantic import ValidationError

from ledger.database import Connection
from ledger.events import Event
from ledger.facts import RecordedFact
from ledger.intake.identify import KEY_BYTES
from ledger.intake.interpret import interpret
from ledger.store.read import events_with_key, internal_events_after, with_bodies
from ledger.vendors.internal.policies import PolicySetPayload
from projections.engine.store import FACT_COLUMNS, ROW_REJECTED, fact_row

POLICY_SET = "conflictPolicySet"  # the kind of event that sets a policy

TIME_UNKNOWN = datetime.max.replace(tzinfo=UTC)  # events without a usable time sort last


class Resolution(NamedTuple):
    """The positions of events that are not folded, and the facts to retract because they were folded before."""

    excluded: frozenset[int]
    retracted: Sequence[RecordedFact]
    groups: Sequence[Sequence[Event]] = ()  # all events of each key in conflict, up to the end of the batch
    policies: Mapping[tuple[str, str], str] = {}
    first: int = 1  # position of the first event of the batch


def occurrence_order(event: Event) -> tuple[datetime, bytes]:
    """Sort key of events with the same key: time of occurrence, then content."""
    return (event.occurred_at or TIME_UNKNOWN, event.content)


POLICIES: dict[str, Callable[[Sequence[Event]], list[Event]]] = {
    "earliest": lambda events: [min(events, key=occurrence_order)],
    "latest": lambda events: [max(events, key=occurrence_order)],
    "both": list,
}
DEFAULT_POLICY = "earliest"

# The policies that the facts of a generation follow. A policy that is set later is applied by conflict_policies.py.
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

CREATE_WITHDRAWN = """
    CREATE TABLE IF NOT EXISTS withdrawn (
        ledger_id int NOT NULL, subject_kind text COLLATE "C" NOT NULL, subject text COLLATE "C" NOT NULL,
        tag bytea NOT NULL, ordinal smallint NOT NULL, occurred_at timestamptz NOT NULL, position bigint NOT NULL,
        untimed boolean NOT NULL, kind text NOT NULL, body bytea NOT NULL,
        until_position bigint NOT NULL,  -- of the twin that won
        alias text COLLATE "C",
        PRIMARY KEY (ledger_id, subject_kind, subject, tag, ordinal))
"""
INDEX_WITHDRAWN = "CREATE INDEX IF NOT EXISTS withdrawn_position ON withdrawn (ledger_id, position)"

DELETE_RETRACTED = "DELETE FROM withdrawn WHERE ledger_id = $1 AND position = ANY ($2)"
RANK = FACT_COLUMNS.index("rank")  # a withdrawn fact has none
WITHDRAWN_COLUMNS = (*FACT_COLUMNS[:RANK], *FACT_COLUMNS[RANK + 1 :], "until_position")

PolicyByKind = Mapping[tuple[str, str], str]  # by source and kind


async def policies_of(connection: Connection, ledger_id: int) -> PolicyByKind:
    """Return the policies in effect: for each source and kind, the policy of the last event that sets one.

    No table of the ledger holds policies, so no balance changes without an event.
    """
    policies: dict[tuple[str, str], str] = {}
    for event in await internal_events_after(connection, ledger_id, POLICY_SET, 0):
        policy = read_policy(event)
        if policy is not None:
            policies[policy.vendor, policy.events] = policy.policy
    return policies


def read_policy(event: Event) -> PolicySetPayload | None:
    """Read an event that sets a policy; None if this system cannot have written it."""
    try:
        return PolicySetPayload.model_validate(msgspec.json.decode(event.payload))
    except (ValidationError, msgspec.DecodeError):
        return None


async def copy_policies(connection: Connection, ledger_id: int) -> None:
    """Copy the ledger's policies to the connection's generation, which is being filled."""
    for source_and_kind, policy in (await policies_of(connection, ledger_id)).items():
        await connection.execute(WRITE_POLICY, ledger_id, *source_and_kind, policy)


async def policies_of_generation(connection: Connection, ledger_id: int) -> PolicyByKind:
    """Return the policies that the facts of the connection's generation follow, without default policies."""
    rows = await connection.fetch(READ_GENERATION_POLICIES, ledger_id)
    return {(row["source"], row["kind"]): row["policy"] for row in rows}


def select_by_policy(events: Sequence[Event], policies: PolicyByKind) -> list[Event]:
    """Select the events to fold among events with the same key.

    Events that differ only in personal values have the same facts. Only the first of them counts.
    """
    policy = policies.get((events[0].source, events[0].kind), DEFAULT_POLICY)
    distinct = {event.content: event for event in reversed(events)}
    return POLICIES[policy](list(distinct.values()))


def compare_selections(
    events: Sequence[Event], before: PolicyByKind, after: PolicyByKind
) -> tuple[list[Event], list[Event]]:
    """Return the events with one key that only `before` selects, and those that only `after` selects, by position."""
    selected_before = {event.position: event for event in select_by_policy(events, before)}
    selected_after = {event.position: event for event in select_by_policy(events, after)}
    removed = [selected_before[at] for at in sorted(selected_before.keys() - selected_after.keys())]
    return removed, [selected_after[at] for at in sorted(selected_after.keys() - selected_before.keys())]


def retractions(events: Sequence[Event], policies: PolicyByKind) -> list[tuple[Event, int]]:
    """Return the events that were folded until a later event was selected, each with the position of that later event.

    `events` are all events with the same key, by position. An event that was once excluded is never selected again:
    each selection is among all events received until then.
    """
    policy = policies.get((events[0].source, events[0].kind), DEFAULT_POLICY)
    if policy == "both":
        return []
    retracted: list[tuple[Event, int]] = []
    selected: Event | None = None
    contents: set[bytes] = set()
    for event in events:
        if event.content in contents:
            continue
        contents.add(event.content)
        [winner] = POLICIES[policy]([event] if selected is None else [selected, event])
        if selected is not None and winner is event:
            retracted.append((selected, event.position))
        selected = winner
    return retracted


async def facts_of(connection: Connection, ledger_id: int, events: Sequence[Event]) -> list[RecordedFact]:
    """Interpret events that were read without their bodies; return their facts in order."""
    return [
        fact
        async for block in with_bodies(connection, ledger_id, events)
        for event in block
        for fact in interpret(event).facts
    ]


async def resolve_conflicts(connection: Connection, ledger_id: int, batch: Sequence[Event]) -> Resolution:
    """Resolve the conflicts of a batch. The batch must be the next one after the checkpoint."""
    keys = {event.event_key[:KEY_BYTES] for event in batch if len(event.event_key) > KEY_BYTES}
    if not keys:
        return Resolution(frozenset(), ())
    policies = await policies_of_generation(connection, ledger_id)
    first, last = batch[0].position, batch[-1].position
    excluded: set[int] = set()
    folded_before: list[Event] = []
    groups: list[list[Event]] = []
    for key in sorted(keys):
        events = [event for event in await events_with_key(connection, ledger_id, key) if event.position <= last]
        groups.append(events)
        selected = {event.position for event in select_by_policy(events, policies)}
        excluded |= {event.position for event in events} - selected
        earlier = [event for event in events if event.position < first]
        if earlier:
            folded_before += [event for event in select_by_policy(earlier, policies) if event.position not in selected]
    retracted = await facts_of(connection, ledger_id, folded_before)
    return Resolution(frozenset(excluded), retracted, groups, policies, first)


async def record_retracted(
    connection: Connection, ledger_id: int, events: Sequence[Event], policies: PolicyByKind, since: int = 1
) -> None:
    """Record the retracted facts of all events with one key, in place of those recorded before.

    Only retractions by an event at position `since` or later are written. Earlier ones stay as they were recorded.
    Facts that PostgreSQL rejects were never folded, and are left out.
    """
    retracted = [(event, until) for event, until in retractions(events, policies) if until >= since]
    until_by_position = {event.position: until for event, until in retracted}
    replaced = list(until_by_position) if since > 1 else [event.position for event in events]
    await connection.execute(DELETE_RETRACTED, ledger_id, replaced)
    async for block in with_bodies(connection, ledger_id, [event for event, _ in retracted]):
        for event in block:
            until = until_by_position[event.position]
            rows = [fact_row(ledger_id, fact) for fact in interpret(event).facts]
            records = [(*row[:RANK], *row[RANK + 1 :], until) for row in rows]
            with suppress(*ROW_REJECTED):
                async with connection.transaction():
                    await connection.copy_records_to_table("withdrawn", records=records, columns=WITHDRAWN_COLUMNS)
