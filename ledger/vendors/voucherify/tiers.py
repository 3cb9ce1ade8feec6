"""Voucherify's tiers: joined, upgraded, downgraded, prolonged, left. A tier is identified by its id within the
campaign.
"""

from datetime import date
from typing import Any

from ledger.facts import Fact
from ledger.facts.tiers import TierChanged, TierDowngraded, TierJoined, TierLeft, TierRenewed, TierUpgraded
from ledger.vendors.fields import Day, Id, OptionalId, SnakeModel, Text
from ledger.vendors.vendor import EventContext, EventType


class RequiredReference(SnakeModel):
    id: Id


class Expiration(SnakeModel):
    """The last day of the customer in the tier. None if tiers do not expire."""

    expiration_date: Day = None


class Tier(SnakeModel):
    id: Id
    name: Text = None
    expiration: Expiration | None = None


class MembershipEvent(SnakeModel):
    customer: RequiredReference
    campaign: RequiredReference

    def membership(self, tier: Tier, context: EventContext) -> dict[str, Any]:
        return {
            "customer": context.ref(self.customer.id),
            "programme": self.campaign.id,
            "tier": tier.id,
            "tier_name": tier.name,
        }


class TierEvent(MembershipEvent):
    loyalty_tier: Tier

    def fact(self, fact_type: type[TierChanged], context: EventContext) -> TierChanged:
        return fact_type(**self.membership(self.loyalty_tier, context), until=_until(self.loyalty_tier))


def tier_joined(event: TierEvent, context: EventContext) -> list[Fact]:
    return [event.fact(TierJoined, context)]


def tier_prolonged(event: TierEvent, context: EventContext) -> list[Fact]:
    return [event.fact(TierRenewed, context)]


def tier_left(event: TierEvent, context: EventContext) -> list[Fact]:
    return [TierLeft(**event.membership(event.loyalty_tier, context))]


class PreviousTier(SnakeModel):
    id: OptionalId = None


class TierChangeEvent(MembershipEvent):
    loyalty_tier_from: PreviousTier | None = None
    loyalty_tier_to: Tier

    def fact(self, fact_type: type[TierChanged], context: EventContext) -> TierChanged:
        tier = self.loyalty_tier_to
        previous = self.loyalty_tier_from.id if self.loyalty_tier_from else None
        return fact_type(**self.membership(tier, context), until=_until(tier), previous=previous)


def tier_upgraded(event: TierChangeEvent, context: EventContext) -> list[Fact]:
    return [event.fact(TierUpgraded, context)]


def tier_downgraded(event: TierChangeEvent, context: EventContext) -> list[Fact]:
    return [event.fact(TierDowngraded, context)]


def _until(tier: Tier) -> date | None:
    return tier.expiration.expiration_date if tier.expiration else None


KINDS: dict[str, EventType[Any]] = {
    "customer.loyalty.tier.joined": EventType(TierEvent, tier_joined),
    "customer.loyalty.tier.left": EventType(TierEvent, tier_left),
    "customer.loyalty.tier.prolonged": EventType(TierEvent, tier_prolonged),
    "customer.loyalty.tier.upgraded": EventType(TierChangeEvent, tier_upgraded),
    "customer.loyalty.tier.downgraded": EventType(TierChangeEvent, tier_downgraded),
}
