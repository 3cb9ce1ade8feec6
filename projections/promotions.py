"""Promotions: issued to, earned by and used by each customer, and revoked.

1. A revocation may come before its object, or for an unknown one. It is kept, and the object is revoked when it
   arrives.
2. Revoking an issue does not revoke promotions earned from it. A separate event does that.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple

from msgspec import Struct, field

from ledger.facts import Occurrence
from ledger.facts.promotions import (
    EarnedPromotionRevoked,
    IssuedPromotionRevoked,
    Limit,
    PromotionEarned,
    PromotionFact,
    PromotionIssued,
    PromotionRedeemed,
)
from projections.definition import Projection, Rows, State
from projections.field_updates import update_stated
from projections.tables import Identifier, Position, StateOnly, Table, row_from

ZERO = Decimal(0)


class PromotionIssual(Struct):
    issued_at: datetime | None = None
    issued_on: date | None = None
    expires_on: date | None = None
    revoked_at: datetime | None = None


class PromotionIssualRow(PromotionIssual, kw_only=True):
    """Issues of promotions."""

    issual: Identifier
    status: Annotated[str, "issued, revoked"]
    incomplete: Annotated[bool, "the issue was not recorded"]


class PromotionLimitRow(NamedTuple):
    """Limits of promotions."""

    measure: Identifier
    maximum: Annotated[Decimal | None, "the largest value of the measure; null: unlimited"]
    applies_to: Annotated[str | None, "the limited action: issue, earn, redemption"]
    scope: Annotated[str | None, "counts for each of these, for example CUSTOMER"]
    restriction: Annotated[str | None, "as the source writes it, for example NON_PERIOD_BASED"]


class EarnedPromotion(Struct):
    issual: str | None = None
    earned_at: datetime | None = None
    earned_on: date | None = None
    expires_on: date | None = None
    revoked_at: datetime | None = None
    # by redemption: time, uses, discount
    redemptions: StateOnly[dict[str, tuple[datetime, Decimal, Decimal]]] = field(default_factory=dict)


class PromotionEarnedRow(EarnedPromotion, kw_only=True):
    """Earnings of promotions."""

    earned: Identifier
    status: Annotated[str, "earned, redeemed, revoked"]
    redeemed_count: Decimal
    redeemed_at: Annotated[datetime | None, "the time of the last redemption"]
    discount: Decimal
    incomplete: Annotated[bool, "the earning was not recorded"]


class Promotion(State):
    customer: Identifier | None = None
    promotion: str | None = None
    name: str | None = None
    programme: str | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    limits_by_measure: StateOnly[dict[str, Limit]] = field(default_factory=dict)
    issuals: StateOnly[dict[str, PromotionIssual]] = field(default_factory=dict)
    earned: StateOnly[dict[str, EarnedPromotion]] = field(default_factory=dict)
    last_position: Position = 0


class PromotionRow(Promotion, kw_only=True):
    """Promotions of customers: issues, earnings, redemptions, limits."""

    issued_count: Annotated[int, "the number of recorded issues that were not revoked"]
    earned_count: Annotated[int, "the number of recorded earnings that were not revoked"]
    redeemed_count: Decimal
    revoked_count: Annotated[int, "issues and earned promotions, known or not"]
    limits: Annotated[list[str], "'MAX_NUMBER_OF_EARNS_PER_CUSTOMER 3', '… unlimited'"]
    incomplete: Annotated[bool, "something unknown was revoked or used"]


PROMOTIONS_TABLE = Table(
    "promotions",
    PromotionRow,
    {
        "programme": "(ledger_id, programme, subject)",
        "promotion": "(ledger_id, promotion, subject)",
        "flagged": "(ledger_id, subject) WHERE incomplete",
    },
)
PROMOTION_ISSUALS_TABLE = Table("promotion_issuals", PromotionIssualRow, key=("issual",))

PROMOTIONS_EARNED_TABLE = Table("promotions_earned", PromotionEarnedRow, key=("earned",))
PROMOTION_LIMITS_TABLE = Table("promotion_limits", PromotionLimitRow, key=("measure",))


def issue(promotion: Promotion, fact: PromotionIssued, occurrence: Occurrence) -> None:
    """The customer was issued the promotion and may take part."""
    _update_fields(promotion, fact, occurrence)
    issual = promotion.issuals.setdefault(fact.issual, PromotionIssual())
    issual.issued_at = issual.issued_at or occurrence.occurred_at
    update_stated(issual, fact, "issued_on", "expires_on")


def earn(promotion: Promotion, fact: PromotionEarned, occurrence: Occurrence) -> None:
    """The customer met the conditions of the promotion."""
    _update_fields(promotion, fact, occurrence)
    earned = promotion.earned.setdefault(fact.earned, EarnedPromotion())
    update_stated(earned, fact, "issual", "earned_on", "expires_on")
    earned.earned_at = earned.earned_at or occurrence.occurred_at


def redeem(promotion: Promotion, fact: PromotionRedeemed, occurrence: Occurrence) -> None:
    """An earned promotion was used. A repeated report counts once."""
    _update_fields(promotion, fact, occurrence)
    earned = promotion.earned.setdefault(fact.earned, EarnedPromotion())
    redeemed_at = fact.redeemed_at or occurrence.occurred_at
    _, _, discount = earned.redemptions.get(fact.redemption, (redeemed_at, fact.uses, ZERO))
    discount = discount if fact.discount is None else fact.discount
    earned.redemptions[fact.redemption] = (redeemed_at, fact.uses, discount)


def revoke_issual(promotion: Promotion, fact: IssuedPromotionRevoked, occurrence: Occurrence) -> None:
    """The promotion was revoked. Promotions earned from it stay earned."""
    _update_fields(promotion, fact, occurrence)
    issual = promotion.issuals.setdefault(fact.issual, PromotionIssual())
    issual.revoked_at = issual.revoked_at or occurrence.occurred_at


def revoke_earned(promotion: Promotion, fact: EarnedPromotionRevoked, occurrence: Occurrence) -> None:
    """An earned promotion was revoked."""
    _update_fields(promotion, fact, occurrence)
    earned = promotion.earned.setdefault(fact.earned, EarnedPromotion())
    update_stated(earned, fact, "earned_on", "expires_on")
    earned.revoked_at = earned.revoked_at or occurrence.occurred_at


def _update_fields(promotion: Promotion, fact: PromotionFact, occurrence: Occurrence) -> None:
    """Update the fields that the fact names. Other fields keep their values."""
    promotion.customer, promotion.promotion = fact.customer, fact.promotion
    update_stated(promotion, fact, "programme", "name", "starts_on", "ends_on")
    promotion.limits_by_measure |= {limit.measure: limit for limit in fact.limits}
    promotion.last_position = max(promotion.last_position, occurrence.position)


def promotion_rows(_subject: str, promotion: Promotion) -> Rows:
    issuals = [_issual_row(name, issual) for name, issual in promotion.issuals.items()]
    earned = [_earned_row(name, earned) for name, earned in promotion.earned.items()]
    limits = sorted(promotion.limits_by_measure.items())
    summary = row_from(
        promotion,
        PromotionRow,
        issued_count=sum(row.status == "issued" for row in issuals),
        earned_count=sum(row.status != "revoked" and not row.incomplete for row in earned),
        redeemed_count=sum((row.redeemed_count for row in earned), ZERO),
        revoked_count=sum(row.status == "revoked" for row in issuals) + sum(row.status == "revoked" for row in earned),
        limits=[_limit(limit) for _, limit in limits],
        incomplete=any(row.incomplete for row in issuals) or any(row.incomplete for row in earned),
    )
    return {
        "promotions": [summary],
        "promotion_issuals": issuals,
        "promotions_earned": earned,
        "promotion_limits": [row_from(limit, PromotionLimitRow) for _, limit in limits],
    }


def _issual_row(name: str, issual: PromotionIssual) -> Any:
    return row_from(
        issual,
        PromotionIssualRow,
        issual=name,
        status="issued" if issual.revoked_at is None else "revoked",
        incomplete=issual.issued_at is None,
    )


def _earned_row(name: str, earned: EarnedPromotion) -> Any:
    redemptions = earned.redemptions.values()
    status = "redeemed" if redemptions else "earned"
    return row_from(
        earned,
        PromotionEarnedRow,
        earned=name,
        status=status if earned.revoked_at is None else "revoked",
        redeemed_count=sum((uses for _, uses, _ in redemptions), ZERO),
        redeemed_at=max((redeemed_at for redeemed_at, _, _ in redemptions), default=None),
        discount=sum((discount for _, _, discount in redemptions), ZERO),
        incomplete=earned.earned_at is None,
    )


def _limit(limit: Limit) -> str:
    return f"{limit.measure} {'unlimited' if limit.maximum is None else limit.maximum}"


PROMOTIONS = Projection(
    name="promotions",
    version=4,
    subject="promotion",
    start=Promotion,
    on={
        PromotionIssued: issue,
        PromotionEarned: earn,
        PromotionRedeemed: redeem,
        IssuedPromotionRevoked: revoke_issual,
        EarnedPromotionRevoked: revoke_earned,
    },
    rows=promotion_rows,
    tables=(PROMOTIONS_TABLE, PROMOTION_ISSUALS_TABLE, PROMOTIONS_EARNED_TABLE, PROMOTION_LIMITS_TABLE),
)
