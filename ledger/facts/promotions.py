"""Facts about promotions of a customer: issued, earned, redeemed, revoked."""

from datetime import date, datetime
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A limit of `maximum` on the measure `measure`. None: no limit.

    `applies_to` is "issue", "earn" or "redemption". `scope` and `restriction` are the vendor's words, for example
    "CUSTOMER" and "NON_PERIOD_BASED".
    """

    measure: str
    maximum: Decimal | None = None
    applies_to: str | None = None
    scope: str | None = None
    restriction: str | None = None


class PromotionFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one promotion of one customer. Issues, earnings and revocations are folded together, because they
    refer to each other.
    """

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
    """The promotion was issued to the customer, who may now earn it."""

    rank = 10
    issual: str
    issued_on: date | None = None
    expires_on: date | None = None


class PromotionEarned(PromotionFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer met the conditions. `issual` is the issue from which the promotion was earned."""

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
    """An issue was revoked. Promotions already earned from it stay earned until they are revoked themselves."""

    rank = 40
    issual: str


class EarnedPromotionRevoked(PromotionFact, frozen=True, kw_only=True, omit_defaults=True):
    """An earned promotion was revoked."""

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
