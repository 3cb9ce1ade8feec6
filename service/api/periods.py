"""Accounting periods: which months are closed, what they came to, and what was told of them since."""

from contextlib import aclosing
from typing import Any

from aiohttp import web

from ledger.errors import SubjectUnknown
from ledger.store.read import tail
from projections.queries.roll_forward import RollForwardQuery
from service.api.admission import PAGE, change, get
from service.api.context import APP_CONTEXT
from service.api.finance import read_period
from service.api.requests import QueryContext, await_rows, freshness, limit_of, open_query
from service.finance.liability import liability_row_json
from service.finance.periods import (
    ITEMS_MAX,
    PriorPeriodItem,
    close_period,
    closed_on_eve,
    closings,
    days_of,
    later_items,
    liability,
    reopen_period,
)
from service.formatting import decode_cursor, encode_cursor, json_response, page_response

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


async def list_periods(request: web.Request) -> web.Response:
    """GET /v1/periods: the months that were ever closed, in order."""
    after = decode_cursor(request.query.get("cursor"), str) or [""]
    limit = limit_of(request)
    async with open_query(request) as read:
        rows = await read.connection.fetch(PERIODS, read.ledger.ledger_id, after[0], limit)
        cursor = encode_cursor(rows[-1]["period"]) if len(rows) == limit else None
        return page_response([dict(row) for row in rows], cursor, **await freshness(read))


async def get_period(request: web.Request) -> web.Response:
    """GET /v1/periods/2026-03: its figures, and the prior-period items that came into it: what was told of the period
    closed before it after that was closed. Of a closed one also `later_items`: what was told of it since. Of more than
    ITEMS_MAX items the rest is cut, and "truncated" is true."""
    period = read_period(request.match_info["period"])
    async with open_query(request, heavy=True) as read:
        return json_response({**await period_json(read, period), **await freshness(read)})


async def period_json(read: QueryContext, period: str) -> dict[str, Any]:
    """Show a period with its figures and items. Raises SubjectUnknown if nothing was outstanding in it."""
    ledger_id = read.ledger.ledger_id
    row = await read.connection.fetchrow(PERIOD, ledger_id, period)
    first, last = days_of(period)
    done = await liability(read.connection, ledger_id, RollForwardQuery(first, last, monthly=True), None)
    if row is None and not done.rows:
        raise SubjectUnknown(period, "nothing was outstanding in it")
    closed = await closings(read.connection, ledger_id)
    known = next((one.known_position for one in closed if one.period == period), None)
    before = closed_on_eve(closed, first)
    prior = await _items(read, before.last_day, before.known_position, known) if before is not None else []
    later = [] if known is None else await _items(read, last, known, None)
    totals = await read.connection.fetch(TOTALS, ledger_id, period)
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


async def _items(read: QueryContext, last: Any, known: int, now: int | None) -> list[PriorPeriodItem]:
    """Collect items; one more than ITEMS_MAX where there are more than that."""
    found = []
    async with aclosing(later_items(read.connection, read.ledger.ledger_id, last, known, now)) as items:
        async for item in items:
            found.append(item)
            if len(found) > ITEMS_MAX:
                break
    return found


async def post_close(request: web.Request) -> web.Response:
    """POST /v1/periods/2026-03/close: from now on the month is answered as it is known now. Scope admin."""
    return await _act(request, close_period)


async def post_reopen(request: web.Request) -> web.Response:
    """POST /v1/periods/2026-03/reopen: take the closing of the last closed month back. Scope admin."""
    return await _act(request, reopen_period)


async def _act(request: web.Request, work: Any) -> web.Response:
    period = read_period(request.match_info["period"])
    house = request.app[APP_CONTEXT]
    async with open_query(request, "admin") as read:
        await await_rows(read, request, await tail(read.connection, read.ledger.ledger_id))
        position = await work(read.connection, house.vault, read.ledger, period, by=f"key {read.key_id}")
        house.projector.notify_appended()
        return json_response({"period": period, "position": position})


ROUTES = [
    get("/v1/periods", list_periods, *PAGE),
    get("/v1/periods/{period}", get_period),
    change("POST", "/v1/periods/{period}/close", post_close),
    change("POST", "/v1/periods/{period}/reopen", post_reopen),
]
