"""Voucherify's orders: the purchase behind an event, with its amounts, items and the merchant's metadata.

Many events repeat the order. Each gives a fact about a bill, so the order can be asked for by its id.
"""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

from ledger.facts import Fact
from ledger.facts.bills import BillAdded, BillItem
from ledger.vendors.fields import Count, Figure, List, OptionalId, SnakeModel, Text, Time
from ledger.vendors.vendor import EventContext

MINOR_UNITS = 100  # Voucherify multiplies all money by 100
METADATA_MAX = 50  # entries of one order
METADATA_CHARACTERS_MAX = 500

FactsOfEvent = Callable[[Any, EventContext], Sequence[Fact]]


def whole_units(minor_units: Decimal | None) -> Decimal | None:
    """Return money in whole units of its currency."""
    return None if minor_units is None else minor_units / MINOR_UNITS


def as_metadata(value: Any) -> tuple[tuple[str, str], ...]:
    """Parse the merchant's metadata: sorted names with their values as text. Nested objects are left out."""
    if not isinstance(value, dict):
        return ()
    return tuple(sorted(_entries(value)))[:METADATA_MAX]


def _entries(metadata: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in metadata.items():
        values = value if isinstance(value, list) else [value]
        if all(isinstance(one, str | int | Decimal) for one in values):
            yield name, ", ".join(map(_text, values))[:METADATA_CHARACTERS_MAX]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Product(SnakeModel):
    name: Text = None
    source_id: OptionalId = None


class Item(SnakeModel):
    product_id: OptionalId = None
    product: Product | None = None
    quantity: Count = None
    price: Figure = None
    amount: Figure = None

    def fact_part(self) -> BillItem:
        product = self.product or Product()
        return BillItem(
            product.source_id or self.product_id,
            product.name,
            self.quantity,
            whole_units(self.price),
            whole_units(self.amount),
        )


class Order(SnakeModel):
    """`amount` is the sum of the items, `total_amount` the rest after discounts."""

    id: OptionalId = None
    source_id: OptionalId = None  # the merchant's own number
    created_at: Time = None
    status: Text = None
    amount: Figure = None
    total_amount: Figure = None
    total_discount_amount: Figure = None
    customer_id: OptionalId = None
    items: Annotated[tuple[Item, ...], List] = ()
    metadata: Annotated[tuple[tuple[str, str], ...], BeforeValidator(as_metadata)] = ()

    def fact(self, customer: str | None, context: EventContext) -> BillAdded | None:
        """Return the fact of the order. None if the event only names the order."""
        if self.id is None or (self.amount is None and self.total_amount is None and not self.items):
            return None
        customer = self.customer_id or customer
        return BillAdded(
            bill=context.ref(self.id),
            customer=context.ref(customer) if customer else None,
            number=self.source_id,
            amount=whole_units(self.amount if self.total_amount is None else self.total_amount),
            gross_amount=whole_units(self.amount),
            discount=whole_units(self.total_discount_amount),
            line_item_count=len(self.items) or None,
            items=tuple(item.fact_part() for item in self.items),
            status=self.status,
            metadata=self.metadata,
            entered_at=self.created_at,
            entered_in_future=self.created_at is not None and self.created_at > context.occurred_at,
        )


def with_order(facts: FactsOfEvent) -> FactsOfEvent:
    """Return a function for the same facts, and the fact of the order that the event contains."""

    def facts_and_order(event: Any, context: EventContext) -> Sequence[Fact]:
        order = order_of(event)
        customer = getattr(event, "customer", None)
        bill = order.fact(customer.id if customer else None, context) if order else None
        return [*facts(event, context), *([bill] if bill else [])]

    return facts_and_order


def order_of(event: Any) -> Order | None:
    """Return the order of an event: beside the change, or in the redemption or transaction."""
    for holder in (event, getattr(event, "redemption", None), _details(event)):
        order: Order | None = getattr(holder, "order", None)
        if order is not None:
            return order
    return None


def _details(event: Any) -> Any:
    return getattr(getattr(event, "transaction", None), "details", None)
