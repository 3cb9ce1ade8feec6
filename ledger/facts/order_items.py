"""Facts about order items: items that were ordered with points, and their delivery."""

from datetime import datetime
from decimal import Decimal

from msgspec import field

from ledger.facts.fact import Fact


class OrderItemFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of one item of an order that was paid in points."""

    subject_kind = "order_item"

    item: str
    order: str
    customer: str | None = None
    item_type: str | None = None
    description: str | None = None
    points_paid: Decimal = Decimal(0)  # for the whole quantity
    points_price: Decimal | None = None  # the price in points, of which cash may have paid a part
    cash_paid: Decimal | None = None
    cash_price: Decimal | None = None
    product: str | None = None
    product_value: Decimal | None = None  # for example the value of a gift card, in `value_currency`
    value_currency: str | None = None
    partner_points: Decimal | None = None  # points of the partner's programme that the item buys
    partner_currency: str | None = None  # the name of these points
    partner_name: str | None = None
    ordered_at: datetime | None = None
    order_status: str | None = None  # of the whole order; an item may fail in a completed order
    order_points_paid: Decimal | None = None  # for all items of the order
    order_cash_paid: Decimal | None = None
    order_updated_at: datetime | None = None
    quantity: int | None = None
    contradicted: bool = False  # the event's name and the item's status contradict each other
    reference: str | None = None
    partner_programme: str | None = None
    errors: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return self.item


class OrderItemFulfilled(OrderItemFact, frozen=True, kw_only=True, omit_defaults=True):
    """The item arrived, so the points held for it are spent."""

    rank = 10


class OrderItemFailed(OrderItemFact, frozen=True, kw_only=True, omit_defaults=True):
    """The item did not arrive, so its points are due back to the customer."""

    rank = 20


class OrderItemCancelled(OrderItemFact, frozen=True, kw_only=True, omit_defaults=True):
    """The item was cancelled, so its points are due back to the customer."""

    rank = 21


class OrderItemRefunded(OrderItemFact, frozen=True, kw_only=True, omit_defaults=True):
    """The points due back for the item were given back. `refund_reference` names the payment."""

    rank = 30
    points: Decimal
    refund_reference: str | None = field(default=None, name="posting")
    by: str | None = None


FACTS: tuple[type[Fact], ...] = (
    OrderItemFulfilled,
    OrderItemFailed,
    OrderItemCancelled,
    OrderItemRefunded,
)
