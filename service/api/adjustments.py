"""Adjustments of an account: make, reverse and list them."""

from datetime import date
from decimal import Decimal
from typing import Any

from aiohttp import web

from ledger.errors import NotAwaited, RequestInvalid
from ledger.store.read import tail
from ledger.vendors.fields import as_points
from service.api.requests.admission import PAGE, change, get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.json_bodies import read_author, read_json_body, read_text
from service.api.requests.open_query import open_query, parse_limit
from service.api.responses import json_response, page_response
from service.formatting import cut_page, decode_cursor
from service.operations.adjust import AdjustmentResult, adjust, reverse
from service.queries.accounts import find_account
from service.queries.context import QueryContext
from service.queries.freshness import freshness

ADJUSTMENTS = """
    SELECT adjustment, account_id AS account, points, adopted, made_at, made_by, reversed_at, reversed_by,
           position, nullif(reversal_position, 0) AS reversal_position
      FROM adjustments WHERE ledger_id = $1 AND account_id = $2 AND adjustment > $3 ORDER BY adjustment LIMIT $4
"""


async def post_adjustment(request: web.Request) -> web.Response:
    """POST /v1/accounts/{id}/adjustments: change a balance, or adopt the vendor's last claim. Scope `admin`.

    The body has "points": "-20" or "adopt": true, and "author" and "reason", which are stored encrypted. An
    Idempotency-Key header, or "adjustment" in the body, makes a repeated request harmless.

    201 {"adjustment", "account", "points", "position", "outcome"}, or 200 if it was made before. 409 if there is
    nothing to adopt. 422 if its id belongs to another adjustment.
    """
    body = await read_json_body(request)
    points = _parse_points(body)
    name = request.headers.get("Idempotency-Key", "").strip().strip('"') or read_text(body, "adjustment") or None
    expires_on = _parse_day(body.get("expires_on"))
    if expires_on is not None and (points is None or points < 0):
        raise RequestInvalid("`expires_on` is allowed only if points are added")
    async with open_query(request, "admin") as query:
        await _await_all_rows(request, query)
        account = await find_account(query, request.match_info["id"])
        adjusted = await adjust(
            query.connection,
            request.app[APP_CONTEXT].vault,
            query.ledger,
            account["account_id"],
            points,
            read_author(query, body),
            adjustment=name,
            expires_on=expires_on,
        )
        return _adjustment_response(request, adjusted)


async def post_reversal(request: web.Request) -> web.Response:
    """POST /v1/accounts/{id}/adjustments/{adjustment}/reversal with author and reason: reverse it once. Scope `admin`.

    201, or 200 if it was reversed before.
    """
    body = await read_json_body(request)
    async with open_query(request, "admin") as query:
        await _await_all_rows(request, query)
        account = await find_account(query, request.match_info["id"])
        vault, adjustment = request.app[APP_CONTEXT].vault, request.match_info["adjustment"]
        adjusted = await reverse(
            query.connection, vault, query.ledger, account["account_id"], adjustment, read_author(query, body)
        )
        return _adjustment_response(request, adjusted)


async def list_adjustments(request: web.Request) -> web.Response:
    """GET /v1/accounts/{id}/adjustments: all adjustments by id, reversed ones included.

    Author and reason are encrypted in the event at `position`.
    """
    after = decode_cursor(request.query.get("cursor"), str) or [""]
    limit = parse_limit(request)
    async with open_query(request) as query:
        account = await find_account(query, request.match_info["id"])
        account_id = account["account_id"]
        rows = await query.connection.fetch(ADJUSTMENTS, query.ledger.ledger_id, account_id, after[0], limit + 1)
        shown, cursor = cut_page(rows, limit, lambda row: (row["adjustment"],))
        return page_response([dict(row) for row in shown], cursor, **await freshness(query))


async def _await_all_rows(request: web.Request, query: QueryContext) -> None:
    """Wait until the rows reflect the whole ledger, so that the newest claim is adopted. Raises NotAwaited."""
    context, ledger_id = request.app[APP_CONTEXT], query.ledger.ledger_id
    position = await tail(query.connection, ledger_id)
    if position and not await context.progress.wait_for(ledger_id, position, context.settings.wait_seconds_max):
        raise NotAwaited(f"position {position} within {context.settings.wait_seconds_max:g} s")


def _adjustment_response(request: web.Request, adjusted: AdjustmentResult) -> web.Response:
    request.app[APP_CONTEXT].progress.notify_appended()
    return json_response(adjusted._asdict(), 201 if adjusted.outcome == "appended" else 200)


def _parse_points(body: dict[str, Any]) -> Decimal | None:
    """Return the points of an adjustment, or None to adopt the claim. Raises RequestInvalid."""
    adopt = body.get("adopt", False)
    if not isinstance(adopt, bool) or adopt is ("points" in body):
        raise RequestInvalid('the body must have either `points` or `"adopt": true`')
    if adopt:
        return None
    try:
        return as_points(body["points"])
    except ValueError as error:
        raise RequestInvalid(f'`points` must be a whole number, or a string such as "-12.5": {error}') from None


def _parse_day(text: object) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        raise RequestInvalid("`expires_on` must be a day, such as 2026-12-31") from None


ROUTES = [
    change("POST", "/v1/accounts/{id}/adjustments", post_adjustment),
    get("/v1/accounts/{id}/adjustments", list_adjustments, *PAGE),
    change("POST", "/v1/accounts/{id}/adjustments/{adjustment}/reversal", post_reversal),
]
