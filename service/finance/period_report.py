"""One accounting period: its status, its figures, and the items that were reported late."""

from contextlib import aclosing
from typing import Any

from ledger.errors import SubjectUnknown
from projections.queries.roll_forward import RollForwardQuery
from service.finance.liability import liability_row_json
from service.finance.periods import (
    ITEMS_MAX,
    PriorPeriodItem,
    closed_periods,
    month_bounds,
    period_closed_before,
    prior_period_items,
    read_liability,
)
from service.queries.context import QueryContext

PERIODS = """
    SELECT subject AS period, status, first_day, last_day, known_position, closed_at, closed_by, reopenings FROM periods
     WHERE ledger_id = $1 AND subject > $2 ORDER BY subject LIMIT $3
"""

PERIOD = """
    SELECT subject AS period, status, first_day, last_day, known_position, closed_at, closed_by, reopenings FROM periods
     WHERE ledger_id = $1 AND subject = $2
"""

TOTALS = """
    SELECT programme, unit, opening, closing FROM period_totals WHERE ledger_id = $1 AND subject = $2
     ORDER BY programme, unit
"""


async def period_json(query: QueryContext, period: str) -> dict[str, Any]:
    """Return a period with its figures and items as JSON. Raises SubjectUnknown if nothing was outstanding in it."""
    ledger_id = query.ledger.ledger_id
    row = await query.connection.fetchrow(PERIOD, ledger_id, period)
    first, last = month_bounds(period)
    done = await read_liability(query.connection, ledger_id, RollForwardQuery(first, last, monthly=True), None)
    if row is None and not done.rows:
        raise SubjectUnknown(period, "no points were outstanding in it")
    closed = await closed_periods(query.connection, ledger_id)
    known = next((one.known_position for one in closed if one.period == period), None)
    before = period_closed_before(closed, first)
    prior = await _items(query, before.last_day, before.known_position, known) if before is not None else []
    later = [] if known is None else await _items(query, last, known, None)
    totals = await query.connection.fetch(TOTALS, ledger_id, period)
    return {
        **(dict(row) if row is not None else {"period": period, "status": "open"}),
        "totals_when_closed": [dict(total) for total in totals],
        "totals": [liability_row_json(one) for one in done.totals],
        "figures": [liability_row_json(one) for one in done.rows],
        "ties": not any(tie.difference for tie in done.ties),
        "prior_period_items": [item._asdict() for item in prior[:ITEMS_MAX]],
        "later_items": [item._asdict() for item in later[:ITEMS_MAX]],
        **({"truncated": True} if max(len(prior), len(later)) > ITEMS_MAX else {}),
    }


async def _items(query: QueryContext, last: Any, known: int, now: int | None) -> list[PriorPeriodItem]:
    """Return the items, at most ITEMS_MAX + 1."""
    found = []
    async with aclosing(prior_period_items(query.connection, query.ledger.ledger_id, last, known, now)) as items:
        async for item in items:
            found.append(item)
            if len(found) > ITEMS_MAX:
                break
    return found
