"""Voucherify's redemptions and rollbacks: points spent, coupons used, and their return.

A redemption r_ is one change, reported by the redemption, by its reward and by its transaction.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

from ledger.facts import Fact
from ledger.facts.accounts import Redeemed, RedemptionReversed
from ledger.facts.coupons import CouponRedeemed, CouponRedemptionReversed
from ledger.vendors.fields import Figure, Id, OptionalId, SnakeModel, Time
from ledger.vendors.vendor import EventContext, EventType
from ledger.vendors.voucherify.card import Reference, Voucher, account_fields, bill_fields, owner_id
from ledger.vendors.voucherify.orders import Order, whole_units


def _nested_id(value: Any) -> Any:
    """Return the id of a redemption, which is given as an id or as an object."""
    return value.get("id") if isinstance(value, dict) else value


RedemptionId = Annotated[OptionalId, BeforeValidator(_nested_id)]


class Redemption(SnakeModel):
    """`amount` is the number of points spent. It is negative if they are given back (trap 18)."""

    id: Id
    amount: Figure = None
    redemption: RedemptionId = None  # in a rollback: the redemption that was rolled back
    date: Time = None
    customer_id: OptionalId = None
    order: Order | None = None


class RedemptionEvent(SnakeModel):
    """A redemption of a voucher of any type, or of a promotion, which has no voucher."""

    redemption: Redemption
    voucher: Voucher | None = None
    customer: Reference | None = None
    holder: Reference | None = None
    campaign: Reference | None = None
    order: Order | None = None
    created_at: Time = None  # of the event; the redemption has a date of its own

    def coupon_user(self, context: EventContext) -> str | None:
        """Return the ref of the customer who used a coupon, else of its owner."""
        redemption: Redemption | None = self.redemption
        user = (self.customer and self.customer.id) or (redemption.customer_id if redemption else None)
        owner = user or (owner_id(self.voucher, self.holder, self.customer) if self.voucher else None)
        return context.ref(owner) if owner else None

    def stated_at(self, date: datetime | None) -> datetime | None:
        """Return the time of the report if it is later than the date of the redemption or rollback."""
        return self.created_at if self.created_at and date and self.created_at > date else None

    def gift_amount(self, moved: Redemption) -> Decimal | None:
        """Return the money taken from or given back to a gift voucher, None for a coupon."""
        if self.voucher is None or not self.voucher.is_gift or moved.amount is None:
            return None
        return whole_units(abs(moved.amount))


def redemption_succeeded(event: RedemptionEvent, context: EventContext) -> list[Fact]:
    """A loyalty card spends points, a coupon is used, a gift voucher spends money. A promotion has no fact."""
    voucher, redemption = event.voucher, event.redemption
    if voucher is None:
        return []
    bill = bill_fields(event.order or redemption.order)
    name = context.ref(redemption.id)
    if not voucher.is_card:
        return [
            CouponRedeemed(
                **voucher.coupon(context),
                customer=event.coupon_user(context),
                redemption=name,
                redeemed_at=redemption.date,
                amount=event.gift_amount(redemption),
                stated_at=event.stated_at(redemption.date),
                bill=bill.get("bill_number") or bill.get("bill"),
            )
        ]
    if redemption.amount is None:
        raise ValueError("no number of points spent")
    return [
        Redeemed(
            **account_fields(context, voucher, event.campaign, event.holder, event.customer),
            claim=voucher.claim(),
            change=name,
            points=abs(redemption.amount),
            redemption=name,
            bill_number=bill.get("bill_number") or bill.get("bill"),
        )
    ]


class RollbackEvent(RedemptionEvent):
    redemption: Redemption | None = None  # type: ignore[assignment]  # the rollback names it as well
    redemption_rollback: Redemption


def rollback_succeeded(event: RollbackEvent, context: EventContext) -> list[Fact]:
    """The points that the rollback states come back: all or a part (trap 18). A coupon can be used again. A gift
    voucher gets its money back.

    Raises ValueError if the event does not name the redemption.
    """
    voucher, rollback = event.voucher, event.redemption_rollback
    if voucher is None:
        return []
    redemption = rollback.redemption or (event.redemption.id if event.redemption else None)
    if redemption is None:
        raise ValueError("a rollback without its redemption")
    if not voucher.is_card:
        return [
            CouponRedemptionReversed(
                **voucher.coupon(context),
                customer=event.coupon_user(context),
                redemption=context.ref(redemption),
                reversal=context.ref(rollback.id),
                amount=event.gift_amount(rollback),
                stated_at=event.stated_at(rollback.date),
            )
        ]
    if rollback.amount is None:
        raise ValueError("no number of points given back")
    return [
        RedemptionReversed(
            **account_fields(context, voucher, event.campaign, event.holder, event.customer),
            claim=voucher.claim(),
            change=context.ref(rollback.id),
            points=abs(rollback.amount),
            redemption=context.ref(redemption),
        )
    ]


class CustomerRewardedEvent(RedemptionEvent):
    redemption: Redemption | None = None  # type: ignore[assignment]  # a reward may come of another event


def customer_rewarded(event: CustomerRewardedEvent, context: EventContext) -> list[Fact]:
    """A reward was given. If points were spent, the event reports the redemption.

    If points are the reward, the event has no facts. It names no transaction, so these points would count twice with
    points added.
    """
    if event.redemption is None or event.voucher is None or not event.voucher.is_card:
        return []
    return redemption_succeeded(event, context)


KINDS: dict[str, EventType[Any]] = {
    "redemption.succeeded": EventType(RedemptionEvent, redemption_succeeded),
    "redemption.rollback.succeeded": EventType(RollbackEvent, rollback_succeeded),
    "customer.redemption.succeeded": EventType(RedemptionEvent, redemption_succeeded),
    "customer.redemption.rollback.succeeded": EventType(RollbackEvent, rollback_succeeded),
    "customer.rewarded": EventType(CustomerRewardedEvent, customer_rewarded),
}
