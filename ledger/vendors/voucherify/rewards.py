"""Voucherify's reward redemptions: a reward is paid with points and is a coupon or a thing (document 002)."""

from decimal import Decimal
from typing import Any

from ledger.facts import Fact
from ledger.facts.accounts import Redeemed
from ledger.facts.coupons import CouponIssued
from ledger.facts.rewards import (
    RewardRedemptionCompleted,
    RewardRedemptionCreated,
    RewardRedemptionFact,
    RewardRedemptionPending,
    RewardRedemptionRolledBack,
)
from ledger.vendors.fields import Figure, Id, OptionalId, SnakeModel, Text
from ledger.vendors.vendor import EventContext, EventType
from ledger.vendors.voucherify.card import CardEvent, Voucher


class RewardRedemption(SnakeModel):
    id: Id
    customer_id: OptionalId = None


class Reward(SnakeModel):
    id: OptionalId = None
    name: Text = None
    type: Text = None
    voucher: Voucher | None = None  # the issued voucher; repeated in the event's publication


class Publication(SnakeModel):
    voucher: Voucher | None = None


class Cost(SnakeModel):
    points: Figure = None


class Parameters(SnakeModel):
    loyalty: Cost | None = None


class RewardAssignment(SnakeModel):
    reward_id: OptionalId = None
    parameters: Parameters | None = None


class Source(SnakeModel):
    id: OptionalId = None
    type: Text = None


class RewardRedemptionEvent(CardEvent):
    reward_redemption: RewardRedemption
    reward: Reward | None = None
    reward_assignment: RewardAssignment | None = None
    source: Source | None = None
    publication: Publication | None = None

    def cost(self) -> Decimal | None:
        parameters = self.reward_assignment.parameters if self.reward_assignment else None
        return parameters.loyalty.points if parameters and parameters.loyalty else None

    def debit(self, context: EventContext) -> str | None:
        """Return the ref of the redemption that paid, None if the reward has another cause."""
        source = self.source
        return context.ref(source.id) if source and source.id and source.type == "redemption" else None

    def reward_id(self) -> str | None:
        assigned = self.reward_assignment.reward_id if self.reward_assignment else None
        return (self.reward.id if self.reward else None) or assigned

    def coupon(self) -> Voucher | None:
        """Return the issued voucher, None if the reward is no voucher. The reward and the publication contain the same
        voucher.
        """
        rewarded = self.reward.voucher if self.reward else None
        issued = rewarded or (self.publication.voucher if self.publication else None)
        return issued if issued and not issued.is_card else None

    def fact(self, fact_type: type[RewardRedemptionFact], context: EventContext) -> RewardRedemptionFact:
        reward, coupon, customer = self.reward_id(), self.coupon(), self.reward_redemption.customer_id
        return fact_type(
            reward_redemption=context.ref(self.reward_redemption.id),
            reward=context.ref(reward) if reward else None,
            reward_name=self.reward.name if self.reward else None,
            reward_type=self.reward.type if self.reward else None,
            issued="coupon" if coupon else "product" if self.reward and self.reward.type == "MATERIAL" else None,
            customer=context.ref(customer) if customer else self.account(context)["customer"],
            points=self.cost(),
            coupon=coupon.coupon(context)["coupon"] if coupon else None,
            coupon_code=coupon.code if coupon else None,
            points_redemption=self.debit(context),
        )


def reward_created(event: RewardRedemptionEvent, context: EventContext) -> list[Fact]:
    return [event.fact(RewardRedemptionCreated, context)]


def reward_pending(event: RewardRedemptionEvent, context: EventContext) -> list[Fact]:
    return [event.fact(RewardRedemptionPending, context)]


def reward_rolled_back(event: RewardRedemptionEvent, context: EventContext) -> list[Fact]:
    """The rollback of the redemption returns the points. This event does not name it."""
    return [event.fact(RewardRedemptionRolledBack, context)]


def reward_completed(event: RewardRedemptionEvent, context: EventContext) -> list[Fact]:
    """The redemption in `source` spent the points and is the change's key. So the event of the redemption counts as the
    same change (trap 17).

    One coupon was issued, although the event repeats it.
    """
    facts: list[Fact] = [event.fact(RewardRedemptionCompleted, context)]
    cost, debit, coupon = event.cost(), event.debit(context), event.coupon()
    if cost and debit:
        facts.append(
            Redeemed(**event.account(context), claim=event.voucher.claim(), change=debit, points=cost, redemption=debit)
        )
    if coupon:
        facts.append(coupon_issued(coupon, event.reward_redemption.customer_id, context))
    return facts


def coupon_issued(coupon: Voucher, customer_id: str | None, context: EventContext) -> CouponIssued:
    customer = coupon.holder_id or customer_id
    return CouponIssued(
        **coupon.coupon(context), customer=context.ref(customer) if customer else None, issued_at=coupon.created_at
    )


KINDS: dict[str, EventType[Any]] = {
    "customer.reward_redemptions.created": EventType(RewardRedemptionEvent, reward_created),
    "customer.reward_redemptions.pending": EventType(RewardRedemptionEvent, reward_pending),
    "customer.reward_redemptions.completed": EventType(RewardRedemptionEvent, reward_completed),
    "customer.reward_redemptions.rolledback": EventType(RewardRedemptionEvent, reward_rolled_back),
}
