"""Coupons: issued, redeemed, by id. A redemption may be told before the issue: the coupon is then "issue unknown"."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ledger.facts import Occurrence
from ledger.facts.coupons import CouponFact, CouponIssued, CouponRedeemed
from projections.naming import named_before
from projections.projection import Projection, Rows, State, Table


class Coupon(State):
    code: str | None = None
    series: str | None = None
    customer: str | None = None
    issued_at: datetime | None = None
    valid_until: datetime | None = None
    discount_type: str | None = None
    discount_value: Decimal | None = None
    redemptions: dict[str, datetime] = {}  # by the vendor's redemption id: a coupon may be used several times
    bill: str | None = None
    named_before: list[str] = []
    position: int = 0


class CouponRow(NamedTuple):
    customer: str | None
    code: str | None
    series: str | None
    status: str  # issued, redeemed; whether it lapsed is arithmetic on valid_until
    issued_at: datetime | None
    valid_until: datetime | None
    discount_type: str | None
    discount_value: Decimal | None
    redeemed_count: int
    redeemed_at: datetime | None  # last
    bill: str | None
    incomplete: bool  # no issue was told
    named_before: list[str] | None  # others whom it was said to be of; None where nobody was
    last_position: int


COUPONS_TABLE = Table(
    name="coupons",
    create="""
        CREATE TABLE coupons (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            customer text COLLATE "C", code text, series text, status text NOT NULL,
            issued_at timestamptz, valid_until timestamptz, discount_type text, discount_value numeric,
            redeemed_count int NOT NULL, redeemed_at timestamptz, bill text,
            incomplete boolean NOT NULL, named_before text[], last_position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE coupons ADD PRIMARY KEY (ledger_id, subject)",
        "CREATE INDEX coupons_named_before ON coupons USING gin (named_before) WHERE named_before IS NOT NULL",
        "CREATE INDEX coupons_customer ON coupons (ledger_id, customer)",
    ),
    columns=CouponRow._fields,
    key=(),
)


def issue(coupon: Coupon, fact: CouponIssued, occurrence: Occurrence) -> None:
    _know(coupon, fact, occurrence)
    coupon.issued_at = fact.issued_at or occurrence.occurred_at
    coupon.valid_until = fact.valid_until
    coupon.discount_type = fact.discount_type
    coupon.discount_value = fact.discount_value


def redeem(coupon: Coupon, fact: CouponRedeemed, occurrence: Occurrence) -> None:
    _know(coupon, fact, occurrence)
    coupon.redemptions[fact.redemption] = fact.redeemed_at or occurrence.occurred_at
    coupon.bill = fact.bill or coupon.bill


def _know(coupon: Coupon, fact: CouponFact, occurrence: Occurrence) -> None:
    """Take over what the fact names; what it leaves out stays as it was."""
    coupon.code = fact.code or coupon.code
    coupon.series = fact.series or coupon.series
    coupon.named_before = named_before(coupon.named_before, coupon.customer, fact.customer)
    coupon.customer = fact.customer or coupon.customer
    coupon.position = max(coupon.position, occurrence.position)


def coupon_rows(_subject: str, coupon: Coupon) -> Rows:
    row = CouponRow(
        customer=coupon.customer,
        code=coupon.code,
        series=coupon.series,
        status="redeemed" if coupon.redemptions else "issued",
        issued_at=coupon.issued_at,
        valid_until=coupon.valid_until,
        discount_type=coupon.discount_type,
        discount_value=coupon.discount_value,
        redeemed_count=len(coupon.redemptions),
        redeemed_at=max(coupon.redemptions.values(), default=None),
        bill=coupon.bill,
        incomplete=coupon.issued_at is None,
        named_before=coupon.named_before or None,
        last_position=coupon.position,
    )
    return {"coupons": [row]}


COUPONS = Projection(
    name="coupons",
    version=2,
    subject="coupon",
    start=Coupon,
    on={CouponIssued: issue, CouponRedeemed: redeem},
    rows=coupon_rows,
    tables=(COUPONS_TABLE,),
    path="coupons",
)
