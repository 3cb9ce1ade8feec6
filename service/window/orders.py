"""Orders: their items together, since a vendor tells of items only."""

from decimal import Decimal

from aiohttp import web

from service.answers import answer
from service.window.reading import candidates, only, reach, reader
from service.window.subjects import shown

ITEMS_MAX = 1_000
ITEMS = """
    SELECT * FROM order_items WHERE ledger_id = $1 AND order_id = ANY ($2) ORDER BY order_id, subject LIMIT 1000
"""


async def get_order(request: web.Request) -> web.Response:
    """GET /v1/orders/{id}: the items of an order, at most ITEMS_MAX, what was paid in points and what is due back."""
    name = request.match_info["id"]
    async with reader(request) as read:
        rows = await read.connection.fetch(ITEMS, read.ledger.ledger_id, await candidates(read, name))
        order = only(sorted({row["order_id"] for row in rows}), name)
        return answer(
            {
                "id": order,
                "customer": next((row["customer"] for row in rows if row["customer"]), None),
                "points_paid": sum((row["points_paid"] for row in rows), Decimal(0)),
                "refund_due": sum((row["refund_due"] for row in rows), Decimal(0)),
                "items": [shown(row) for row in rows],
                **await reach(read),
            }
        )


ROUTES = [web.get("/v1/orders/{id}", get_order)]
