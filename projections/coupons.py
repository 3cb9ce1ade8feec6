"""Coupons: issued, redeemed, and redeemable again after a reversal.

1. A coupon named by its id and by its code is one row; see engine/groups.py.
2. Facts may come in any order: a redemption before the issue, a reversal before its redemption.
3. A field that a fact leaves out keeps its value.
4. The end of validity is computed when the row is read (queries/validity_ends.py).
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

from msgspec import Struct, field

from ledger.facts import Occurrence
from ledger.facts.coupons import (
    CouponFact,
    CouponIssued,
    CouponRedeemed,
    CouponRedemptionReversed,
    is_named_by_code,
    match_coupons,
)
from projections.definition import Projection, Rows, State
from projections.field_updates import update_customer, update_stated
from projections.tables import Identifier, Position, PreviousOwners, Table, row_from

ZERO = Decimal(0)


class CouponUse(Struct):
    """One redemption. `redeemed_at` is None if only its reversal was recorded."""

    redeemed_at: datetime | None = None
    amount: Decimal | None = None  # money taken from a gift voucher
    bill: str | None = None
    reversals: dict[str, Decimal | None] = field(default_factory=dict)  # reversal -> money given back; None: all of it
    reversed_at: datetime | None = None

    @property
    def is_active(self) -> bool:
        """True if the redemption was recorded and not fully reversed."""
        if self.redeemed_at is None or not self.reversals:
            return self.redeemed_at is not None
        given_back = [amount for amount in self.reversals.values() if amount is not None]
        in_part = len(given_back) == len(self.reversals) and self.amount is not None
        return in_part and sum(given_back, ZERO) < (self.amount or ZERO)


class Validity(Struct):
    """End of validity: a time, or a last day."""

    until: datetime | None = None
    through: date | None = None


class Coupon(State):
    code: str | None = None
    series: str | None = None
    customer: str | None = None
    issued: bool = False
    issued_at: datetime | None = None
    own_validity: Validity | None = None  # stated by an event about the coupon itself
    other_validity: Validity | None = None  # stated by its reward, or for its series
    discount_type: str | None = None
    discount_value: Decimal | None = None
    quantity: int | None = None
    unlimited: bool = False
    balance: Decimal | None = None
    claimed_count: int | None = None
    claim_differs: bool = False
    redemptions: dict[str, CouponUse] = field(default_factory=dict)  # by the vendor's redemption id
    bill: str | None = None
    named_before: list[str] = []
    position: int = 0

    @property
    def redeemed_count(self) -> int:
        return sum(use.is_active for use in self.redemptions.values())


class CouponRow(NamedTuple):
    customer: Identifier | None
    code: str | None
    series: str | None
    status: Annotated[str, "issued, partly_redeemed, redeemed; answers add expired"]
    issued_at: datetime | None
    valid_until: datetime | None
    valid_through: Annotated[date | None, "last day, if no time was stated"]
    discount_type: str | None
    discount_value: Decimal | None
    quantity: Annotated[int | None, "maximum of redemptions; null: not stated, or unlimited"]
    unlimited: bool
    redeemed_count: int
    redemptions_left: int | None
    reversed_count: int
    redeemed_at: Annotated[datetime | None, "of the last redemption that was not reversed"]
    reversed_at: Annotated[datetime | None, "last"]
    balance: Annotated[Decimal | None, "money left on a gift voucher, as last reported"]
    bill: str | None
    over_redeemed: Annotated[bool, "redeemed more often than allowed"]
    reversed_unseen: Annotated[bool, "a reversal of an unknown redemption"]
    claimed_count: Annotated[int | None, "the vendor's last count of redemptions"]
    claim_differs: bool
    incomplete: Annotated[bool, "no issue was recorded"]
    named_before: PreviousOwners
    last_position: Position


COUPONS_TABLE = Table(
    "coupons",
    CouponRow,
    indexes=(
        "CREATE INDEX coupons_named_before ON coupons USING gin (named_before) WHERE named_before IS NOT NULL",
        "CREATE INDEX coupons_customer ON coupons (ledger_id, customer)",
        "CREATE INDEX coupons_flagged ON coupons (ledger_id, subject) "
        "WHERE over_redeemed OR reversed_unseen OR claim_differs OR incomplete",
    ),
)


def issue(coupon: Coupon, fact: CouponIssued, occurrence: Occurrence) -> None:
    """The coupon was issued. Several reports count as one issue, at the earliest time."""
    _update_fields(coupon, fact, occurrence)
    issued_at = fact.issued_at or occurrence.occurred_at
    coupon.issued_at = issued_at if coupon.issued_at is None else min(coupon.issued_at, issued_at)
    coupon.issued = True


def redeem(coupon: Coupon, fact: CouponRedeemed, occurrence: Occurrence) -> None:
    """The coupon was redeemed. A repeated report counts once."""
    redemption = coupon.redemptions.setdefault(fact.redemption, CouponUse())
    redeemed_at = fact.redeemed_at or occurrence.occurred_at
    redemption.redeemed_at = redemption.redeemed_at or redeemed_at
    update_stated(redemption, fact, "amount", "bill")
    coupon.bill = fact.bill or coupon.bill
    _update_fields(coupon, fact, occurrence)


def reverse(coupon: Coupon, fact: CouponRedemptionReversed, occurrence: Occurrence) -> None:
    """A redemption was reversed, and the coupon may be used again. A reversal may come before its redemption."""
    redemption = coupon.redemptions.setdefault(fact.redemption, CouponUse())
    redemption.reversals[fact.reversal] = fact.amount
    redemption.reversed_at = occurrence.occurred_at
    _update_fields(coupon, fact, occurrence)


def _update_fields(coupon: Coupon, fact: CouponFact, occurrence: Occurrence) -> None:
    """Update the fields that the fact names, and compare the vendor's count of redemptions with ours."""
    update_stated(coupon, fact, "code", "series", "discount_type", "discount_value", "balance")
    update_customer(coupon, fact)
    if fact.quantity is not None or fact.unlimited:
        coupon.quantity, coupon.unlimited = fact.quantity, fact.unlimited
    if fact.valid_until is not None or fact.valid_through is not None:
        validity = Validity(fact.valid_until, fact.valid_through)
        if fact.of_series or is_named_by_code(fact.coupon):
            coupon.other_validity = validity
        else:
            coupon.own_validity = validity
    if fact.redeemed_count is not None:
        coupon.claimed_count = fact.redeemed_count
        coupon.claim_differs = fact.redeemed_count != coupon.redeemed_count
    coupon.position = max(coupon.position, occurrence.position)


