"""The connections of a ledger, and the last arrival of each kind of event over them."""

from datetime import datetime
from typing import NamedTuple

from service.queries.context import QueryContext

PAIRS_MAX = 500

# The index is skipped through, as in service/reconciliation/silence.py, so the cost does not grow with the events.
ACTIVITY = """
    WITH RECURSIVE pairs AS (
        (SELECT connection_id, kind FROM ledger.events WHERE ledger_id = $1 ORDER BY connection_id, kind LIMIT 1)
        UNION ALL
        SELECT following.connection_id, following.kind FROM pairs p CROSS JOIN LATERAL (
            SELECT e.connection_id, e.kind FROM ledger.events e
             WHERE e.ledger_id = $1 AND (e.connection_id, e.kind) > (p.connection_id, p.kind)
             ORDER BY e.connection_id, e.kind LIMIT 1) following
    ),
    shown AS (SELECT * FROM pairs LIMIT $2)
    SELECT s.connection_id, c.source, s.kind, c.disabled_at,
           (SELECT e.recorded_at FROM ledger.events e
             WHERE e.ledger_id = $1 AND e.connection_id = s.connection_id AND e.kind = s.kind
             ORDER BY e.recorded_at DESC LIMIT 1) AS last_at
      FROM shown s
      LEFT JOIN ledger.connections c ON c.ledger_id = $1 AND c.connection_id = s.connection_id
     ORDER BY s.connection_id, s.kind
"""


class KindActivity(NamedTuple):
    """One kind of event over one connection. `connection_id` is "-" for events of this system."""

    connection_id: str
    source: str | None
    kind: str
    disabled_at: datetime | None
    last_at: datetime


async def read_activity(query: QueryContext) -> list[KindActivity]:
    """Return the kinds of events of each connection with their last arrival: at most PAIRS_MAX."""
    rows = await query.connection.fetch(ACTIVITY, query.ledger.ledger_id, PAIRS_MAX)
    return [KindActivity(*row) for row in rows]
