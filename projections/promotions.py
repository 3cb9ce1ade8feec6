"""Promotions: issued to, earned by and used by each customer, and revoked.

1. A revocation may come before its object, or for an unknown one. It is kept, and the object is revoked when it
   arrives.
2. Revoking an issue does not revoke promotions earned from it. A separate event does that.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct, field

from ledger.facts import Occurrence
from ledger.facts.promotions import (
    EarnedPromotionRevoked,
    IssuedPromotionRevoked,
    PromotionEarned,
    PromotionFact,
    PromotionIssued,
    PromotionRedeemed,
)
from projections.definition import Projection, Rows, State, Table

ZERO = Decimal(0)


class PromotionIssual(Struct):
    issued_at: datetime | None = None
    issued_on: date | None = None
    expires_on: date | None = None
    revoked_at: datetime | None = None


class EarnedPromotion(Struct):
    issual: str | None = None
    earned_at: datetime | None = None
    earned_on: date | None = None
    expires_on: date | None = None
    revoked_at: datetime | None = None
    redemptions: dict[str, tuple[datetime, Decimal, Decimal]] = field(default_factory=dict)  # time, uses, discount


class Promotion(State):
    customer: str | None = None
    promotion: str | None = None
    programme: str | None = None
    name: str | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    limits: dict[str, Decimal | None] = field(default_factory=dict)
    issuals: dict[str, PromotionIssual] = field(default_factory=dict)
    earned: dict[str, EarnedPromotion] = field(default_factory=dict)
    position: int = 0


class PromotionRow(NamedTuple):
    customer: str | None
    promotion: str | None
    name: str | None
    programme: str | None
    starts_on: date | None
    ends_on: date | None
    issued_count: int  # recorded and not revoked
    earned_count: int  # recorded and not revoked
    redeemed_count: Decimal
    revoked_count: int  # issues and earned promotions, known or not
    limits: list[str]  # "MAX_NUMBER_OF_EARNS_PER_CUSTOMER 3", "… unlimited"
    incomplete: bool  # something unknown was revoked or used
    last_position: int


class PromotionIssualRow(NamedTuple):
    issual: str
    status: str  # issued, revoked
    issued_at: datetime | None
    issued_on: date | None
    expires_on: date | None
    revoked_at: datetime | None
    incomplete: bool  # the issue was not recorded


class PromotionEarnedRow(NamedTuple):
    earned: str
    issual: str | None
    status: str  # earned, redeemed, revoked
    earned_at: datetime | None
    earned_on: date | None
    expires_on: date | None
    redeemed_count: Decimal
    redeemed_at: datetime | None  # last
    discount: Decimal
    revoked_at: datetime | None
    incomplete: bool  # the earning was not recorded


PROMOTIONS_TABLE = Table(
    name="promotions",
    create="""
        CREATE TABLE promotions (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            customer text COLLATE "C", promotion text, name text, programme text, starts_on date, ends_on date,
            issued_count int NOT NULL, earned_count int NOT NULL, redeemed_count numeric NOT NULL,
            revoked_count int NOT NULL, limits text[] NOT NULL, incomplete boolean NOT NULL,
            last_position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE promotions ADD PRIMARY KEY (ledger_id, subject)",
        "CREATE INDEX promotions_customer ON promotions (ledger_id, customer)",
        "CREATE INDEX promotions_flagged ON promotions (ledger_id, subject) WHERE incomplete",
    ),
    columns=PromotionRow._fields,
    key=(),
)

PROMOTION_ISSUALS_TABLE = Table(
    name="promotion_issuals",
    create="""
        CREATE TABLE promotion_issuals (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            issual text COLLATE "C" NOT NULL, status text NOT NULL, issued_at timestamptz, issued_on date,
            expires_on date, revoked_at timestamptz, incomplete boolean NOT NULL)
        """,
    index=("ALTER TABLE promotion_issuals ADD PRIMARY KEY (ledger_id, subject, issual)",),
    columns=PromotionIssualRow._fields,
    key=("issual",),
)

PROMOTIONS_EARNED_TABLE = Table(
    name="promotions_earned",
    create="""
        CREATE TABLE promotions_earned (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            earned text COLLATE "C" NOT NULL, issual text, status text NOT NULL, earned_at timestamptz, earned_on date,
            expires_on date, redeemed_count numeric NOT NULL, redeemed_at timestamptz, discount numeric NOT NULL,
            revoked_at timestamptz, incomplete boolean NOT NULL)
        """,
    index=("ALTER TABLE promotions_earned ADD PRIMARY KEY (ledger_id, subject, earned)",),
    columns=PromotionEarnedRow._fields,
    key=("earned",),
)


