"""Change how conflicts of one kind of event are settled, and let the rows follow, at once."""

from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import RequestInvalid
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
    facts_of,
    policies_of,
    policies_of_generation,
    select_by_policy,
)
from projections.engine.retracted_facts import record_retracted


class PolicyAtPosition(NamedTuple):
    """How many conflicts a policy concerns, and what the policy was before; None where none had been set."""

    conflicts: int
    before: str | None


async def check_policy(connection: Connection, ledger_id: int, source: str, kind: str, policy: str) -> PolicyAtPosition:
    """Say what another policy for conflicts of a kind would change; past ones are settled again too. Call it inside a
    transaction, then append the event that sets it, then call `follow_policies`.

    Raises RequestInvalid for an unknown policy, a source that is none, or a kind of event that it has not.
    """
    if policy not in POLICIES:
        raise RequestInvalid(f"a policy is one of {', '.join(POLICIES)}: {policy}")
    if source not in SOURCES:
        raise RequestInvalid(f"a source is one of {', '.join(SOURCES)}: {source}")
    reached = await store.hold_checkpoint(connection, ledger_id)
    keys = await _conflicting_keys(connection, ledger_id, source, kind, reached)
    if kind not in SOURCES[source].kinds and not keys:
        raise RequestInvalid(f"{source} has no event of kind {kind}")
    return PolicyAtPosition(len(keys), (await policies_of(connection, ledger_id)).get((source, kind)))


async def follow_policies(connection: Connection, ledger_id: int) -> None:
    """Settle past conflicts of the connection's generation again, where it goes by other policies than the ledger does
    by now: one that was rebuilt meanwhile, or is kept for a rollback, learns of them here."""
    if not await _differing_policies(connection, ledger_id):
        return
    async with connection.transaction():
        reached = await store.hold_checkpoint(connection, ledger_id)
        for (source, kind), policy in await _differing_policies(connection, ledger_id):
            before = await policies_of_generation(connection, ledger_id)
            await _apply_policy(
                connection, ledger_id, reached, before, {**before, (source, kind): policy}, source, kind
            )
            await connection.execute(WRITE_POLICY, ledger_id, source, kind, policy)


async def _differing_policies(connection: Connection, ledger_id: int) -> list[tuple[tuple[str, str], str]]:
    """List the policies of the ledger that the connection's generation does not go by yet. A policy that no event in
    the ledger sets is one of those: the default takes its place."""
    wanted = await policies_of(connection, ledger_id)
    has = await policies_of_generation(connection, ledger_id)
    wanted = {**dict.fromkeys(has, DEFAULT_POLICY), **wanted}
    return sorted((of, policy) for of, policy in wanted.items() if policy != has.get(of, DEFAULT_POLICY))


async def _apply_policy(
    connection: Connection,
    ledger_id: int,
    reached: int,
    before: PolicyByKind,
    after: PolicyByKind,
    source: str,
    kind: str,
) -> None:
    keys = await _conflicting_keys(connection, ledger_id, source, kind, reached)
    gone: list[RecordedFact] = []
    new: list[RecordedFact] = []
    for key in sorted(keys):
        events = [event for event in await events_with_key(connection, ledger_id, key) if event.position <= reached]
        had = {event.position: event for event in select_by_policy(events, before)}
        has = {event.position: event for event in select_by_policy(events, after)}
        await record_retracted(connection, ledger_id, events, after)
        gone += await facts_of(connection, ledger_id, [had[at] for at in sorted(had.keys() - has.keys())])
        new += await facts_of(connection, ledger_id, [has[at] for at in sorted(has.keys() - had.keys())])
    await store.delete_facts(connection, ledger_id, [*gone, *new])  # facts may have been taken over as they are now
    await store.write_facts(connection, ledger_id, new)
    await refold_from_facts(connection, ledger_id, [*gone, *new])


async def _conflicting_keys(connection: Connection, ledger_id: int, source: str, kind: str, reached: int) -> set[bytes]:
    return {key[:KEY_BYTES] for key in await conflicts_of_kind(connection, ledger_id, source, kind, reached)}
