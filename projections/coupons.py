"""Coupons: issued, redeemed, and redeemable again after a reversal.

1. A coupon named by its id and by its code is one row; see engine/groups.py.
2. Facts may come in any order: a redemption before the issue, a reversal before its redemption.
3. A field that a fact leaves out keeps its value.
4. The end of validity is computed when the row is read (queries/validity_ends.py).
5. The vendor's count is compared with the redemptions that it includes. A redemption may be recorded at the vendor
   after a later one; its own count shows the order.
"""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

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
from projections.tables import Identifier, Position, PreviousOwners, StateOnly, Table, row_from

ZERO = Decimal(0)


class CouponUse(Struct):
    """One redemption. `redeemed_at` is None if only its reversal was recorded."""

    redeemed_at: datetime | None = None
    amount: Decimal | None = None  # money taken from a gift voucher
    bill: str | None = None
    reversals: dict[str, Decimal | None] = field(default_factory=dict)  # reversal -> money given back; None: all of it
    reversed_at: datetime | None = None
    stated_at: datetime | None = None  # time of the vendor's report
    reversals_stated_at: dict[str, datetime] = field(default_factory=dict)
    counted: int | None = None  # the vendor's count of redemptions in that report

    @property
    def is_active(self) -> bool:
        """True if the redemption was recorded and not fully reversed."""
        return self._is_active_after(self.reversals)

    def is_active_at(self, time: datetime) -> bool:
        """True if the redemption was not fully reversed by the reversals that the vendor reported until then."""
        return self._is_active_after([name for name in self.reversals if self.reversals_stated_at[name] <= time])

    def _is_active_after(self, reversals: Iterable[str]) -> bool:
        amounts = [self.reversals[name] for name in reversals]
        if self.redeemed_at is None or not amounts:
            return self.redeemed_at is not None
        given_back = [amount for amount in amounts if amount is not None]
        in_part = len(given_back) == len(amounts) and self.amount is not None
        return in_part and sum(given_back, ZERO) < (self.amount or ZERO)


class CountClaim(Struct):
    """The vendor's count of redemptions. `by_redemption`: stated with a redemption, which it includes."""

    count: int
    stated_at: datetime
    by_redemption: bool


class Validity(Struct):
    """End of validity: a time, or a last day."""

    until: datetime | None = None
    through: date | None = None


class Coupon(State):
    customer: Identifier | None = None
    code: str | None = None
    series: str | None = None
    issued: StateOnly[bool] = False
    issued_at: datetime | None = None
    own_validity: StateOnly[Validity | None] = None  # stated by an event about the coupon itself
    other_validity: StateOnly[Validity | None] = None  # stated by its reward, or for its series
    discount_type: str | None = None
    discount_value: Decimal | None = None
    discount_limit: Annotated[Decimal | None, "the most money that a percentage takes off"] = None
    description: str | None = None
    series_type: str | None = None
    series_valid_until: Annotated[datetime | None, "the end of the series; the coupon may end before or after it"] = (
        None
    )
    series_valid_through: Annotated[date | None, "last day of the series, if no time was stated"] = None
    issual_type: Annotated[str | None, "as the source writes it, for example SINGLE"] = None
    quantity: Annotated[int | None, "maximum of redemptions; null: not stated, or unlimited"] = None
    unlimited: bool = False
    balance: Annotated[Decimal | None, "money left on a gift voucher, as last reported"] = None
    claim: StateOnly[CountClaim | None] = None
    redemptions: StateOnly[dict[str, CouponUse]] = field(default_factory=dict)  # by the vendor's redemption id
    bill: str | None = None
    previous_owners: PreviousOwners = None
    last_position: Position = 0

    @property
    def redeemed_count(self) -> int:
        return sum(use.is_active for use in self.redemptions.values())

    @property
    def is_reversed(self) -> bool:
        """True if a reversal of any redemption was reported."""
        return any(use.reversals for use in self.redemptions.values())

    def includes(self, use: CouponUse, claim: CountClaim) -> bool:
        """Return True if a count of the vendor includes a redemption. Until a reversal, the counts of redemptions only
        rise.
        """
        if claim.by_redemption and use.counted is not None and not self.is_reversed:
            return use.counted <= claim.count
        return use.stated_at is not None and use.stated_at <= claim.stated_at

    @property
    def claim_differs(self) -> bool:
        """True if the vendor's last count is not the number of the redemptions that it includes."""
        claim = self.claim
        if claim is None:
            return False
        included = [use for use in self.redemptions.values() if self.includes(use, claim)]
        return claim.count != sum(use.is_active_at(claim.stated_at) for use in included)


class CouponRow(Coupon, kw_only=True):
    """Coupons and gift vouchers: code, validity, end of the series, limits, kind of issue, redemptions left."""

    status: Annotated[str, "issued, partly_redeemed, redeemed; answers add expired"]
    valid_until: datetime | None
    valid_through: Annotated[date | None, "last day, if no time was stated"]
    redeemed_count: int
    redemptions_left: int | None
    reversed_count: int
    redeemed_at: Annotated[datetime | None, "of the last redemption that was not reversed"]
    reversed_at: Annotated[datetime | None, "the time of the last reversal"]
    over_redeemed: Annotated[bool, "redeemed more often than allowed"]
    reversed_unseen: Annotated[bool, "a reversal of an unknown redemption"]
    claimed_count: Annotated[int | None, "the vendor's last count of redemptions"]
    claim_differs: bool
    incomplete: Annotated[bool, "no issue was recorded"]


