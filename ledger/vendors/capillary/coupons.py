"""Capillary's coupons: issued, one or many in an event, and redeemed."""

from typing import Annotated, Any

from pydantic import Field

from ledger.facts import Fact
from ledger.facts.coupons import CouponIssued, CouponRedeemed
from ledger.vendors.capillary.people import CustomerIdentifiers
from ledger.vendors.shape import FarTime, Id, List, OptionalId, OptionalPoints, Shape, SnakeShape, Text, Time
from ledger.vendors.vendor import Kind, Stamp


class Series(SnakeShape):
    id: OptionalId = None
    description: Text = None
    discount_type: Text = None
    discount_value: OptionalPoints = None
    valid_till: FarTime = None


class IssuedCoupon(SnakeShape):
    id: Id
    code: Text = None
    valid_till: FarTime = None
    issued_on: Time = None
    customer_identifiers: Annotated[CustomerIdentifiers, Field(alias="customerIdentifiers")] = CustomerIdentifiers()


class CouponIssue(Shape):
    coupons: Annotated[list[IssuedCoupon], List]
    series_info: Annotated[Series, Field(alias="series_info")] = Series()
    customer_identifiers: CustomerIdentifiers = CustomerIdentifiers()


def coupon_issue(event: CouponIssue, stamp: Stamp) -> list[Fact]:
    """One fact for each coupon; the customer stands inside the coupon (trap 31). Keyed by id: codes repeat."""
    series = event.series_info
    facts: list[Fact] = []
    for coupon in event.coupons:
        customer = coupon.customer_identifiers.customer_id or event.customer_identifiers.customer_id
        facts.append(
            CouponIssued(
                coupon=stamp.ref(coupon.id),
                code=coupon.code,
                series=series.id,
                customer=stamp.ref(customer) if customer else None,
                issued_at=coupon.issued_on,
                valid_until=coupon.valid_till or series.valid_till,
                discount_type=series.discount_type,
                discount_value=series.discount_value,
                description=series.description,
            )
        )
    return facts


class RedeemedCoupon(Shape):
    id: Id
    code: Text = None
    redemption_id: OptionalId = None
    redemption_date: Time = None
    series_info: Annotated[Series, Field(alias="series_info")] = Series()


class Bill(SnakeShape):
    bill_id: OptionalId = None
    number: OptionalId = None


class CouponRedeem(Shape):
    coupon: RedeemedCoupon
    customer_identifiers: CustomerIdentifiers = CustomerIdentifiers()
    transaction: Bill = Bill()


def coupon_redeem(event: CouponRedeem, stamp: Stamp) -> list[Fact]:
    """The bill is optional: bill 0 and an empty number mean none (trap 32)."""
    coupon, customer, bill = event.coupon, event.customer_identifiers.customer_id, event.transaction
    return [
        CouponRedeemed(
            coupon=stamp.ref(coupon.id),
            code=coupon.code,
            series=coupon.series_info.id,
            customer=stamp.ref(customer) if customer else None,
            redemption=coupon.redemption_id or stamp.tag,
            redeemed_at=coupon.redemption_date,
            bill=bill.number or (bill.bill_id if bill.bill_id != "0" else None),
        )
    ]


KINDS: dict[str, Kind[Any]] = {
    "CouponIssue": Kind(CouponIssue, coupon_issue),
    "CouponRedeem": Kind(CouponRedeem, coupon_redeem),
}
