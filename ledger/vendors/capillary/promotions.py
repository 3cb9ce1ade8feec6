"""Capillary's promotions: loyalty promotions (document 003) and cart promotions (its later event schema).

A promotion is issued to a customer, earned, then used. Each step can be revoked, and the revocation may arrive first
(trap 36). These events have no event id. A limit of -1 means no limit (trap 37).
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Annotated, Any

from ledger.facts import Fact
from ledger.facts.promotions import (
    EarnedPromotionRevoked,
    IssuedPromotionRevoked,
    Limit,
    PromotionEarned,
    PromotionIssued,
    PromotionRedeemed,
)
from ledger.vendors.capillary.people import CustomerEvent
from ledger.vendors.fields import Day, Figure, Id, List, OptionalId, Text, Time, VendorModel
from ledger.vendors.vendor import EventContext, EventType

UNLIMITED = Decimal(-1)
ZERO, ONE = Decimal(0), Decimal(1)


class Restriction(VendorModel):
    kpi: Text = None
    max_limit: Figure = None
    limit_on: Text = None
    restriction_type: Text = None

    def limits(self, applies_to: str) -> Iterator[Limit]:
        """Yield the limit, if it has a measure and a maximum. -1 means unlimited (trap 37)."""
        if self.kpi and self.max_limit is not None:
            maximum = None if self.max_limit == UNLIMITED else self.max_limit
            yield Limit(self.kpi, maximum, applies_to, self.limit_on, self.restriction_type)


class PromotionEvent(CustomerEvent):
    """The fields of all events about a loyalty promotion."""

    promotion_id: Id
    loyalty_program_id: OptionalId = None
    promotion_name: Text = None
    promotion_start_date: Day = None
    promotion_end_date: Day = None
    issue_restrictions: Annotated[tuple[Restriction, ...], List] = ()
    earn_restrictions: Annotated[tuple[Restriction, ...], List] = ()
    redemption_restrictions: Annotated[tuple[Restriction, ...], List] = ()

    def fact_fields(self, context: EventContext) -> dict[str, Any]:
        restrictions = {
            "issue": self.issue_restrictions,
            "earn": self.earn_restrictions,
            "redemption": self.redemption_restrictions,
        }
        return {
            "customer": self.customer(context),
            "promotion": self.promotion_id,
            "programme": self.loyalty_program_id,
            "name": self.promotion_name,
            "starts_on": self.promotion_start_date,
            "ends_on": self.promotion_end_date,
            "limits": tuple(
                limit
                for applies_to, lines in restrictions.items()
                for restriction in lines
                for limit in restriction.limits(applies_to)
            ),
        }


class PromotionIssuedEvent(PromotionEvent):
    issual_id: Id
    promotion_issued_date: Day = None
    promotion_issued_expiry_date: Day = None


def promotion_issued(event: PromotionIssuedEvent, context: EventContext) -> list[Fact]:
    return [
        PromotionIssued(
            **event.fact_fields(context),
            issual=event.issual_id,
            issued_on=event.promotion_issued_date,
            expires_on=event.promotion_issued_expiry_date,
        )
    ]


class PromotionEarnedEvent(PromotionEvent):
    earned_id: Id
    issual_id: OptionalId = None
    promotion_earned_date: Day = None
    promotion_earned_expiry_date: Day = None


def promotion_earned(event: PromotionEarnedEvent, context: EventContext) -> list[Fact]:
    return [
        PromotionEarned(
            **event.fact_fields(context),
            earned=event.earned_id,
            issual=event.issual_id,
            earned_on=event.promotion_earned_date,
            expires_on=event.promotion_earned_expiry_date,
        )
    ]


class RevokeIssuedPromotion(PromotionEvent):
    revoked_issual_id: Id


def revoke_issued_promotion(event: RevokeIssuedPromotion, context: EventContext) -> list[Fact]:
    """Only the issue is revoked. A promotion earned from it has its own revocation (trap 36)."""
    return [IssuedPromotionRevoked(**event.fact_fields(context), issual=event.revoked_issual_id)]


class RevokedEarning(VendorModel):
    revoked_earned_id: Id
    promotion_earned_date: Day = None
    promotion_earned_expiry_date: Day = None


class RevokeEarnedPromotion(PromotionEvent):
    revoked_earned_promotion_details: Annotated[tuple[RevokedEarning, ...], List]


def revoke_earned_promotion(event: RevokeEarnedPromotion, context: EventContext) -> list[Fact]:
    """Return one fact for each revoked earning, even if the earning was never reported (trap 36)."""
    return [
        EarnedPromotionRevoked(
            **event.fact_fields(context),
            earned=revoked.revoked_earned_id,
            earned_on=revoked.promotion_earned_date,
            expires_on=revoked.promotion_earned_expiry_date,
        )
        for revoked in event.revoked_earned_promotion_details
    ]


class CartPromotion(CustomerEvent):
    promotion_id: Id
    issue_id: OptionalId = None
    issue_date: Day = None
    earn_id: OptionalId = None
    earned_time: Day = None

    def fact_fields(self, context: EventContext) -> dict[str, Any]:
        return {"customer": self.customer(context), "promotion": self.promotion_id}


def cart_promotion_issued(event: CartPromotion, context: EventContext) -> list[Fact]:
    if event.issue_id is None:
        raise ValueError("no issue id")
    return [PromotionIssued(**event.fact_fields(context), issual=event.issue_id, issued_on=event.issue_date)]


def cart_promotion_earned(event: CartPromotion, context: EventContext) -> list[Fact]:
    if event.earn_id is None:
        raise ValueError("no earn id")
    return [
        PromotionEarned(
            **event.fact_fields(context), earned=event.earn_id, issual=event.issue_id, earned_on=event.earned_time
        )
    ]


def cart_promotion_revoked(event: CartPromotion, context: EventContext) -> list[Fact]:
    """The event names an earning, and only that is revoked."""
    if event.earn_id is None:
        raise ValueError("no earn id")
    return [EarnedPromotionRevoked(**event.fact_fields(context), earned=event.earn_id)]


class AppliedPromotion(VendorModel):
    promotion_id: Id
    earn_id: Id
    redemption_count: Figure = ONE
    discount: Figure = ZERO


class LineItem(VendorModel):
    applied_promotions: Annotated[tuple[AppliedPromotion, ...], List] = ()


class CartPromotionRedeemed(CustomerEvent):
    transaction_identifier: OptionalId = None
    redemption_date_time: Time = None
    applied_promotions: Annotated[tuple[AppliedPromotion, ...], List] = ()
    line_item_info: Annotated[tuple[LineItem, ...], List] = ()


def cart_promotion_redeemed(event: CartPromotionRedeemed, context: EventContext) -> list[Fact]:
    """Return one fact for each earned promotion that was used.

    The vendor does not state whether the lines' promotions are part of the cart's. So a line counts only if the cart
    does not name the promotion.
    """
    customer = event.customer(context)
    transaction = event.transaction_identifier or event.envelope.event_id or context.tag
    used: dict[str, list[AppliedPromotion]] = {}
    for applied in event.applied_promotions:
        used.setdefault(applied.earn_id, []).append(applied)
    for earned, lines in _group_by_earning(event.line_item_info).items():
        used.setdefault(earned, lines)
    return [
        PromotionRedeemed(
            customer=customer,
            promotion=uses[0].promotion_id,
            earned=earned,
            redemption=f"{transaction}~{earned}",
            redeemed_at=event.redemption_date_time,
            uses=sum((use.redemption_count or ZERO for use in uses), ZERO),
            discount=sum((use.discount or ZERO for use in uses), ZERO),
        )
        for earned, uses in used.items()
    ]


def _group_by_earning(lines: Iterable[LineItem]) -> dict[str, list[AppliedPromotion]]:
    used: dict[str, list[AppliedPromotion]] = {}
    for line in lines:
        for applied in line.applied_promotions:
            used.setdefault(applied.earn_id, []).append(applied)
    return used


KINDS: dict[str, EventType[Any]] = {
    "promotionIssued": EventType(PromotionIssuedEvent, promotion_issued),
    "promotionEarned": EventType(PromotionEarnedEvent, promotion_earned),
    "revokeIssuedPromotion": EventType(RevokeIssuedPromotion, revoke_issued_promotion),
    "revokeEarnedPromotion": EventType(RevokeEarnedPromotion, revoke_earned_promotion),
    "cartPromotionIssued": EventType(CartPromotion, cart_promotion_issued),
    "cartPromotionEarned": EventType(CartPromotion, cart_promotion_earned),
    "cartPromotionRevoked": EventType(CartPromotion, cart_promotion_revoked),
    "cartPromotionRedeemed": EventType(CartPromotionRedeemed, cart_promotion_redeemed),
}
