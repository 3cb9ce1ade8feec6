"""Orders. Vendors report items only; this file puts the items of an order together."""

from aiohttp import web

from projections.order_items import ORDER_ITEMS
from projections.queries.as_of import load_known
from service.api.answers.system import ListedOrder, Order, OrderPage, Refund
from service.api.dry_runs import DRY_RUN, dry_run_response
from service.api.list_answers import FILES, LIST_PARAMETERS, AskedList, ReadableList, answer_list
from service.api.lists import filter_parameter
from service.api.requests.admission import change, get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.json_bodies import Authored, read_json_body
from service.api.requests.open_query import open_query, parse_as_of
from service.api.requests.parameters import TIMES
from service.api.responses import json_response
from service.formatting import decode_cursor
from service.operations.refund import plan_refund, post_refund
from service.queries.context import QueryContext
from service.queries.freshness import freshness
from service.queries.listing.lists import resolve_references
from service.queries.listing.orders import (
    FILTERS,
    count_known_orders,
    count_orders,
    read_known_orders,
    read_orders,
    sums_of,
)
from service.queries.references import expand_reference, require_single
from service.queries.subjects import fold_first_row, former_subjects, row_json

ITEMS_MAX = 1_000
ITEM = "SELECT subject FROM order_items WHERE ledger_id = $1 AND subject = ANY ($2)"
ITEMS = """
    SELECT * FROM order_items WHERE ledger_id = $1 AND order_id = ANY ($2) ORDER BY order_id, subject LIMIT $3
"""


async def list_orders(request: web.Request) -> web.StreamResponse:
    """List the orders, each with the sums of its items.

    An order is listed if one of its items matches all filters. With `at`, `known_at` or `as_of_position` every item is
    folded on the spot: a page may have few orders and still a `next`.
    """
    values = {name: value for name, one in PARAMETERS.items() if (value := one.of(request)) is not None}
    after = decode_cursor(request.query.get("cursor"), str)

    async def resolve(query: QueryContext) -> ReadableList:
        times = await parse_as_of(query, request)
        resolved = await resolve_references(query, FILTERS, values)
        as_of = times.as_of

        async def fresh(query: QueryContext) -> dict[str, int]:
            return await freshness(query, times)

        if not times.given:
            return ReadableList(
                lambda query, after, limit: read_orders(query, resolved, after, limit),
                lambda query: count_orders(query, resolved),
                fresh,
            )
        return ReadableList(
            lambda query, after, limit: read_known_orders(query, resolved, as_of, after, limit),
            lambda query: count_known_orders(query, resolved, as_of),
            fresh,
        )

    columns = list(ListedOrder.__annotations__)
    return await answer_list(request, AskedList("orders", columns, None if after is None else tuple(after), resolve))


async def get_order(request: web.Request) -> web.Response:
    """Return an order: its items, the points paid, and the points due back.

    An order of more than 1,000 items is cut, and `truncated` is true.
    """
    name = request.match_info["id"]
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        refs = await expand_reference(query, name)
        most = None if times.given else ITEMS_MAX + 1
        found = await query.connection.fetch(ITEMS, query.ledger.ledger_id, refs, most)
        rows = [row_json(row) for row in found]
        if times.given:
            items = {row["id"] for row in rows}
            for ref in refs:
                items.update(await former_subjects(query, ORDER_ITEMS, ref, times))
            groups = await load_known(query.connection, query.ledger.ledger_id, ORDER_ITEMS, sorted(items), times.as_of)
            known_rows = [row for known in groups for row in [fold_first_row(ORDER_ITEMS, known)] if row]
            rows = [row for row in known_rows if row["order_id"] in refs]
        is_truncated = len(rows) > ITEMS_MAX
        rows = rows[:ITEMS_MAX]
        order = require_single(sorted({row["order_id"] for row in rows}), name)
        return json_response(
            {
                "id": order,
                **sums_of(rows),
                "items": rows,
                **({"truncated": True} if is_truncated else {}),
                **await freshness(query, times),
            }
        )


class RefundBody(Authored, forbid_unknown_fields=True):
    """The author and the reason of a refund, and the reference of the payment."""

    reference: str = ""


async def post_item_refund(request: web.Request) -> web.Response:
    """Record that the points due back for a missing order item were given back."""
    body = await read_json_body(request, RefundBody)
    context = request.app[APP_CONTEXT]
    async with open_query(request, "admin") as query:
        name = request.match_info["id"]
        refs = await expand_reference(query, name)
        rows = await query.connection.fetch(ITEM, query.ledger.ledger_id, refs)
        item = require_single(sorted(row["subject"] for row in rows), name)
        author = body.author_of(query)
        of = (query.connection, context.vault, query.ledger, item, author)
        if DRY_RUN.of(request):
            return await dry_run_response(query, plan_refund(*of, reference=body.reference))
        refund = await post_refund(*of, reference=body.reference)
        context.progress.notify_appended()
        return json_response(refund._asdict())


PARAMETERS = {one.name: filter_parameter(one) for one in FILTERS}

OPERATIONS = (
    get(
        "/v1/orders",
        list_orders,
        *PARAMETERS.values(),
        *TIMES,
        *LIST_PARAMETERS,
        tag="orders",
        answer=OrderPage,
        media=FILES,
    ),
    get("/v1/orders/{id}", get_order, *TIMES, tag="orders", answer=Order),
    change(
        "POST", "/v1/order-items/{id}/refund", post_item_refund, DRY_RUN, tag="orders", body=RefundBody, answer=Refund
    ),
)
