"""Ascenda (Kaligo): the delivery of items that were ordered with points (document 000).

Points are taken when the order is placed. Ascenda does not report that step. The points of an item that arrived are
spent. The points of an item that failed or was cancelled are due back (traps 19 and 20).
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator

from ledger.facts import Fact
from ledger.facts.holds import HoldCaptured, HoldRefundDue
from ledger.facts.order_items import OrderItemCancelled, OrderItemFact, OrderItemFailed, OrderItemFulfilled
from ledger.parsing import Document
from ledger.vendors.fields import Count, Figure, Id, List, OptionalId, Points, SnakeModel, Text, Time, as_time, squeeze
from ledger.vendors.json_path import id_at, value_at
from ledger.vendors.personal_fields import ANYWHERE, COMMON_KEYS, PersonalFields
from ledger.vendors.vendor import NO_ORG, EventContext, EventType, Identity, ParsedEvent, Vendor

KIND_CHARACTERS_MAX = 100
NO_PROGRAMME = "-"  # points belong to the tenant; the programmes that Ascenda names are its partners'

OUTCOMES: dict[str, type[OrderItemFact]] = {
    "fulfilled": OrderItemFulfilled,
    "failed": OrderItemFailed,
    "cancelled": OrderItemCancelled,
    "canceled": OrderItemCancelled,
}


class ErrorLine(SnakeModel):
    code: Text = None
    message: Text = None


class PartnerData(SnakeModel):
    """The partner programme of the item. The member's number and name are here too; they are not read."""

    loyalty_program_id: OptionalId = None
    program_name: Text = None
    program_currency_name: Text = None
    transfer_amount: Figure = None  # in points of the partner's programme
    product_name: Text = None
    display_value: Figure = None  # of a gift card
    currency: OptionalId = None

    def fact_fields(self) -> dict[str, Any]:
        """Return the fields of a fact about the product, or about the partner's points."""
        return {
            "partner_programme": self.loyalty_program_id or self.program_name,
            "partner_name": self.program_name,
            "partner_points": self.transfer_amount,
            "partner_currency": self.program_currency_name,
            "product": self.product_name,
            "product_value": self.display_value,
            "value_currency": self.currency.upper() if self.currency else None,
        }


class OrderItem(SnakeModel):
    id: Id
    status: Text = None
    type: Text = None
    description: Text = None
    points_paid: Points = Decimal(0)
    points_amount: Figure = None
    cash_paid: Figure = None
    cash_amount: Figure = None
    quantity: Count = None
    errors: Annotated[tuple[ErrorLine, ...], List] = ()
    error_message: Text = None
    data: Annotated[PartnerData, BeforeValidator(lambda value: value or {})] = PartnerData()
    created_at: Time = None
    updated_at: Time = None

    def error_lines(self) -> tuple[str, ...]:
        """Return the vendor's errors. Without any, return `error_message` (trap 22)."""
        lines = [": ".join(part for part in (line.code, line.message) if part) for line in self.errors]
        lines = [line for line in lines if line]
        return tuple(lines or ([self.error_message] if self.error_message else []))


class Order(SnakeModel):
    id: Id
    user_id: OptionalId = None
    reference_id: OptionalId = None
    status: Text = None
    points_paid: Figure = None
    cash_paid: Figure = None
    updated_at: Time = None

    def fact_fields(self) -> dict[str, Any]:
        """Return the fields of a fact about the order of an item."""
        return {
            "reference": self.reference_id,
            "order_status": self.status,
            "order_points_paid": self.points_paid,
            "order_cash_paid": self.cash_paid,
            "order_updated_at": self.updated_at,
        }


class Fulfilment(SnakeModel):
    event_type: Text = None
    order_item: OrderItem
    order: Order

    def outcome_in_name(self) -> type[OrderItemFact] | None:
        """Return the outcome that the event's name states, None if it states none."""
        name = squeeze(self.event_type or "").lower().rpartition(".")[2]
        return OrderItemFulfilled if name == "confirmed" else OUTCOMES.get(name)


