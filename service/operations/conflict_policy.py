"""Sets the policy for conflicts of one source and kind, by an internal event. The rows follow at once."""

from typing import NamedTuple

from ledger.database import Connection
from ledger.privacy.vault import Vault
from ledger.store.registry import Ledger
from projections.engine import store
from projections.engine.conflict_policies import check_policy, facts_changed_by_policy, follow_policies
from projections.engine.conflicts import DEFAULT_POLICY, POLICY_SET
from projections.queries.preview import FactChange
from service.operations.record import Planned, build_event, record_plan


class PolicyChange(NamedTuple):
    """A policy, the number of conflicts that it decides, and the position of its event. The position is None if nothing
    changed, and in a dry run.
    """

    source: str
    kind: str
    policy: str
    conflicts: int
    position: int | None


async def set_conflict_policy(
    connection: Connection, vault: Vault, ledger: Ledger, source: str, kind: str, policy: str, *, by: str
) -> PolicyChange:
    """Set the policy for all conflicts of a kind, past ones included; see `plan_conflict_policy`."""
    async with connection.transaction():
        await store.hold_checkpoint(connection, ledger.ledger_id)
        planned = await plan_conflict_policy(connection, vault, ledger, source, kind, policy, by=by)
        change = await record_plan(connection, vault, ledger, planned)
        await follow_policies(connection, ledger.ledger_id)
    return change


async def plan_conflict_policy(
    connection: Connection, vault: Vault, ledger: Ledger, source: str, kind: str, policy: str, *, by: str
) -> Planned[PolicyChange]:
    """Plan to set the policy for all conflicts of a kind, past ones included.

    Raises RequestInvalid for an unknown policy, source or kind.
    """
    found = await check_policy(connection, ledger.ledger_id, source, kind, policy)
    change = PolicyChange(source, kind, policy, found.conflicts, None)
    if found.before == policy:
        return Planned(change)
    before = found.before or DEFAULT_POLICY
    delivery = build_event(vault, ledger, POLICY_SET, vendor=source, events=kind, policy=policy, before=before, by=by)
    return Planned(change, delivery)


async def plan_with_facts(
    connection: Connection, vault: Vault, ledger: Ledger, source: str, kind: str, policy: str, *, by: str
) -> Planned[PolicyChange]:
    """Plan as `plan_conflict_policy` does, for a dry run: with the facts that the policy adds and removes."""
    planned = await plan_conflict_policy(connection, vault, ledger, source, kind, policy, by=by)
    if planned.delivery is None:
        return planned
    facts = await facts_changed_by_policy(connection, ledger.ledger_id, source, kind, policy)
    return planned._replace(change=FactChange(facts.added, facts.removed))
