"""The position that an answer reflects, and the number of events that it is behind."""

from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext

FRESHNESS = """
    SELECT coalesce((SELECT position FROM checkpoints WHERE ledger_id = $1), 0) AS as_of_position,
           (SELECT coalesce(max(position), 0) FROM ledger.events WHERE ledger_id = $1) AS tail
"""


async def freshness(query: QueryContext, times: AsOfQuery | None = None) -> dict[str, int]:
    """Return the position of the rows, or the position asked for, and the number of events since then."""
    row = await query.connection.fetchrow(FRESHNESS, query.ledger.ledger_id)
    assert row is not None
    return freshness_of(row["as_of_position"], row["tail"], times)


def freshness_of(rows: int, tail: int, times: AsOfQuery | None) -> dict[str, int]:
    """Return the freshness of an answer as JSON."""
    if times is None or times.position is None:
        return {"as_of_position": rows, "events_behind": tail - rows}
    return {
        "as_of_position": times.position,
        "events_behind": tail - times.position,
    }
