"""Orders. Vendors report items only; this file puts the items of an order together."""

from decimal import Decimal

from aiohttp import web

from projections.order_items import ORDER_ITEMS
from projections.queries.as_of import load_known
from service.api.answers.system import Order, OrderPage, Refund
from service.api.dry_runs import DRY_RUN, dry_run_response
from service.api.requests.admission import change, get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.json_bodies import Authored, read_json_body
from service.api.requests.open_query import open_query, parse_as_of
from service.api.requests.parameters import LIMIT, PAGE, TIMES, text
from service.api.responses import json_response, page_response
from service.formatting import cut_page, decode_cursor
from service.operations.refund import plan_refund, post_refund
from service.queries.freshness import freshness
from service.queries.references import expand_reference, require_single
from service.queries.subjects import fold_first_row, former_subjects, row_json

ITEMS_MAX = 1_000
ITEM = "SELECT subject FROM order_items WHERE ledger_id = $1 AND subject = ANY ($2)"
ITEMS = """
    SELECT * FROM order_items WHERE ledger_id = $1 AND order_id = ANY ($2) ORDER BY order_id, subject LIMIT $3
"""
# An order is chosen by one of its items, and shown with all of them.
ORDERS = """
    WITH chosen AS (
        SELECT DISTINCT order_id FROM order_items
         WHERE ledger_id = $1 AND order_id > $2 AND ($3::text IS NULL OR status = $3)
           AND ($4::text IS NULL OR refund = $4) AND ($5::text[] IS NULL OR customer = ANY ($5))
         ORDER BY order_id LIMIT $6)
    SELECT order_id AS id, (array_agg(customer ORDER BY subject) FILTER (WHERE customer IS NOT NULL))[1] AS customer,
           sum(points_paid) AS points_paid, sum(refund_due) AS refund_due, count(*) AS item_count,
           array_agg(DISTINCT status ORDER BY status) AS statuses, max(last_position) AS last_position
      FROM order_items JOIN chosen USING (order_id) WHERE ledger_id = $1 GROUP BY order_id ORDER BY order_id
"""


async def list_orders(request: web.Request) -> web.Response:
    """List the orders, each with the sums of its items.

    An order is listed if one of its items matches all filters. The answer is as of now.
    """
    after = decode_cursor(request.query.get("cursor"), str) or [""]
    limit = LIMIT.of(request)
    async with open_query(request) as query:
        customer = CUSTOMER.of(request)
        refs = None if customer is None else await expand_reference(query, customer)
        wanted = (STATUS.of(request), REFUND.of(request), refs)
        rows = await query.connection.fetch(ORDERS, query.ledger.ledger_id, after[0], *wanted, limit + 1)
        shown, following = cut_page(rows, limit, lambda row: (row["id"],))
        return page_response(request, [dict(row) for row in shown], following, **await freshness(query))


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
                "customer": next((row["customer"] for row in rows if row["customer"]), None),
                "points_paid": sum((row["points_paid"] for row in rows), Decimal(0)),
                "refund_due": sum((row["refund_due"] for row in rows), Decimal(0)),
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


STATUS = text("status", "Only orders with an item of this status: pending, held, fulfilled, failed, cancelled.")
REFUND = text("refund", "Only orders with an item of this refund: none, due, posted.")
CUSTOMER = text("customer", "Only orders of this customer.")

OPERATIONS = (
    get("/v1/orders", list_orders, STATUS, REFUND, CUSTOMER, *PAGE, tag="orders", answer=OrderPage),
    get("/v1/orders/{id}", get_order, *TIMES, tag="orders", answer=Order),
    change(
        "POST", "/v1/order-items/{id}/refund", post_item_refund, DRY_RUN, tag="orders", body=RefundBody, answer=Refund
    ),
)
