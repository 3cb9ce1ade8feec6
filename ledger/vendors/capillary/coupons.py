"""Capillary's coupons: issued, one or several in an event, and redeemed.

A coupon is named by its id. If no id is reported, it is named by its code within its series, which is unique.
"""

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import Field

from ledger.facts import Fact
from ledger.facts.coupons import CouponIssued, CouponRedeemed, code_ref
from ledger.vendors.capillary.people import CustomerIdentifiers
from ledger.vendors.ends import End, end_fields
from ledger.vendors.fields import Figure, List, OptionalId, SnakeModel, Text, Time, VendorModel
from ledger.vendors.leniency import facts_of_each
from ledger.vendors.vendor import EventContext, EventType


class Series(SnakeModel):
    id: OptionalId = None
    description: Text = None
    series_type: Annotated[Text, Field(alias="seriesType")] = None
    discount_type: Text = None
    discount_value: Figure = None
    valid_till: End = None

    def fact_fields(self) -> dict[str, Any]:
        """Return the fields of a fact that the series states."""
        return {
            "series": self.id,
            "series_type": self.series_type,
            "description": self.description,
            "discount_type": self.discount_type,
            "discount_value": self.discount_value,
            **{f"series_{name}": end for name, end in end_fields(self.valid_till).items()},
        }

    def end_fields(self, coupon_end: datetime | date | None) -> dict[str, Any]:
        """Return the end of a coupon: its own, else that of its series. The end of the series may differ from the
        coupon's.
        """
        return end_fields(coupon_end) or {**end_fields(self.valid_till), "of_series": self.valid_till is not None}


class IssuedCoupon(SnakeModel):
    id: OptionalId = None
    code: Text = None
    valid_till: End = None
    issued_on: Time = None
    customer_identifiers: Annotated[CustomerIdentifiers, Field(alias="customerIdentifiers")] = CustomerIdentifiers()


class CouponIssue(VendorModel):
    coupons: Annotated[list[IssuedCoupon], List]
    series_info: Annotated[Series, Field(alias="series_info")] = Series()
    customer_identifiers: CustomerIdentifiers = CustomerIdentifiers()
    issual_type: Text = None


def coupon_issue(event: CouponIssue, context: EventContext) -> list[Fact]:
    """Return one fact for each coupon. The customer is inside the coupon (trap 31). The id names it, because codes
    repeat.
    """
    return facts_of_each(event.coupons, lambda coupon: [_issued(coupon, event, context)])


def _issued(coupon: IssuedCoupon, event: CouponIssue, context: EventContext) -> Fact:
    """Return the fact of one coupon. Raises ValueError if it has neither id nor code."""
    series = event.series_info
    customer = coupon.customer_identifiers.customer_id or event.customer_identifiers.customer_id
    return CouponIssued(
        coupon=coupon_ref(coupon.id, coupon.code, series.id, context),
        code=coupon.code,
        **series.fact_fields(),
        **series.end_fields(coupon.valid_till),
        customer=context.ref(customer) if customer else None,
        issued_at=coupon.issued_on,
        issual_type=event.issual_type,
    )


def coupon_ref(coupon: str | None, code: str | None, series: str | None, context: EventContext) -> str:
    """Return the ref of a coupon. Raises ValueError if it has neither id nor code."""
    if coupon:
        return context.ref(coupon)
    if not code:
        raise ValueError("a coupon without id and code")
    return context.ref(code_ref(code, series))


class RedeemedCoupon(VendorModel):
    id: OptionalId = None
    code: Text = None
    valid_till: Annotated[End, Field(alias="valid_till")] = None
    redemption_id: OptionalId = None
    redemption_date: Time = None
    series_info: Annotated[Series, Field(alias="series_info")] = Series()


class Bill(SnakeModel):
    bill_id: OptionalId = None
    number: OptionalId = None


class CouponRedeem(VendorModel):
    coupon: RedeemedCoupon
    customer_identifiers: CustomerIdentifiers = CustomerIdentifiers()
    transaction: Bill = Bill()


def coupon_redeem(event: CouponRedeem, context: EventContext) -> list[Fact]:
    """The bill is optional: bill 0 and an empty number mean no bill (trap 32)."""
    coupon, customer, bill = event.coupon, event.customer_identifiers.customer_id, event.transaction
    return [
        CouponRedeemed(
            coupon=coupon_ref(coupon.id, coupon.code, coupon.series_info.id, context),
            code=coupon.code,
            **coupon.series_info.fact_fields(),
            **coupon.series_info.end_fields(coupon.valid_till),
            customer=context.ref(customer) if customer else None,
            redemption=coupon.redemption_id or context.tag,
            redeemed_at=coupon.redemption_date,
            bill=bill.number or (bill.bill_id if bill.bill_id != "0" else None),
        )
    ]


KINDS: dict[str, EventType[Any]] = {
    "CouponIssue": EventType(CouponIssue, coupon_issue),
    "CouponRedeem": EventType(CouponRedeem, coupon_redeem),
}