def issue(promotion: Promotion, fact: PromotionIssued, occurrence: Occurrence) -> None:
    """The customer was issued the promotion and may take part."""
    _update_fields(promotion, fact, occurrence)
    issual = promotion.issuals.setdefault(fact.issual, PromotionIssual())
    issual.issued_at = issual.issued_at or occurrence.occurred_at
    issual.issued_on = fact.issued_on or issual.issued_on
    issual.expires_on = fact.expires_on or issual.expires_on


def earn(promotion: Promotion, fact: PromotionEarned, occurrence: Occurrence) -> None:
    """The customer met the conditions of the promotion."""
    _update_fields(promotion, fact, occurrence)
    earned = promotion.earned.setdefault(fact.earned, EarnedPromotion())
    earned.issual = fact.issual or earned.issual
    earned.earned_at = earned.earned_at or occurrence.occurred_at
    earned.earned_on = fact.earned_on or earned.earned_on
    earned.expires_on = fact.expires_on or earned.expires_on


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
    earned.earned_on = fact.earned_on or earned.earned_on
    earned.expires_on = fact.expires_on or earned.expires_on
    earned.revoked_at = earned.revoked_at or occurrence.occurred_at


def _update_fields(promotion: Promotion, fact: PromotionFact, occurrence: Occurrence) -> None:
    """Update the fields that the fact names. Other fields keep their values."""
    promotion.customer, promotion.promotion = fact.customer, fact.promotion
    promotion.programme = fact.programme or promotion.programme
    promotion.name = fact.name or promotion.name
    promotion.starts_on = fact.starts_on or promotion.starts_on
    promotion.ends_on = fact.ends_on or promotion.ends_on
    promotion.limits |= {limit.measure: limit.maximum for limit in fact.limits}
    promotion.position = max(promotion.position, occurrence.position)


def promotion_rows(_subject: str, promotion: Promotion) -> Rows:
    issuals = [_issual_row(name, issual) for name, issual in promotion.issuals.items()]
    earned = [_earned_row(name, earned) for name, earned in promotion.earned.items()]
    summary = PromotionRow(
        customer=promotion.customer,
        promotion=promotion.promotion,
        name=promotion.name,
        programme=promotion.programme,
        starts_on=promotion.starts_on,
        ends_on=promotion.ends_on,
        issued_count=sum(row.status == "issued" for row in issuals),
        earned_count=sum(row.status != "revoked" and not row.incomplete for row in earned),
        redeemed_count=sum((row.redeemed_count for row in earned), ZERO),
        revoked_count=sum(row.status == "revoked" for row in issuals) + sum(row.status == "revoked" for row in earned),
        limits=[_limit(measure, maximum) for measure, maximum in sorted(promotion.limits.items())],
        incomplete=any(row.incomplete for row in issuals) or any(row.incomplete for row in earned),
        last_position=promotion.position,
    )
    return {"promotions": [summary], "promotion_issuals": issuals, "promotions_earned": earned}


def _issual_row(name: str, issual: PromotionIssual) -> PromotionIssualRow:
    return PromotionIssualRow(
        issual=name,
        status="issued" if issual.revoked_at is None else "revoked",
        issued_at=issual.issued_at,
        issued_on=issual.issued_on,
        expires_on=issual.expires_on,
        revoked_at=issual.revoked_at,
        incomplete=issual.issued_at is None,
    )


def _earned_row(name: str, earned: EarnedPromotion) -> PromotionEarnedRow:
    redemptions = earned.redemptions.values()
    status = "redeemed" if redemptions else "earned"
    return PromotionEarnedRow(
        earned=name,
        issual=earned.issual,
        status=status if earned.revoked_at is None else "revoked",
        earned_at=earned.earned_at,
        earned_on=earned.earned_on,
        expires_on=earned.expires_on,
        redeemed_count=sum((uses for _, uses, _ in redemptions), ZERO),
        redeemed_at=max((redeemed_at for redeemed_at, _, _ in redemptions), default=None),
        discount=sum((discount for _, _, discount in redemptions), ZERO),
        revoked_at=earned.revoked_at,
        incomplete=earned.earned_at is None,
    )


def _limit(measure: str, maximum: Decimal | None) -> str:
    return f"{measure} {'unlimited' if maximum is None else maximum}"


PROMOTIONS = Projection(
    name="promotions",
    version=3,
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
    tables=(PROMOTIONS_TABLE, PROMOTION_ISSUALS_TABLE, PROMOTIONS_EARNED_TABLE),
    path="promotions",
)