def fulfilment(event: Fulfilment, context: EventContext) -> list[Fact]:
    """Return the outcome of the item, by its own status. The order may be "completed" although the item failed (trap
    19).

    The fact holds the item's points, never the points of the whole order (trap 21). Raises ValueError if the status is
    not in OUTCOMES.
    """
    item, order = event.order_item, event.order
    outcome = OUTCOMES.get(squeeze(item.status or "").lower())
    if outcome is None:
        raise ValueError("an unknown status of an order item")
    customer = context.ref(order.user_id) if order.user_id else None
    item_fact = outcome(
        item=context.ref(item.id),
        order=context.ref(order.id),
        customer=customer,
        item_type=item.type,
        description=item.description,
        points_paid=item.points_paid,
        points_price=item.points_amount,
        cash_paid=item.cash_paid,
        cash_price=item.cash_amount,
        quantity=item.quantity,
        contradicted=event.outcome_in_name() not in (None, outcome),
        errors=item.error_lines(),
        ordered_at=item.created_at,
        **item.data.fact_fields(),
        **order.fact_fields(),
    )
    return [item_fact, *_hold_facts(item_fact, customer)]


def _hold_facts(item_fact: OrderItemFact, customer: str | None) -> list[Fact]:
    """Return the outcome of the held points. An item's points are spent once or due back once, however often it is
    reported.
    """
    if customer is None or item_fact.points_paid <= 0:
        return []
    captured = isinstance(item_fact, OrderItemFulfilled)
    return [
        (HoldCaptured if captured else HoldRefundDue)(
            holder=customer,
            programme=NO_PROGRAMME,
            points=item_fact.points_paid,
            item=item_fact.item,
            change=f"{item_fact.item}~{'captured' if captured else 'refund'}",
        )
    ]


def item_updated_at(event: Fulfilment) -> datetime | None:
    """Return the time of the item's change. The event may be created weeks later (domain §1.5)."""
    return event.order_item.updated_at


def parse_envelope(document: Document, _kind: str | None) -> list[ParsedEvent] | None:
    """Return the single event of a body in envelope E2."""
    value = document.value
    if not isinstance(value, dict) or not isinstance(value.get("event_type"), str):
        return None
    if not isinstance(value.get("order_item"), dict):
        return None
    kind = squeeze(value["event_type"]).lower()[:KIND_CHARACTERS_MAX]
    return [ParsedEvent(kind, NO_ORG, as_time(value.get("created_at")), value, partial(_identity, value))]


def _identity(value: dict[str, Any]) -> Identity:
    """`event_id` identifies the redemption and repeats for all its items and outcomes (domain §1.3). So the item and
    its status are part of the identity.
    """
    event_id, item = id_at(value, "event_id"), id_at(value, "order_item.id")
    if event_id is None and item is None:
        return Identity(("data",), value)
    parts = ("id", event_id or "", item or "", id_at(value, "order_item.status") or "")
    return Identity(parts, _content(value))


def _content(value: dict[str, Any]) -> Any:
    """Return the content about the item, without the dispatch time, the state of the whole order and the recipient."""
    return {
        "order_item": {name: part for name, part in value["order_item"].items() if name != "data"},
        "order": value_at(value, "order.id"),
        "user": value_at(value, "order.user_id"),
    }


KINDS: dict[str, EventType[Any]] = {
    "order_item.fulfillment.confirmed": EventType(Fulfilment, fulfilment, occurred=item_updated_at),
    "order_item.fulfillment.failed": EventType(Fulfilment, fulfilment, occurred=item_updated_at),
    "order_item.fulfillment.cancelled": EventType(Fulfilment, fulfilment, occurred=item_updated_at),
}


def person(_key: str, structure: Mapping[str, Any]) -> str | None:
    """Everything in a delivery is about the user who ordered."""
    return id_at(structure, "order.user_id")


# The membership number belongs to the member in the partner's programme. The whole recipient is personal, with company
# and address.
PERSONAL = PersonalFields(
    keys={**COMMON_KEYS, "number": frozenset({"membership"}), "recipient": ANYWHERE, "company_name": ANYWHERE},
    person=person,
    person_keys=frozenset({"order"}),
)

ASCENDA = Vendor(
    name="ascenda",
    parse_envelope=parse_envelope,
    kinds=KINDS,
    personal=PERSONAL,
    scheme="header",
    header="x-webhook-secret",
)
