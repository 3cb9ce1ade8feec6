"""Move the endpoints of a ledger to another installation, with their cursors and the notices that were sent.

Only one of both installations sends at a time:

1. In the transaction that closes the ledger here, endpoints are disabled here, and copied there as disabled ones.
2. After its commit, `enable_moved` enables them there.

So a move that fails leaves them at work here. One that dies between the steps leaves them disabled there, with the
reason `moved`, and the alert for stopped endpoints fires there. Positions are the same in both, so nothing is sent
twice but a request that was on its way. The log of attempts stays here.
"""

from collections.abc import Sequence

from ledger import clock
from ledger.database import Connection
from ledger.privacy.encryption import MasterKey
from ledger.store.registry import Ledger
from ledger.store.row_macs import endpoint_context, mac_of
from service.outgoing.corrections import GENERATION, PREFIX
from service.outgoing.endpoint_options import stored_types
from service.outgoing.endpoints import (
    CREATE_ENDPOINT,
    DELETE_ENDPOINT,
    Endpoint,
    disable_endpoint,
    enable_endpoint,
    find_endpoint,
    list_endpoints,
)

MOVED = "moved"  # the reason of an endpoint that waits for the end of a move
CURSOR_COLUMNS = "position, ordinal, attempts, succeeded"
READ_CURSOR = f"""
    SELECT {CURSOR_COLUMNS}, stop_reason FROM outgoing.cursors WHERE ledger_id = $1 AND endpoint_id = $2 FOR UPDATE
"""  # noqa: S608
INSERT_CURSOR = f"""
    INSERT INTO outgoing.cursors (ledger_id, endpoint_id, {CURSOR_COLUMNS}, stop_reason)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""  # noqa: S608
# Generations of the other installation have other names.
READ_NOTICES = """
    SELECT type, subject, due_at FROM outgoing.notices
     WHERE ledger_id = $1 AND endpoint_id = $2 AND type <> $3 AND subject NOT LIKE $4
"""
INSERT_NOTICE = """
    INSERT INTO outgoing.notices (ledger_id, endpoint_id, type, subject, due_at) VALUES ($1, $2, $3, $4, $5)
"""


async def move_endpoints(
    source: Connection, target: Connection, ledger: Ledger, copy: Ledger, source_key: MasterKey, target_key: MasterKey
) -> list[str]:
    """Copy the endpoints of `ledger` to its copy, and disable them here. Return the ids of those to enable there.

    Copies of a move that was broken off are replaced. Call inside a transaction of `source`.
    """
    enabled = []
    for endpoint in await list_endpoints(source, source_key, ledger):
        if endpoint.disabled_at is None:
            enabled.append(endpoint.endpoint_id)
            await disable_endpoint(source, source_key, endpoint)  # a sender at work moves its cursor no more
        async with target.transaction():
            await _copy_endpoint(source, target, endpoint, copy, target_key)
    return enabled


async def enable_moved(target: Connection, target_key: MasterKey, endpoint_ids: Sequence[str]) -> None:
    """Enable endpoints of a ledger that has moved here."""
    for endpoint_id in endpoint_ids:
        await enable_endpoint(target, target_key, await find_endpoint(target, target_key, endpoint_id))


async def _copy_endpoint(
    source: Connection, target: Connection, endpoint: Endpoint, copy: Ledger, target_key: MasterKey
) -> None:
    ids, copied_ids = (endpoint.ledger.ledger_id, endpoint.endpoint_id), (copy.ledger_id, endpoint.endpoint_id)
    for statement in DELETE_ENDPOINT:
        await target.execute(statement, *copied_ids)
    row = {
        "ledger_id": copy.ledger_id,
        "endpoint_id": endpoint.endpoint_id,
        "url": endpoint.url,
        "types": stored_types(endpoint.types, corrections=endpoint.corrections),
        "kinds": list(endpoint.kinds),
        "events_per_request": endpoint.events_per_request,
        "notice_days": endpoint.notice_days,
        "secrets": [target_key.encrypt(secret, endpoint_context(*copied_ids)) for secret in endpoint.secrets],
        "created_at": endpoint.created_at,
        "disabled_at": endpoint.disabled_at or clock.now(),
        "label": endpoint.label,
    }
    await target.execute(CREATE_ENDPOINT, *row.values(), mac_of(target_key, "endpoints", row))
    *cursor, stop_reason = await source.fetchrow(READ_CURSOR, *ids)
    reason = MOVED if endpoint.disabled_at is None else stop_reason
    await target.execute(INSERT_CURSOR, *copied_ids, *cursor, reason)
    notices = await source.fetch(READ_NOTICES, *ids, GENERATION, f"{PREFIX}%")
    await target.executemany(INSERT_NOTICE, [(*copied_ids, *notice) for notice in notices])
