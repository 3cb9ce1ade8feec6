"""Facts about order items: items that were ordered with points, and their delivery."""

from decimal import Decimal

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
    """The points due back for the item were given back. `posting` is the operator's reference."""

    rank = 30
    points: Decimal
    posting: str | None = None
    by: str | None = None


FACTS: tuple[type[Fact], ...] = (
    OrderItemFulfilled,
    OrderItemFailed,
    OrderItemCancelled,
    OrderItemRefunded,
)
