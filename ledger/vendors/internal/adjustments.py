"""Internal events: an operator changed a balance by hand, or reversed such a change. The event's id is the
adjustment's.
"""

from collections.abc import Sequence
from typing import Any

from ledger.facts import Fact
from ledger.facts.adjustments import AdjustmentMade, AdjustmentReversed
from ledger.vendors.fields import Day, Points, StrictModel, Text
from ledger.vendors.vendor import EventContext, EventType


class AdjustmentReversedPayload(StrictModel):
    """The adjustment and its account. Author and reason are encrypted in the event and not part of the facts."""

    id: str
    holder: str
    programme: str
    unit: str
    customer: str
    by: Text = None

    def account(self) -> dict[str, Any]:
        customer = None if self.customer == self.holder else self.customer
        return {"holder": self.holder, "programme": self.programme, "unit": self.unit, "customer": customer}


class AdjustmentMadePayload(AdjustmentReversedPayload):
    points: Points
    adopted: bool = False
    expires_on: Day = None


def adjustment_made(event: AdjustmentMadePayload, _context: EventContext) -> Sequence[Fact]:
    return [
        AdjustmentMade(
            **event.account(),
            points=event.points,
            adjustment=event.id,
            adopted=event.adopted,
            expires_on=event.expires_on,
            by=event.by,
        )
    ]


def adjustment_reversed(event: AdjustmentReversedPayload, _context: EventContext) -> Sequence[Fact]:
    return [AdjustmentReversed(**event.account(), adjustment=event.id, by=event.by)]


KINDS: dict[str, EventType[Any]] = {
    "adjustmentMade": EventType(AdjustmentMadePayload, adjustment_made),
    "adjustmentReversed": EventType(AdjustmentReversedPayload, adjustment_reversed),
}
