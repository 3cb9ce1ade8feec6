"""Order items: the outcome of each item paid with points, and the points that are due back.

1. Points are held when the order is made.
2. They are captured when the item arrives.
3. They are released if the item does not arrive. Then they are due to the customer, once, however often that is
   reported (docs/domain.md, trap 20).
4. Fulfilment and failure of one item contradict each other. The later one counts, and the item is contested: a person
   should look.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from ledger.facts import Occurrence
from ledger.facts.order_items import (
    OrderItemCancelled,
    OrderItemFact,
    OrderItemFailed,
    OrderItemFulfilled,
    OrderItemRefunded,
)
from projections.definition import Projection, Rows, State
from projections.field_updates import add_previous_owner, update_customer, update_stated
from projections.tables import Identifier, Position, PreviousOwners, Table, row_from

NOTHING = Decimal(0)


class OrderItem(State):
    customer: Identifier | None = None
    order_id: Identifier | None = None
    item_type: str | None = None
    description: str | None = None
    status: Annotated[str, "pending, held, fulfilled, failed, cancelled"] = "pending"
    points_paid: Decimal = NOTHING
    points_price: Annotated[Decimal | None, "of which cash may have paid a part"] = None
    cash_paid: Decimal | None = None
    cash_price: Decimal | None = None
    quantity: int | None = None
    product: str | None = None
    product_value: Annotated[Decimal | None, "for example of a gift card, in `value_currency`"] = None
    value_currency: str | None = None
    fulfilled_at: datetime | None = None
    failed_at: datetime | None = None
    cancelled_at: datetime | None = None
    refunded_at: datetime | None = None
    refunded: Annotated[Decimal, "points that were given back"] = NOTHING
    refund_reference: Annotated[str | None, "names the payment of the refund"] = None
    errors: list[str] = []
    partner_programme: str | None = None
    partner_name: str | None = None
    partner_points: Annotated[Decimal | None, "points of the partner's programme that the item buys"] = None
    partner_currency: Annotated[str | None, "the name of the partner's points"] = None
    reference: str | None = None
    ordered_at: datetime | None = None
    order_status: Annotated[str | None, "of the whole order; an item may fail in a completed order"] = None
    order_points_paid: Annotated[Decimal | None, "for all items of the order"] = None
    order_cash_paid: Decimal | None = None
    order_updated_at: datetime | None = None
    contradicted: Annotated[bool, "an event's name and its item's status disagree"] = False
    previous_owners: Annotated[PreviousOwners, "previous customers and orders; null if there are none"] = None
    last_position: Position = 0


class OrderItemRow(OrderItem, kw_only=True):
    """Items of orders paid in points: product, quantity, partner points, cash paid, cash refund due, not fulfilled."""

    hold: Annotated[str, "the state of the points paid: held, captured, released"]
    refund: Annotated[str, "the refund of the points: none, due, posted"]
    refund_due: Annotated[Decimal, "points that are due back"]
    cash_refund_due: Annotated[Decimal, "cash paid for an item that was not delivered; a posted refund includes it"]
    contested: bool


ORDER_ITEMS_TABLE = Table(
    "order_items",
    OrderItemRow,
    {
        "order": "(ledger_id, order_id)",
        "status_order": "(ledger_id, status, order_id)",
        "refund_order": "(ledger_id, refund, order_id)",
        "status": "(ledger_id, status, subject)",
        "refund_state": "(ledger_id, refund, subject)",
        "unfulfilled": "(ledger_id, subject) WHERE NOT (status = 'fulfilled')",
        "refund": "(ledger_id, subject) WHERE refund = 'due'",
        "flagged": "(ledger_id, subject) WHERE contested OR contradicted",
    },
)


# Fields that a fact may leave out. They have the same names in facts and in the state.
STATED_FIELDS = (
    *("item_type", "description", "quantity", "product", "product_value", "value_currency"),
    *("points_price", "cash_paid", "cash_price"),
    *("partner_programme", "partner_name", "partner_points", "partner_currency"),
    *("reference", "ordered_at", "order_status", "order_points_paid", "order_cash_paid", "order_updated_at"),
)


def fulfil(item: OrderItem, fact: OrderItemFulfilled, occurrence: Occurrence) -> None:
    """The item arrived. Its held points are spent."""
    _update_fields(item, fact, occurrence)
    item.status = "fulfilled"
    item.fulfilled_at = item.fulfilled_at or occurrence.occurred_at


def fail(item: OrderItem, fact: OrderItemFailed, occurrence: Occurrence) -> None:
    """The item did not arrive. Its points are due back."""
    _update_fields(item, fact, occurrence)
    item.status = "failed"
    item.failed_at = item.failed_at or occurrence.occurred_at


def cancel(item: OrderItem, fact: OrderItemCancelled, occurrence: Occurrence) -> None:
    """The item was cancelled. Its points are due back."""
    _update_fields(item, fact, occurrence)
    item.status = "cancelled"
    item.cancelled_at = item.cancelled_at or occurrence.occurred_at


def refund(item: OrderItem, fact: OrderItemRefunded, occurrence: Occurrence) -> None:
    """The points due back were returned. Only the first report counts."""
    _update_fields(item, fact, occurrence)
    if item.refunded_at is None:
        item.refunded_at, item.refunded = occurrence.occurred_at, fact.points
    item.refund_reference = item.refund_reference or fact.refund_reference


def _update_fields(item: OrderItem, fact: OrderItemFact, occurrence: Occurrence) -> None:
    """Update the fields that the fact names. Other fields keep their values."""
    item.previous_owners = add_previous_owner(item.previous_owners, item.order_id, fact.order)
    item.order_id = fact.order
    update_customer(item, fact)
    update_stated(item, fact, *STATED_FIELDS)
    item.points_paid = fact.points_paid or item.points_paid
    item.contradicted = item.contradicted or fact.contradicted
    item.errors = list(fact.errors) or item.errors
    item.last_position = max(item.last_position, occurrence.position)


def order_item_rows(_subject: str, item: OrderItem) -> Rows:
    arrived, not_delivered = item.status == "fulfilled", item.status in ("failed", "cancelled")
    due = max(NOTHING, item.points_paid - item.refunded) if not_delivered else NOTHING
    posted = item.refunded_at is not None
    cash_due = (item.cash_paid or NOTHING) if not_delivered and not posted else NOTHING
    row = row_from(
        item,
        OrderItemRow,
        hold="captured" if arrived else "released" if not_delivered else "held",
        refund="due" if due else "posted" if posted else "none",
        refund_due=due,
        cash_refund_due=cash_due,
        contested=item.fulfilled_at is not None and (item.failed_at or item.cancelled_at or posted or None) is not None,
    )
    return {"order_items": [row]}


ORDER_ITEMS = Projection(
    name="order_items",
    version=8,
    subject="order_item",
    start=OrderItem,
    on={OrderItemFulfilled: fulfil, OrderItemFailed: fail, OrderItemCancelled: cancel, OrderItemRefunded: refund},
    rows=order_item_rows,
    tables=(ORDER_ITEMS_TABLE,),
)
