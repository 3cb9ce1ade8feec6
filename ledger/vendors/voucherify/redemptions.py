"""Voucherify's redemptions: points spent, coupons used, and what is given back when one is rolled back.

A redemption r_ is one change, whoever tells of it: the redemption itself, the reward that came of it, its transaction.
"""

from typing import Any

from ledger.facts import Fact
from ledger.facts.accounts import Redeemed, RedemptionReversed
from ledger.facts.coupons import CouponRedeemed
from ledger.vendors.shape import Id, OptionalId, OptionalPoints, SnakeShape
from ledger.vendors.vendor import Kind, Stamp
from ledger.vendors.voucherify.card import Named, Order, Voucher, account, bill


class Redemption(SnakeShape):
    """`amount` is the number of points spent, negative where they are given back (trap 18)."""

    id: Id
    amount: OptionalPoints = None
    redemption: OptionalId = None  # in a rollback: the redemption that was rolled back
    customer_id: OptionalId = None
    order: Order | None = None


class RedemptionTold(SnakeShape):
    """A redemption of a voucher of any kind, or of a promotion, which has no voucher."""

    redemption: Redemption
    voucher: Voucher | None = None
    customer: Named | None = None
    holder: Named | None = None
    campaign: Named | None = None
    order: Order | None = None


def redemption_succeeded(event: RedemptionTold, stamp: Stamp) -> list[Fact]:
    """A loyalty card spends points, a coupon is used. A promotion is neither, and a gift card holds money."""
    voucher, redemption = event.voucher, event.redemption
    if voucher is None or voucher.type == "GIFT_VOUCHER":
        return []
    number = bill(event.order or redemption.order)
    name = stamp.ref(redemption.id)
    told = account(stamp, voucher, event.campaign, event.holder, event.customer)
    if not voucher.is_card:
        customer = (event.customer and event.customer.id) or redemption.customer_id
        return [
            CouponRedeemed(
                coupon=stamp.ref(voucher.id),
                code=voucher.code,
                series=voucher.campaign_id,
                customer=stamp.ref(customer) if customer else told["customer"],
                redemption=name,
                bill=number.get("bill_number") or number.get("bill"),
            )
        ]
    if redemption.amount is None:
        raise ValueError("no number of points spent")
    return [
        Redeemed(
            **told,
            claim=voucher.claim(),
            change=name,
            points=abs(redemption.amount),
            redemption=name,
            bill_number=number.get("bill_number") or number.get("bill"),
        )
    ]


class RollbackTold(RedemptionTold):
    redemption_rollback: Redemption


def rollback_succeeded(event: RollbackTold, stamp: Stamp) -> list[Fact]:
    """Points come back in full or in part, as the rollback's amount says (trap 18).

    Raises ValueError for a coupon: that a coupon can be used again is not in our vocabulary yet, and until it is, such
    events wait where they can be seen.
    """
    voucher, rollback = event.voucher, event.redemption_rollback
    if voucher is None or voucher.type == "GIFT_VOUCHER":
        return []
    if not voucher.is_card:
        raise ValueError("a coupon's redemption rolled back")
    if rollback.amount is None:
        raise ValueError("no number of points given back")
    return [
        RedemptionReversed(
            **account(stamp, voucher, event.campaign, event.holder, event.customer),
            claim=voucher.claim(),
            change=stamp.ref(rollback.id),
            points=abs(rollback.amount),
            redemption=stamp.ref(rollback.redemption or event.redemption.id),
        )
    ]


class CustomerRewarded(RedemptionTold):
    redemption: Redemption | None = None  # type: ignore[assignment]  # a reward may come of another event


def customer_rewarded(event: CustomerRewarded, stamp: Stamp) -> list[Fact]:
    """A reward was given, for points or for another reason. Where points were spent, this tells of the redemption.
    Points that were the reward itself are left to points added: no transaction is named here, so they would count
    twice."""
    if event.redemption is None or event.voucher is None or not event.voucher.is_card:
        return []
    return redemption_succeeded(event, stamp)


KINDS: dict[str, Kind[Any]] = {
    "redemption.succeeded": Kind(RedemptionTold, redemption_succeeded),
    "redemption.rollback.succeeded": Kind(RollbackTold, rollback_succeeded),
    "customer.redemption.succeeded": Kind(RedemptionTold, redemption_succeeded),
    "customer.redemption.rollback.succeeded": Kind(RollbackTold, rollback_succeeded),
    "customer.rewarded": Kind(CustomerRewarded, customer_rewarded),
}
