"""Facts about promotions: issued to a customer, earned by them, used, and taken away again."""

from datetime import date, datetime
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """At most `maximum` of what `measure` names; None is no limit."""

    measure: str
    maximum: Decimal | None = None


class PromotionFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one promotion for one customer: issuals, earned ones and revocations are right only together."""

    subject_kind = "promotion"

    customer: str
    promotion: str
    programme: str | None = None
    name: str | None = None
    starts_on: date | None = None
    ends_on: date | None = None
    limits: tuple[Limit, ...] = ()

    @property
    def subject(self) -> str:
        return f"{self.customer}:{self.promotion}"


class PromotionIssued(PromotionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer may take part."""

    rank = 10
    issual: str
    issued_on: date | None = None
    expires_on: date | None = None


class PromotionEarned(PromotionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer met the conditions; `issual` is the issue it was earned from."""

    rank = 20
    earned: str
    issual: str | None = None
    earned_on: date | None = None
    expires_on: date | None = None


class PromotionRedeemed(PromotionFact, frozen=True, kw_only=True, omit_defaults=True):
    """An earned promotion was used."""

    rank = 30
    earned: str
    redemption: str
    redeemed_at: datetime | None = None
    uses: Decimal = Decimal(1)
    discount: Decimal | None = None


class IssuedPromotionRevoked(PromotionFact, frozen=True, kw_only=True, omit_defaults=True):
    """An issual was taken back. What was earned from it stays earned until that is revoked itself."""

    rank = 40
    issual: str


class EarnedPromotionRevoked(PromotionFact, frozen=True, kw_only=True, omit_defaults=True):
    """An earned promotion was taken back."""

    rank = 41
    earned: str
    earned_on: date | None = None
    expires_on: date | None = None


FACTS: tuple[type[Fact], ...] = (
    PromotionIssued,
    PromotionEarned,
    PromotionRedeemed,
    IssuedPromotionRevoked,
    EarnedPromotionRevoked,
)