def coupon_rows(_subject: str, coupon: Coupon) -> Rows:
    uses = coupon.redemptions.values()
    redeemed = [use for use in uses if use.redeemed_at is not None]
    active = [use.redeemed_at for use in redeemed if use.is_active and use.redeemed_at is not None]
    reversed_at = [use.reversed_at for use in uses if use.reversed_at is not None]
    count, quantity = coupon.redeemed_count, coupon.quantity
    validity = coupon.own_validity or coupon.other_validity or Validity()
    row = row_from(
        coupon,
        CouponRow,
        status=_status(coupon),
        valid_until=validity.until,
        valid_through=validity.through,
        quantity=quantity,
        redeemed_count=count,
        redemptions_left=None if quantity is None else max(0, quantity - count),
        reversed_count=sum(not use.is_active for use in redeemed),
        redeemed_at=max(active, default=None),
        reversed_at=max(reversed_at, default=None),
        over_redeemed=quantity is not None and count > quantity,
        reversed_unseen=len(redeemed) < len(coupon.redemptions),
        incomplete=not coupon.issued,
        named_before=coupon.named_before or None,
        last_position=coupon.position,
    )
    return {"coupons": [row]}


def _status(coupon: Coupon) -> str:
    """Return the status of a coupon. Without a stated limit, one redemption uses it up."""
    count = coupon.redeemed_count
    if count == 0:
        return "issued"
    if coupon.balance is not None:
        return "partly_redeemed" if coupon.balance > 0 else "redeemed"
    if coupon.unlimited or (coupon.quantity is not None and count < coupon.quantity):
        return "partly_redeemed"
    return "redeemed"


COUPONS = Projection(
    name="coupons",
    version=4,
    subject="coupon",
    start=Coupon,
    on={CouponIssued: issue, CouponRedeemed: redeem, CouponRedemptionReversed: reverse},
    rows=coupon_rows,
    tables=(COUPONS_TABLE,),
    match_aliases=match_coupons,
    path="coupons",
)
