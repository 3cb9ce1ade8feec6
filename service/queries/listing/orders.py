"""Orders: the items of each order put together. Vendors report items only.

1. An order is listed if one of its items matches all filters. It is shown with the sums of all its items.
2. As of now the rows of the items are read in the order of an index.
3. As of an earlier time, each item that may have belonged to an order is folded on the spot.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ledger.database import fetch_planned
from ledger.facts.order_items import OrderItemFact
from projections.order_items import ORDER_ITEMS
from projections.queries.as_of import AsOf, load_known
from projections.queries.policies_as_of import resolve_as_of
from service.queries.context import QueryContext
from service.queries.listing import candidates
from service.queries.listing.filters import Key, conditions_of, equals, refers
from service.queries.listing.lists import Json, ListPage
from service.queries.subjects import fold_first_row

FILTERS = (
    equals("status", "Only orders with an item of this status: pending, held, fulfilled, failed, cancelled."),
    equals("refund", "Only orders with an item of this refund: none, due, posted."),
    refers("customer", "Only orders of this customer."),
)
ORDERS_PER_READ = 100
KNOWN_ORDERS_MAX = 1_000  # folded for one page; a sparse filter then answers a short page with a cursor
ZERO = Decimal(0)

# `{conditions}` names the columns of one item.
ORDERS = """
    WITH chosen AS (
        SELECT DISTINCT order_id FROM order_items
         WHERE ledger_id = $1 AND {conditions} AND order_id > {after} AND ({end}::text IS NULL OR order_id <= {end})
         ORDER BY order_id LIMIT {limit})
    SELECT order_id AS id, (array_agg(customer ORDER BY subject) FILTER (WHERE customer IS NOT NULL))[1] AS customer,
           sum(points_paid) AS points_paid, sum(refund_due) AS refund_due, count(*) AS item_count,
           array_agg(DISTINCT status ORDER BY status) AS statuses, max(last_position) AS last_position
      FROM order_items JOIN chosen USING (order_id) WHERE ledger_id = $1 GROUP BY order_id ORDER BY order_id
"""
# The end of a walk: two filters may have few orders in common.
END_OF_WALK = """
    SELECT order_id FROM order_items WHERE ledger_id = $1 AND {conditions} AND order_id > {after}
     ORDER BY order_id OFFSET {walked} LIMIT 1
"""
ORDER_COUNT = "SELECT count(DISTINCT order_id) FROM order_items WHERE ledger_id = $1 AND {conditions}"
# Orders that an item names, named before it got another order, or named in a fact that was taken back.
KNOWN_ORDERS = """
    (SELECT DISTINCT order_id FROM order_items WHERE ledger_id = $1 AND order_id > $2 ORDER BY order_id LIMIT $3)
    UNION
    (SELECT DISTINCT owner FROM order_items, unnest(previous_owners) AS owner
      WHERE ledger_id = $1 AND previous_owners IS NOT NULL AND owner > $2 ORDER BY owner LIMIT $3)
    UNION
    (SELECT DISTINCT convert_from(body, 'UTF8')::json ->> 'order' COLLATE "C" AS named FROM withdrawn
      WHERE ledger_id = $1 AND subject_kind = 'order_item' AND convert_from(body, 'UTF8')::json ->> 'order' > $2
      ORDER BY named LIMIT $3)
     ORDER BY 1 LIMIT $3
"""
ITEMS_OF_ORDERS = """
    SELECT subject FROM order_items WHERE ledger_id = $1 AND order_id = ANY ($2)
     UNION
    SELECT subject FROM order_items WHERE ledger_id = $1 AND previous_owners && $2
     UNION
    SELECT subject FROM withdrawn
     WHERE ledger_id = $1 AND subject_kind = 'order_item' AND convert_from(body, 'UTF8')::json ->> 'order' = ANY ($2)
