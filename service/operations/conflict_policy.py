"""Settle conflicts of one kind by another policy: the rows follow at once, and an event of ours says so for ever."""

from typing import NamedTuple

from ledger.database import Connection
from ledger.privacy.vault import Vault
from ledger.store.registry import Ledger
from projections.engine.conflict_policies import check_policy, follow_policies
from projections.engine.conflicts import DEFAULT_POLICY, POLICY_SET
from service.operations.record import record_event


class PolicyChange(NamedTuple):
    """How many conflicts are settled by the policy, and where the act stands in the ledger; None where the policy was
    that already."""

    source: str
    kind: str
    policy: str
    conflicts: int
    position: int | None


async def set_conflict_policy(
    connection: Connection, vault: Vault, ledger: Ledger, source: str, kind: str, policy: str, *, by: str
) -> PolicyChange:
    """Settle all conflicts of a kind by a policy, past ones too. Raises RequestInvalid for what is no policy, source or
    kind."""
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
