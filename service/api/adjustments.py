"""Adjustments of an account: make, reverse and list them."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta

from ledger.errors import AdjustmentDiffers, NotAwaited, NothingToAdopt, RequestInvalid
from ledger.store.read import tail
from ledger.vendors.fields import as_points
from service.api.answers.accounts import AdjustmentPage, AdjustmentResultAnswer
from service.api.dry_runs import DRY_RUN, dry_run_response
from service.api.requests.admission import change, get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.idempotency import idempotency_key
from service.api.requests.json_bodies import Authored, read_json_body
from service.api.requests.open_query import open_query
from service.api.requests.parameters import LIMIT, PAGE
from service.api.responses import json_response, page_response
from service.formatting import cut_page, decode_cursor
from service.operations.adjust import AdjustmentResult, adjust, plan_adjustment, plan_reversal, reverse
from service.queries.accounts import find_account
from service.queries.context import QueryContext
from service.queries.freshness import freshness

POINTS_SCHEMA = {"type": ["string", "integer", "null"]}

ADJUSTMENTS = """
    SELECT adjustment AS id, account_id AS account, points, adopted, made_at, made_by, reversed_at, reversed_by,
           position, nullif(reversal_position, 0) AS reversal_position
      FROM adjustments WHERE ledger_id = $1 AND account_id = $2 AND adjustment > $3 ORDER BY adjustment LIMIT $4
"""


class AdjustmentBody(Authored, forbid_unknown_fields=True):
    """A change of a balance: either `points`, or `"adopt": true` to adopt the vendor's last claim."""

    points: Annotated[
        Any, Meta(description="Below zero to take points away.", examples=["-20"], extra_json_schema=POINTS_SCHEMA)
    ] = None
    adopt: bool = False
    id: Annotated[str, Meta(description="The id. Default: the Idempotency-Key, or a random one.")] = ""
    expires_on: Annotated[date | None, Meta(description="The last day of added points.")] = None

    def points_or_claim(self) -> Decimal | None:
        """Return the points of the adjustment, or None to adopt the claim. Raises RequestInvalid."""
        if self.adopt is (self.points is not None):
            raise RequestInvalid('the body must have either `points` or `"adopt": true`')
        if self.adopt:
            return None
        try:
            return as_points(self.points)
        except ValueError as error:
            raise RequestInvalid(f'`points` must be a whole number, or a string such as "-12.5": {error}') from None


async def post_adjustment(request: web.Request) -> web.Response:
    """Adjust the balance of an account.

    Points are added or taken away, or the vendor's last claim is adopted. Author and reason are stored encrypted. The
    Idempotency-Key is the id of the adjustment, unless the body has an `id`. An adjustment of one id is made once: the
    answer has status 201, or 200 if it was made before.
    """
    body = await read_json_body(request, AdjustmentBody)
    points = body.points_or_claim()
    name = body.id or idempotency_key(request)
    if body.expires_on is not None and (points is None or points < 0):
        raise RequestInvalid("`expires_on` is allowed only if points are added")
    async with open_query(request, "admin") as query:
        await _await_all_rows(request, query)
        account = await find_account(query, request.match_info["id"])
        vault, author = request.app[APP_CONTEXT].vault, body.author_of(query)
        of = (query.connection, vault, query.ledger, account["account_id"], points, author)
        if DRY_RUN.of(request):
            plan = plan_adjustment(*of, adjustment=name, expires_on=body.expires_on)
            return await dry_run_response(query, plan)
        adjusted = await adjust(*of, adjustment=name, expires_on=body.expires_on)
        return _adjustment_response(request, adjusted)


async def post_reversal(request: web.Request) -> web.Response:
    """Reverse an adjustment.

    An adjustment is reversed once: the answer has status 201, or 200 if it was reversed before.
    """
    body = await read_json_body(request, Authored)
    async with open_query(request, "admin") as query:
        await _await_all_rows(request, query)
        account = await find_account(query, request.match_info["id"])
        vault, adjustment = request.app[APP_CONTEXT].vault, request.match_info["adjustment"]
        author = body.author_of(query)
        of = (query.connection, vault, query.ledger, account["account_id"], adjustment, author)
        if DRY_RUN.of(request):
            return await dry_run_response(query, plan_reversal(*of))
        adjusted = await reverse(*of)
        return _adjustment_response(request, adjusted)


async def list_adjustments(request: web.Request) -> web.Response:
    """List the adjustments of an account.

    They are listed by id, reversed ones included. Author and reason are encrypted in the event at `position`.
    """
    after = decode_cursor(request.query.get("cursor"), str) or [""]
    limit = LIMIT.of(request)
    async with open_query(request) as query:
        account = await find_account(query, request.match_info["id"])
        account_id = account["account_id"]
        rows = await query.connection.fetch(ADJUSTMENTS, query.ledger.ledger_id, account_id, after[0], limit + 1)
        shown, cursor = cut_page(rows, limit, lambda row: (row["id"],))
        return page_response(request, [dict(row) for row in shown], cursor, **await freshness(query))


async def _await_all_rows(request: web.Request, query: QueryContext) -> None:
    """Wait until the rows reflect the whole ledger, so that the newest claim is adopted. Raises NotAwaited."""
    context, ledger_id = request.app[APP_CONTEXT], query.ledger.ledger_id
    position = await tail(query.connection, ledger_id)
    if position and not await context.progress.wait_for(ledger_id, position, context.settings.wait_seconds_max):
        raise NotAwaited(f"position {position} within {context.settings.wait_seconds_max:g} s")


def _adjustment_response(request: web.Request, adjusted: AdjustmentResult) -> web.Response:
    request.app[APP_CONTEXT].progress.notify_appended()
    return json_response(adjusted._asdict(), 201 if adjusted.outcome == "appended" else 200)


ADJUSTMENTS_PATH = "/v1/accounts/{id}/adjustments"
OPERATIONS = (
    change(
        "POST",
        ADJUSTMENTS_PATH,
        post_adjustment,
        DRY_RUN,
        tag="adjustments",
        body=AdjustmentBody,
        answer=AdjustmentResultAnswer,
        status=201,
        errors=(NothingToAdopt, AdjustmentDiffers),
    ),
    get(ADJUSTMENTS_PATH, list_adjustments, *PAGE, tag="adjustments", answer=AdjustmentPage),
    change(
        "POST",
        f"{ADJUSTMENTS_PATH}/{{adjustment}}/reversal",
        post_reversal,
        DRY_RUN,
        tag="adjustments",
        body=Authored,
        answer=AdjustmentResultAnswer,
        status=201,
    ),
)
