"""Change how conflicts of one kind of event are settled, and let the rows follow, at once."""

from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.facts import Told
from ledger.identify import KEY_BYTES
from ledger.interpret import interpret
from ledger.read import conflicts_of_kind, twins
from projections import store
from projections.advance import refold
from projections.conflicts import POLICIES, policies_of, winners
from projections.withdrawn import note_withdrawn

SET_POLICY = """
    INSERT INTO ledger.conflict_policies (ledger_id, source, kind, policy) VALUES ($1, $2, $3, $4)
    ON CONFLICT (ledger_id, source, kind) DO UPDATE SET policy = excluded.policy
"""


async def set_policy(connection: Connection, ledger_id: int, source: str, kind: str, policy: str) -> int:
    """Settle all conflicts of a kind by another policy, past ones too; give how many conflicts that is.

    Raises RequestInvalid for an unknown policy.
    """
    if policy not in POLICIES:
        raise RequestInvalid(f"a policy is one of {', '.join(POLICIES)}: {policy}")
    async with connection.transaction():
        reached = await store.hold_checkpoint(connection, ledger_id)
        before = await policies_of(connection, ledger_id)
        await connection.execute(SET_POLICY, ledger_id, source, kind, policy)
        after = {**before, (source, kind): policy}
        keys = {key[:KEY_BYTES] for key in await conflicts_of_kind(connection, ledger_id, source, kind, reached)}
        gone: list[Told] = []
        new: list[Told] = []
        for key in sorted(keys):
            events = [event for event in await twins(connection, ledger_id, key) if event.position <= reached]
            had = {event.position: event for event in winners(events, before)}
            has = {event.position: event for event in winners(events, after)}
            await note_withdrawn(connection, ledger_id, events, after)
            gone += [one for at in had.keys() - has.keys() for one in interpret(had[at]).told]
            new += [one for at in has.keys() - had.keys() for one in interpret(has[at]).told]
        await store.delete_facts(connection, ledger_id, gone)
        await store.write_facts(connection, ledger_id, new)
        await refold(connection, ledger_id, [*gone, *new])
    return len(keys)
