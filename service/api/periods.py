"""Accounting periods: the closed months, their figures, and items reported after the close."""

from typing import Any

from aiohttp import web

from ledger.errors import PeriodNotClosable
from ledger.store.read import tail
from service.api.answers.finance import PeriodChanged, PeriodDetails, PeriodPage
from service.api.dry_runs import DRY_RUN, dry_run_response
from service.api.requests.admission import change, get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import await_rows, open_query
from service.api.requests.parameters import LIMIT, PAGE
from service.api.responses import json_response, page_response
from service.finance.period_close import plan_close, plan_reopening
from service.finance.period_report import PERIODS, period_json
from service.finance.requests import parse_period
from service.formatting import cut_page, decode_cursor
from service.operations.record import record_plan
from service.queries.freshness import freshness


async def list_periods(request: web.Request) -> web.Response:
    """List every month that was ever closed, in order."""
    after = decode_cursor(request.query.get("cursor"), str) or [""]
    limit = LIMIT.of(request)
    async with open_query(request) as query:
        rows = await query.connection.fetch(PERIODS, query.ledger.ledger_id, after[0], limit + 1)
        shown, cursor = cut_page(rows, limit, lambda row: (row["period"],))
        return page_response(request, [dict(row) for row in shown], cursor, **await freshness(query))


async def get_period(request: web.Request) -> web.Response:
    """Return the figures of a month, and its prior-period items.

    - Prior-period items are points of the closed period before, reported after that was closed.
    - A closed month also has `later_items`: points reported since its close.
    - More than 10,000 items are cut, and `truncated` is true.
    """
    period = parse_period(request.match_info["period"])
    async with open_query(request, heavy=True) as query:
        return json_response({**await period_json(query, period), **await freshness(query)})


async def post_close(request: web.Request) -> web.Response:
    """Close a month: fix its figures as they are known now."""
    return await _change_period(request, plan_close)


async def post_reopen(request: web.Request) -> web.Response:
    """Reopen a month: undo the close of the last closed month."""
    return await _change_period(request, plan_reopening)


async def _change_period(request: web.Request, plan_change: Any) -> web.Response:
    period = parse_period(request.match_info["period"])
    context = request.app[APP_CONTEXT]
    is_dry_run = DRY_RUN.of(request)
    async with open_query(request, "admin", heavy=is_dry_run, apart=True) as query:
        await await_rows(query, request, await tail(query.connection, query.ledger.ledger_id))
        plan = plan_change(query.connection, context.vault, query.ledger, period, by=f"key {query.key_id}")
        if is_dry_run:
            return await dry_run_response(query, plan)
        changed = await record_plan(query.connection, context.vault, query.ledger, await plan)
        context.progress.notify_appended()
        return json_response(changed._asdict())


CLOSING: dict[str, Any] = {"tag": "finance", "answer": PeriodChanged, "errors": (PeriodNotClosable,)}

OPERATIONS = (
    get("/v1/periods", list_periods, *PAGE, tag="finance", answer=PeriodPage),
    get("/v1/periods/{period}", get_period, tag="finance", answer=PeriodDetails),
    change("POST", "/v1/periods/{period}/close", post_close, DRY_RUN, **CLOSING),
    change("POST", "/v1/periods/{period}/reopen", post_reopen, DRY_RUN, **CLOSING),
)
