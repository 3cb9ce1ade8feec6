"""Voucherify's pending points: promised with an order, then changed, cancelled, or activated on their day.

All events of a promise have its id, lopp_…. An activation is a transaction, see points.py.
"""

from datetime import date
from typing import Any

from ledger.facts import Fact
from ledger.facts.accounts import Claim
from ledger.facts.promises import PromiseCancelled, PromiseChanged, PromiseMade
from ledger.vendors.fields import Day, Figure, Id, OptionalId, Points, SnakeModel
from ledger.vendors.vendor import EventContext, EventType
from ledger.vendors.voucherify.card import CardEvent
from ledger.vendors.voucherify.points import Trigger


class PendingDetails(SnakeModel):
    event: Trigger | None = None


class PendingPoints(SnakeModel):
    """The promise after the event. For a cancellation, the promise before it."""

    id: Id
    points: Points
    activates_at: Day = None
    updated_at: OptionalId = None  # as written: identifies the change
    details: PendingDetails | None = None


class PendingBalance(SnakeModel):
    """`total` is the sum of all promises on the card after the event."""

    total: Figure = None


class PendingPointsEvent(CardEvent):
    pending_points: PendingPoints
    voucher_pending_points_balance: PendingBalance | None = None

    def fact_fields(self, context: EventContext, verb: str) -> dict[str, Any]:
        """Return the fields of every fact about the promise."""
        promise = context.ref(self.pending_points.id)
        balance = self.voucher_pending_points_balance
        return {
            **self.account(context),
            "claim": Claim(promised=balance.total) if balance and balance.total is not None else None,
            "change": f"{promise}~{verb}",
            "promise": promise,
            "points": self.pending_points.points,
        }

    def conversion_day(self) -> date | None:
        return self.pending_points.activates_at


def promise_made(event: PendingPointsEvent, context: EventContext) -> list[Fact]:
    details = event.pending_points.details
    activity = details.event.type if details and details.event else None
    return [
        PromiseMade(
            **event.fact_fields(context, "made"), **event.bill(), converts_on=event.conversion_day(), activity=activity
        )
    ]


def promise_changed(event: PendingPointsEvent, context: EventContext) -> list[Fact]:
    """`pending_points.points` is the new number, and the balance beside it the difference. A promise may change often,
    so the time of the change is part of the business key.
    """
    verb = f"changed~{event.pending_points.updated_at or context.tag}"
    return [PromiseChanged(**event.fact_fields(context, verb), converts_on=event.conversion_day())]


def promise_cancelled(event: PendingPointsEvent, context: EventContext) -> list[Fact]:
    return [PromiseCancelled(**event.fact_fields(context, "cancelled"))]


KINDS: dict[str, EventType[Any]] = {
    "voucher.loyalty_card.pending_points.added": EventType(PendingPointsEvent, promise_made),
    "voucher.loyalty_card.pending_points.updated": EventType(PendingPointsEvent, promise_changed),
    "voucher.loyalty_card.pending_points.canceled": EventType(PendingPointsEvent, promise_cancelled),
    "customer.voucher.loyalty_card.pending_points.added": EventType(PendingPointsEvent, promise_made),
    "customer.voucher.loyalty_card.pending_points.updated": EventType(PendingPointsEvent, promise_changed),
    "customer.voucher.loyalty_card.pending_points.canceled": EventType(PendingPointsEvent, promise_cancelled),
}
