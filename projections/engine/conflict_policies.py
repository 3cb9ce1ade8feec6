"""Change the conflict policy of one kind of event. Past conflicts are resolved again, and their rows follow at once."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.events import Event
from ledger.facts import RecordedFact
from ledger.intake.identify import KEY_BYTES
from ledger.store.read import conflicts_of_kind, events_with_key
from ledger.vendors import SOURCES
from projections.engine import store
from projections.engine.advance import refold_from_facts
from projections.engine.conflicts import (
    DEFAULT_POLICY,
    POLICIES,
    WRITE_POLICY,
    PolicyByKind,
    compare_selections,
    facts_of,
    policies_of,
    policies_of_generation,
    record_retracted,
)


class PolicyAtPosition(NamedTuple):
    """The number of past conflicts that a policy concerns, and the policy before; None if none was set."""

    conflicts: int
    before: str | None


class PolicyFacts(NamedTuple):
    """Facts that a policy adds to a generation, and facts that it removes."""

    added: list[RecordedFact]
    removed: list[RecordedFact]


async def check_policy(connection: Connection, ledger_id: int, source: str, kind: str, policy: str) -> PolicyAtPosition:
    """Return what a new policy for conflicts of a kind would change. Past conflicts are resolved again too.

    Call it inside a transaction that holds the checkpoint, or that only reads. To set the policy, append the event that
    sets it, then call `follow_policies`.

    Raises RequestInvalid for an unknown policy or source, or if the source has no such kind of event.
    """
    if policy not in POLICIES:
        raise RequestInvalid(f"a policy is one of {', '.join(POLICIES)}: {policy}")
    if source not in SOURCES:
        raise RequestInvalid(f"a source is one of {', '.join(SOURCES)}: {source}")
    position = await store.read_checkpoint(connection, ledger_id)
    keys = await _conflicting_keys(connection, ledger_id, source, kind, position)
    if kind not in SOURCES[source].kinds and not keys:
        raise RequestInvalid(f"{source} has no event of kind {kind}")
    return PolicyAtPosition(len(keys), (await policies_of(connection, ledger_id)).get((source, kind)))


async def follow_policies(connection: Connection, ledger_id: int) -> None:
    """Resolve past conflicts again where the policies of the connection's generation differ from the ledger's.

    This happens if a policy is set while the generation is rebuilt, or is kept for a rollback.
    """
    if not await _differing_policies(connection, ledger_id):
        return
    async with connection.transaction():
        position = await store.hold_checkpoint(connection, ledger_id)
        for (source, kind), policy in await _differing_policies(connection, ledger_id):
            before = await policies_of_generation(connection, ledger_id)
            await _apply_policy(
                connection, ledger_id, position, before, {**before, (source, kind): policy}, source, kind
            )
            await connection.execute(WRITE_POLICY, ledger_id, source, kind, policy)


async def _differing_policies(connection: Connection, ledger_id: int) -> list[tuple[tuple[str, str], str]]:
    """List the ledger's policies that the connection's generation does not apply yet.

    The generation may apply a policy that no event of the ledger sets. Then the list holds the default policy.
    """
    wanted = await policies_of(connection, ledger_id)
    current = await policies_of_generation(connection, ledger_id)
    wanted = {**dict.fromkeys(current, DEFAULT_POLICY), **wanted}
    return sorted(
        (source_and_kind, policy)
        for source_and_kind, policy in wanted.items()
        if policy != current.get(source_and_kind, DEFAULT_POLICY)
    )


async def _apply_policy(
    connection: Connection,
    ledger_id: int,
    position: int,
    before: PolicyByKind,
    after: PolicyByKind,
    source: str,
    kind: str,
) -> None:
    removed: list[RecordedFact] = []
    added: list[RecordedFact] = []
    async for events in _conflicting_events(connection, ledger_id, position, source, kind):
        await record_retracted(connection, ledger_id, events, after)
        difference = await _facts_that_differ(connection, ledger_id, events, before, after)
        removed += difference.removed
        added += difference.added
    # A rebuild may have copied some of the new facts already.
    await store.delete_facts(connection, ledger_id, [*removed, *added])
    await store.write_facts(connection, ledger_id, added)
    await refold_from_facts(connection, ledger_id, [*removed, *added])


async def facts_changed_by_policy(
    connection: Connection, ledger_id: int, source: str, kind: str, policy: str
) -> PolicyFacts:
    """Return the facts that a policy for conflicts of a kind would add and remove. Nothing is written."""
    position = await store.read_checkpoint(connection, ledger_id)
    before = await policies_of_generation(connection, ledger_id)
    changed = PolicyFacts([], [])
    async for events in _conflicting_events(connection, ledger_id, position, source, kind):
        difference = await _facts_that_differ(connection, ledger_id, events, before, {**before, (source, kind): policy})
        changed.added.extend(difference.added)
        changed.removed.extend(difference.removed)
    return changed


async def _facts_that_differ(
    connection: Connection, ledger_id: int, events: Sequence[Event], before: PolicyByKind, after: PolicyByKind
) -> PolicyFacts:
    events_removed, events_added = compare_selections(events, before, after)
    return PolicyFacts(
        await facts_of(connection, ledger_id, events_added), await facts_of(connection, ledger_id, events_removed)
    )


async def _conflicting_events(
    connection: Connection, ledger_id: int, position: int, source: str, kind: str
) -> AsyncIterator[list[Event]]:
    """Yield the events of each key in conflict, up to a position."""
    for key in sorted(await _conflicting_keys(connection, ledger_id, source, kind, position)):
        yield [event for event in await events_with_key(connection, ledger_id, key) if event.position <= position]


async def _conflicting_keys(
    connection: Connection, ledger_id: int, source: str, kind: str, position: int
) -> set[bytes]:
    return {key[:KEY_BYTES] for key in await conflicts_of_kind(connection, ledger_id, source, kind, position)}
