"""Voucherify's tiers: joined, upgraded, downgraded, prolonged, left. A tier is known by its id within the campaign."""

from datetime import date
from typing import Any

from ledger.facts import Fact
from ledger.facts.tier_memberships import TierJoined, TierLeft
from ledger.facts.tiers import TierChanged, TierDowngraded, TierRenewed, TierUpgraded
from ledger.vendors.fields import Day, Id, OptionalId, SnakeModel, Text
from ledger.vendors.vendor import EventContext, EventType


class Identified(SnakeModel):
    id: Id


class Expiration(SnakeModel):
    """How long the customer stays in the tier; without an end where tiers do not expire."""

    expiration_date: Day = None


class Tier(SnakeModel):
    id: Id
    name: Text = None
    expiration: Expiration | None = None


class TierEvent(SnakeModel):
    customer: Identified
    campaign: Identified

    def membership(self, tier: Tier, stamp: EventContext) -> dict[str, Any]:
        return {
            "customer": stamp.ref(self.customer.id),
            "programme": self.campaign.id,
            "tier": tier.id,
            "tier_name": tier.name,
        }


class TierTold(TierEvent):
    loyalty_tier: Tier

    def entered(self, told: type[TierChanged], stamp: EventContext) -> TierChanged:
        return told(**self.membership(self.loyalty_tier, stamp), until=_until(self.loyalty_tier))


def tier_joined(event: TierTold, stamp: EventContext) -> list[Fact]:
    return [event.entered(TierJoined, stamp)]


def tier_prolonged(event: TierTold, stamp: EventContext) -> list[Fact]:
    return [event.entered(TierRenewed, stamp)]


def tier_left(event: TierTold, stamp: EventContext) -> list[Fact]:
    return [TierLeft(**event.membership(event.loyalty_tier, stamp))]


class TierLeftBehind(SnakeModel):
    id: OptionalId = None


class TierMoved(TierEvent):
    loyalty_tier_from: TierLeftBehind | None = None
    loyalty_tier_to: Tier

    def moved(self, told: type[TierChanged], stamp: EventContext) -> TierChanged:
        tier = self.loyalty_tier_to
        previous = self.loyalty_tier_from.id if self.loyalty_tier_from else None
        return told(**self.membership(tier, stamp), until=_until(tier), previous=previous)


def tier_upgraded(event: TierMoved, stamp: EventContext) -> list[Fact]:
    return [event.moved(TierUpgraded, stamp)]


def tier_downgraded(event: TierMoved, stamp: EventContext) -> list[Fact]:
    return [event.moved(TierDowngraded, stamp)]


def _until(tier: Tier) -> date | None:
    return tier.expiration.expiration_date if tier.expiration else None


KINDS: dict[str, EventType[Any]] = {
    "customer.loyalty.tier.joined": EventType(TierTold, tier_joined),
    "customer.loyalty.tier.left": EventType(TierTold, tier_left),
    "customer.loyalty.tier.prolonged": EventType(TierTold, tier_prolonged),
    "customer.loyalty.tier.upgraded": EventType(TierMoved, tier_upgraded),
    "customer.loyalty.tier.downgraded": EventType(TierMoved, tier_downgraded),
}
