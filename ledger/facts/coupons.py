"""Facts about coupons."""

from datetime import datetime
from decimal import Decimal

from ledger.facts.fact import Fact


class CouponFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one coupon, known by its id: codes repeat across series."""

    subject_kind = "coupon"

    coupon: str
    code: str | None = None
    series: str | None = None
    customer: str | None = None

    @property
    def subject(self) -> str:
        return self.coupon


class CouponIssued(CouponFact, frozen=True, kw_only=True, omit_defaults=True):
    rank = 10
    issued_at: datetime | None = None
    valid_until: datetime | None = None
    discount_type: str | None = None
    discount_value: Decimal | None = None
    description: str | None = None


class CouponRedeemed(CouponFact, frozen=True, kw_only=True, omit_defaults=True):
    rank = 20
    redemption: str
    redeemed_at: datetime | None = None
    bill: str | None = None


FACTS: tuple[type[Fact], ...] = (
    CouponIssued,
    CouponRedeemed,
)