COUPONS_TABLE = Table(
    "coupons",
    CouponRow,
    {
        "code": "(ledger_id, code) WHERE code IS NOT NULL",
        "series": "(ledger_id, series, subject)",
        "status": "(ledger_id, status, subject)",
        "valid_until": "(ledger_id, valid_until) WHERE valid_until IS NOT NULL",
        "valid_through": "(ledger_id, valid_through) WHERE valid_through IS NOT NULL",
        "flagged": "(ledger_id, subject) WHERE over_redeemed OR reversed_unseen OR claim_differs OR incomplete",
    },
)


def issue(coupon: Coupon, fact: CouponIssued, occurrence: Occurrence) -> None:
    """The coupon was issued. Several reports count as one issue, at the earliest time."""
    _update_fields(coupon, fact, occurrence)
    issued_at = fact.issued_at or occurrence.occurred_at
    coupon.issual_type = fact.issual_type or coupon.issual_type
    coupon.issued_at = issued_at if coupon.issued_at is None else min(coupon.issued_at, issued_at)
    coupon.issued = True


def redeem(coupon: Coupon, fact: CouponRedeemed, occurrence: Occurrence) -> None:
    """The coupon was redeemed. A repeated report counts once."""
    redemption = coupon.redemptions.setdefault(fact.redemption, CouponUse())
    redeemed_at = fact.redeemed_at or occurrence.occurred_at
    redemption.redeemed_at = redemption.redeemed_at or redeemed_at
    update_stated(redemption, fact, "amount", "bill")
    redemption.stated_at = redemption.stated_at or fact.stated_at or occurrence.occurred_at
    redemption.counted = redemption.counted if fact.redeemed_count is None else fact.redeemed_count
    coupon.bill = fact.bill or coupon.bill
    _update_fields(coupon, fact, occurrence)


def reverse(coupon: Coupon, fact: CouponRedemptionReversed, occurrence: Occurrence) -> None:
    """A redemption was reversed, and the coupon may be used again. A reversal may come before its redemption."""
    redemption = coupon.redemptions.setdefault(fact.redemption, CouponUse())
    redemption.reversals[fact.reversal] = fact.amount
    redemption.reversed_at = occurrence.occurred_at
    redemption.reversals_stated_at[fact.reversal] = fact.stated_at or occurrence.occurred_at
    _update_fields(coupon, fact, occurrence)


def _update_fields(coupon: Coupon, fact: CouponFact, occurrence: Occurrence) -> None:
    """Update the fields that the fact names, and keep the vendor's last count of redemptions."""
    update_stated(coupon, fact, "code", "series", "series_type", "description")
    update_stated(coupon, fact, "discount_type", "discount_value", "discount_limit")
    update_customer(coupon, fact)
    if fact.quantity is not None or fact.unlimited:
        coupon.quantity, coupon.unlimited = fact.quantity, fact.unlimited
    claim = None
    if fact.redeemed_count is not None:
        stated_at = fact.stated_at or occurrence.occurred_at
        claim = CountClaim(fact.redeemed_count, stated_at, isinstance(fact, CouponRedeemed))
    if claim is None or _is_last_claim(coupon, claim):
        coupon.claim = claim or coupon.claim
        update_stated(coupon, fact, "balance")
    if fact.valid_until is not None or fact.valid_through is not None:
        validity = Validity(fact.valid_until, fact.valid_through)
        if fact.of_series or is_named_by_code(fact.coupon):
            coupon.other_validity = validity
        else:
            coupon.own_validity = validity
    if fact.series_valid_until is not None or fact.series_valid_through is not None:
        coupon.series_valid_until, coupon.series_valid_through = fact.series_valid_until, fact.series_valid_through
    coupon.last_position = max(coupon.last_position, occurrence.position)


def _is_last_claim(coupon: Coupon, claim: CountClaim) -> bool:
    """Return True if the vendor stated a count after the one that is kept."""
    last = coupon.claim
    if last is None:
        return True
    if last.by_redemption and claim.by_redemption and not coupon.is_reversed and last.count != claim.count:
        return claim.count > last.count
    return claim.stated_at >= last.stated_at


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
        redeemed_count=count,
        redemptions_left=None if quantity is None else max(0, quantity - count),
        reversed_count=sum(not use.is_active for use in redeemed),
        redeemed_at=max(active, default=None),
        reversed_at=max(reversed_at, default=None),
        over_redeemed=quantity is not None and count > quantity,
        reversed_unseen=len(redeemed) < len(coupon.redemptions),
        claimed_count=None if coupon.claim is None else coupon.claim.count,
        incomplete=not coupon.issued,
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
    version=7,
    subject="coupon",
    start=Coupon,
    on={CouponIssued: issue, CouponRedeemed: redeem, CouponRedemptionReversed: reverse},
    rows=coupon_rows,
    tables=(COUPONS_TABLE,),
    match_aliases=match_coupons,
)