"""


async def read_orders(query: QueryContext, values: Mapping[str, Any], after: Key | None, limit: int) -> ListPage:
    """Return up to `limit` orders after a key, as of now.

    With two filters, it looks at WALKED_MAX items of the first one, and may return fewer orders and a key.
    """
    conditions, arguments = conditions_of(FILTERS, values, query.ledger.ledger_id)
    order = after[0] if after else ""
    end = await _end_of_walk(query, values, order) if len(values) > 1 else None
    after_place, limit_place, end_place = (f"${len(arguments) + number}" for number in (1, 2, 3))
    sql = ORDERS.format(conditions=conditions, after=after_place, limit=limit_place, end=end_place)
    rows = await fetch_planned(query.connection, sql, *arguments, order, limit + 1, end)
    items = [dict(row) for row in rows[:limit]]
    if len(rows) > limit:
        return ListPage(items, (items[-1]["id"],))
    return ListPage(items, None if end is None else (end,))


async def _end_of_walk(query: QueryContext, values: Mapping[str, Any], after: str) -> str | None:
    """Return the order at which a read with several filters ends. None if the first filter has few more items."""
    name = next(one.name for one in FILTERS if one.name in values)
    conditions, arguments = conditions_of(FILTERS, {name: values[name]}, query.ledger.ledger_id)
    sql = END_OF_WALK.format(conditions=conditions, after=f"${len(arguments) + 1}", walked=candidates.WALKED_MAX - 1)
    rows = await fetch_planned(query.connection, sql, *arguments, after)
    return str(rows[0]["order_id"]) if rows else None


async def count_orders(query: QueryContext, values: Mapping[str, Any]) -> int:
    """Count the orders as of now."""
    conditions, arguments = conditions_of(FILTERS, values, query.ledger.ledger_id)
    sql = ORDER_COUNT.format(conditions=conditions)
    [[total]] = await fetch_planned(query.connection, sql, *arguments)
    return int(total)


async def read_known_orders(
    query: QueryContext, values: Mapping[str, Any], as_of: AsOf, after: Key | None, limit: int
) -> ListPage:
    """Return up to `limit` orders after a key, as of an earlier time. It folds at most KNOWN_ORDERS_MAX orders."""
    items: list[Json] = []
    last = after[0] if after else ""
    for _ in range(0, KNOWN_ORDERS_MAX, ORDERS_PER_READ):
        names = await _names_after(query, as_of, last)
        for order in await _fold_orders(query, names, as_of):
            if any(all(one.test(row, values[one.name]) for one in FILTERS if one.name in values) for row in order):
                if len(items) == limit:
                    return ListPage(items, (items[-1]["id"],))
                items.append(order_json(order))
        if len(names) < ORDERS_PER_READ:
            return ListPage(items, None)
        last = names[-1]
    return ListPage(items, (last,))


async def count_known_orders(query: QueryContext, values: Mapping[str, Any], as_of: AsOf) -> int:
    """Count the orders as of an earlier time."""
    count, after = 0, None
    while True:
        page = await read_known_orders(query, values, as_of, after, KNOWN_ORDERS_MAX)
        count, after = count + len(page.items), page.following
        if after is None:
            return count


def order_json(items: Sequence[Mapping[str, Any]]) -> Json:
    """Return an order with the sums of its items. They are in the order of their ids."""
    return {
        "id": items[0]["order_id"],
        **sums_of(items),
        "item_count": len(items),
        "statuses": sorted({item["status"] for item in items}),
        "last_position": max(item["last_position"] for item in items),
    }


def sums_of(items: Iterable[Mapping[str, Any]]) -> Json:
    """Return the customer of some items, and the sums of their points."""
    items = list(items)
    return {
        "customer": next((item["customer"] for item in items if item["customer"]), None),
        "points_paid": sum((item["points_paid"] for item in items), ZERO),
        "refund_due": sum((item["refund_due"] for item in items), ZERO),
    }


async def _names_after(query: QueryContext, as_of: AsOf, after: str) -> list[str]:
    """Return the next ids of orders that may have had an item. Some had none."""
    rows = await query.connection.fetch(KNOWN_ORDERS, query.ledger.ledger_id, after, ORDERS_PER_READ)
    names = {row["order_id"] for row in rows}
    names.update(order for _, order in await _resolved_otherwise(query, as_of) if order > after)
    return sorted(names)[:ORDERS_PER_READ]


async def _resolved_otherwise(query: QueryContext, as_of: AsOf) -> list[tuple[str, str]]:
    """Return the items and orders of facts that counted under an earlier policy only."""
    difference = await resolve_as_of(query.connection, query.ledger.ledger_id, as_of.position)
    facts = (recorded.fact for recorded in difference.added)
    return [(fact.subject, fact.order) for fact in facts if isinstance(fact, OrderItemFact)]


async def _fold_orders(query: QueryContext, names: Sequence[str], as_of: AsOf) -> list[list[Json]]:
    """Fold the items of some orders. Return those of each order that had an item, in the order of their ids."""
    rows = await query.connection.fetch(ITEMS_OF_ORDERS, query.ledger.ledger_id, names)
    subjects = {row["subject"] for row in rows}
    subjects.update(item for item, order in await _resolved_otherwise(query, as_of) if order in names)
    orders: dict[str, list[Json]] = defaultdict(list)
    for known in await load_known(query.connection, query.ledger.ledger_id, ORDER_ITEMS, sorted(subjects), as_of):
        row = fold_first_row(ORDER_ITEMS, known)
        if row and row["order_id"] in names:
            orders[row["order_id"]].append(row)
    return [sorted(items, key=lambda item: str(item["id"])) for _, items in sorted(orders.items())]
