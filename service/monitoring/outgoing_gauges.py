"""Read the gauges of outgoing webhooks: the lag, the failures and the attempts of each endpoint."""

import asyncpg

from ledger.database import Connection, has_several_servers
from ledger.store.registry import list_ledgers
from service.monitoring import samples
from service.monitoring.samples import ENDPOINTS_MAX, Sample

ENDPOINTS = """
    SELECT l.name, e.endpoint_id, e.disabled_at IS NULL AS enabled, c.stop_reason,
           greatest(0, coalesce(tail.position, 0) - c.position) AS lag, c.succeeded, c.attempts - c.succeeded AS failed,
           coalesce(extract(epoch FROM clock_timestamp() - c.failing_since), 0)::float8 AS failing_seconds
      FROM (SELECT ledger_id, endpoint_id, disabled_at FROM outgoing.endpoints
             ORDER BY ledger_id, created_at LIMIT $1) e
      JOIN outgoing.cursors c ON c.ledger_id = e.ledger_id AND c.endpoint_id = e.endpoint_id
      JOIN ledger.ledgers l ON l.ledger_id = e.ledger_id
      LEFT JOIN LATERAL (SELECT v.position FROM ledger.events v WHERE v.ledger_id = e.ledger_id
                          ORDER BY v.position DESC LIMIT 1) tail ON true
"""

ENDPOINTS_OF_LEDGER = ENDPOINTS.replace("= e.ledger_id", "= $2").replace("ORDER BY", "WHERE ledger_id = $2 ORDER BY", 1)


async def read_outgoing_gauges(connection: Connection) -> list[Sample]:
    """Read the gauges of the first ENDPOINTS_MAX endpoints. A disabled endpoint has no lag."""
    found = []
    for row in await _fetch_endpoints(connection):
        labels = (row["name"], row["endpoint_id"])
        found += [
            Sample(samples.OUTGOING_ATTEMPTS, (*labels, "succeeded"), row["succeeded"]),
            Sample(samples.OUTGOING_ATTEMPTS, (*labels, "failed"), row["failed"]),
            Sample(samples.OUTGOING_STOPPED, labels, float(not row["enabled"] and row["stop_reason"] is not None)),
        ]
        if row["enabled"]:
            found += [
                Sample(samples.OUTGOING_LAG, labels, row["lag"]),
                Sample(samples.OUTGOING_FAILING, labels, max(0.0, row["failing_seconds"])),
            ]
    return found


async def _fetch_endpoints(connection: Connection) -> list[asyncpg.Record]:
    """Fetch the rows of all endpoints. With several servers, each ledger is asked by itself."""
    if not await has_several_servers(connection):
        return list(await connection.fetch(ENDPOINTS, ENDPOINTS_MAX))
    rows: list[asyncpg.Record] = []
    for ledger in await list_ledgers(connection):
        rows += await connection.fetch(ENDPOINTS_OF_LEDGER, ENDPOINTS_MAX - len(rows), ledger.ledger_id)
    return rows
