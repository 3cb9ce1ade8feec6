"""Internal events: the points of an order item that did not arrive were given back. No vendor reports that."""

from collections.abc import Sequence
from typing import Any

from ledger.facts import Fact
from ledger.facts.holds import HoldRefunded
from ledger.facts.order_items import OrderItemRefunded
from ledger.vendors.fields import Points, StrictModel, Text
from ledger.vendors.vendor import EventContext, EventType


class RefundPayload(StrictModel):
    """The item, its order, and the account that paid for it."""

    item: str
    order: str
    points: Points
    holder: str
    programme: str
    unit: str
    customer: Text = None
    reference: Text = None
    by: Text = None


def refund_posted(event: RefundPayload, _context: EventContext) -> Sequence[Fact]:
    return [
        OrderItemRefunded(
            item=event.item,
            order=event.order,
            customer=event.customer,
            points=event.points,
            refund_reference=event.reference,
            by=event.by,
        ),
        HoldRefunded(
            holder=event.holder,
            programme=event.programme,
            unit=event.unit,
            item=event.item,
            points=event.points,
        ),
    ]


KINDS: dict[str, EventType[Any]] = {"refundPosted": EventType(RefundPayload, refund_posted)}
