"""Sets the policy for conflicts of one source and kind, by an internal event. The rows follow at once."""

from typing import NamedTuple

from ledger.database import Connection
from ledger.privacy.vault import Vault
from ledger.store.registry import Ledger
from projections.engine.conflict_policies import check_policy, follow_policies
from projections.engine.conflicts import DEFAULT_POLICY, POLICY_SET
from service.operations.record import record_event


class PolicyChange(NamedTuple):
    """A policy, the number of conflicts that it decides, and the position of its event. The position is None if nothing
    changed.
    """

    source: str
    kind: str
    policy: str
    conflicts: int
    position: int | None


async def set_conflict_policy(
    connection: Connection, vault: Vault, ledger: Ledger, source: str, kind: str, policy: str, *, by: str
) -> PolicyChange:
    """Set the policy for all conflicts of a kind, past ones included. Raises RequestInvalid for an unknown policy,
    source or kind.
    """
    async with connection.transaction():
        change = await check_policy(connection, ledger.ledger_id, source, kind, policy)
        position = None
        if change.before != policy:
            position = await record_event(
                connection,
                vault,
                ledger,
                POLICY_SET,
                vendor=source,
                events=kind,
                policy=policy,
                before=change.before or DEFAULT_POLICY,
                by=by,
            )
            await follow_policies(connection, ledger.ledger_id)
    return PolicyChange(source, kind, policy, change.conflicts, position)
