"""Lots whose last day is within some days: their sums by programme and day, and the lots themselves."""

from datetime import date
from typing import Any, NamedTuple

from service.queries.context import QueryContext

LOTS_MAX = 1_000
DAYS_MAX = 1_000

SUMS = """
    SELECT programme, unit, expires_on, sum(remaining) AS points, count(*) AS lots,
           count(DISTINCT account_id) AS accounts
      FROM lots
     WHERE ledger_id = $1 AND remaining > 0 AND expires_on BETWEEN $2 AND $3 AND ($4::text IS NULL OR programme = $4)
     GROUP BY programme, unit, expires_on ORDER BY expires_on, programme, unit LIMIT $5
"""
LOTS = """
    SELECT account_id AS account, lot_id, programme, unit, expires_on, remaining AS points, earned_at, position
      FROM lots
     WHERE ledger_id = $1 AND remaining > 0 AND expires_on BETWEEN $2 AND $3 AND ($4::text IS NULL OR programme = $4)
     ORDER BY expires_on, remaining DESC, account_id, lot_id LIMIT $5
"""


class LapsingLots(NamedTuple):
    """Sums by programme and day, and the lots, those that lapse first and the largest of a day first."""

    sums: list[dict[str, Any]]
    lots: list[dict[str, Any]]


async def read_lapsing_lots(query: QueryContext, first: date, last: date, programme: str | None) -> LapsingLots:
    """Return the lots with points left whose last day is in the days from `first` to `last`, both included."""
    of = (query.ledger.ledger_id, first, last, programme)
    sums = await query.connection.fetch(SUMS, *of, DAYS_MAX)
    lots = await query.connection.fetch(LOTS, *of, LOTS_MAX)
    return LapsingLots([dict(row) for row in sums], [dict(row) for row in lots])
