"""Accounting periods: the closed months, their figures, and items reported after the close."""

from typing import Any

from aiohttp import web

from ledger.store.read import tail
from service.api.requests.admission import PAGE, change, get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import await_rows, open_query, parse_limit
from service.api.responses import json_response, page_response
from service.finance.period_report import PERIODS, period_json
from service.finance.periods import (
    close_period,
    reopen_period,
)
from service.finance.requests import parse_period
from service.formatting import cut_page, decode_cursor
from service.queries.freshness import freshness


async def list_periods(request: web.Request) -> web.Response:
    """GET /v1/periods: every month that was ever closed, in order."""
    after = decode_cursor(request.query.get("cursor"), str) or [""]
    limit = parse_limit(request)
    async with open_query(request) as query:
        rows = await query.connection.fetch(PERIODS, query.ledger.ledger_id, after[0], limit + 1)
        shown, cursor = cut_page(rows, limit, lambda row: (row["period"],))
        return page_response([dict(row) for row in shown], cursor, **await freshness(query))


async def get_period(request: web.Request) -> web.Response:
    """GET /v1/periods/2026-03: the figures of a month, and its prior-period items.

    - Prior-period items are points of the closed period before, reported after that was closed.
    - A closed month also has `later_items`: points reported since its close.
    - More than ITEMS_MAX items are cut, and "truncated" is true.
    """
    period = parse_period(request.match_info["period"])
    async with open_query(request, heavy=True) as query:
        return json_response({**await period_json(query, period), **await freshness(query)})


async def post_close(request: web.Request) -> web.Response:
    """POST /v1/periods/2026-03/close: fix the month as it is known now. Scope `admin`."""
    return await _change_period(request, close_period)


async def post_reopen(request: web.Request) -> web.Response:
    """POST /v1/periods/2026-03/reopen: undo the close of the last closed month. Scope `admin`."""
    return await _change_period(request, reopen_period)


async def _change_period(request: web.Request, change: Any) -> web.Response:
    period = parse_period(request.match_info["period"])
    context = request.app[APP_CONTEXT]
    async with open_query(request, "admin") as query:
        await await_rows(query, request, await tail(query.connection, query.ledger.ledger_id))
        position = await change(query.connection, context.vault, query.ledger, period, by=f"key {query.key_id}")
        context.progress.notify_appended()
        return json_response({"period": period, "position": position})


ROUTES = [
    get("/v1/periods", list_periods, *PAGE),
    get("/v1/periods/{period}", get_period),
    change("POST", "/v1/periods/{period}/close", post_close),
    change("POST", "/v1/periods/{period}/reopen", post_reopen),
]
