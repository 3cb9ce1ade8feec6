"""Capillary's rewards: the catalogue, and customers' redemptions of rewards (document 003).

Events about the catalogue have no customer (trap 35). Their image and document addresses contain signatures similar to
credentials, and are not read. The vendor gives a redemption no id: reward, customer and event identify it.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from ledger.facts import Fact
from ledger.facts.coupons import CouponIssued, code_ref
from ledger.facts.rewards import (
    PaymentMode,
    RewardClaimed,
    RewardCreated,
    RewardRedemptionCompleted,
    RewardRedemptionFailed,
    RewardText,
    RewardUpdated,
)
from ledger.vendors.capillary.enums import EmptyIfNull
from ledger.vendors.capillary.people import CustomerEvent
from ledger.vendors.ends import End, end_fields
from ledger.vendors.fields import Count, FarTime, Figure, Id, List, OptionalId, SnakeModel, Text, VendorModel
from ledger.vendors.vendor import EventContext, EventType


class RewardDetail(VendorModel):
    language_code: Text = None
    name: Text = None
    description: Text = None


class Vendor(VendorModel):
    name: Text = None


class PaymentModeLine(SnakeModel):
    payment_mode: Annotated[Text, Field(alias="paymentMode")] = None
    conv_ratio: Figure = None


class CatalogueEvent(VendorModel):
    reward_id: Id
    program_id: OptionalId = None
    type: Text = None
    redemption_type: Text = None
    enabled: bool | None = None
    start_date: FarTime = None
    end_date: FarTime = None
    intouch_points: Figure = None
    intouch_series_id: OptionalId = None
    priority: OptionalId = None
    tier: Text = None
    group: Text = None
    label: Text = None
    categories: Annotated[tuple[OptionalId, ...], List] = ()
    reward_details: Annotated[tuple[RewardDetail, ...], List] = ()
    vendor_details: Annotated[Vendor, EmptyIfNull] = Vendor()
    payment_modes: Annotated[tuple[PaymentModeLine, ...], List] = ()

    def fact_fields(self, context: EventContext) -> dict[str, Any]:
        return {
            "reward": context.ref(self.reward_id),
            "programme": self.program_id,
            "reward_type": self.type,
            "redemption_type": self.redemption_type,
            "enabled": self.enabled,
            "starts_at": self.start_date,
            "ends_at": self.end_date,
            "cost": self.intouch_points,
            "series": self.intouch_series_id,
            "priority": self.priority,
            "tier": self.tier,
            "group": self.group,
            "label": self.label,
            "categories": tuple(category for category in self.categories if category),
            "vendor": self.vendor_details.name,
            "texts": tuple(
                RewardText(detail.language_code, detail.name, detail.description) for detail in self.reward_details
            ),
            "payment_modes": tuple(
                PaymentMode(line.payment_mode, line.conv_ratio) for line in self.payment_modes if line.payment_mode
            ),
        }


def reward_created(event: CatalogueEvent, context: EventContext) -> list[Fact]:
    return [RewardCreated(**event.fact_fields(context))]


def reward_updated(event: CatalogueEvent, context: EventContext) -> list[Fact]:
    return [RewardUpdated(**event.fact_fields(context))]


def reward_expiry_reminder(event: CatalogueEvent, context: EventContext) -> list[Fact]:
    """A reminder changes nothing. It is compared with the catalogue (trap 9)."""
    return [RewardClaimed(**event.fact_fields(context))]


class IntouchReward(VendorModel):
    intouch_coupon_code: OptionalId = None
    code_expiry: End = None


class VendorReward(VendorModel):
    vendor_voucher: OptionalId = None


class RewardIssued(CustomerEvent):
    reward_id: Id
    type: Text = None
    redemption_type: Text = None
    start_date: FarTime = None
    end_date: FarTime = None
    tier: Text = None
    quantity: Count = None
    intouch_points: Figure = None
    intouch_series_id: OptionalId = None
    intouch_reward_details: Annotated[IntouchReward, EmptyIfNull] = IntouchReward()
    vendor_reward_details: Annotated[VendorReward, EmptyIfNull] = VendorReward()


def reward_issued(event: RewardIssued, context: EventContext) -> list[Fact]:
    """The reward was given. No points move: `pointsRedeemed` reports the debit, and `intouchPoints` is only the price
    (trap 33).

    A code of Capillary's own series is also a coupon. The event has no coupon id, and codes repeat across series (trap
    31). So the coupon is named by series and code. `CouponIssue` and `CouponRedeem` name the same coupon by its id.

    `vendorVoucher` repeats the code. Alone it is another company's voucher, which we do not follow.
    """
    customer = event.customer(context)
    details = event.intouch_reward_details
    code, series = details.intouch_coupon_code, event.intouch_series_id
    coupon = context.ref(code_ref(code, series)) if code else None
    facts: list[Fact] = [
        RewardRedemptionCompleted(
            reward_redemption=_redemption_ref(event, event.reward_id, context),
            reward=context.ref(event.reward_id),
            customer=customer,
            points=event.intouch_points,
            coupon=coupon,
            coupon_code=code or event.vendor_reward_details.vendor_voucher,
            quantity=event.quantity,
            issued="coupon" if code else "vendor_voucher" if event.vendor_reward_details.vendor_voucher else None,
            **{name.replace("valid", "issued"): end for name, end in end_fields(details.code_expiry).items()},
            reward_type=event.type,
            redemption_type=event.redemption_type,
            tier=event.tier,
            starts_at=event.start_date,
            ends_at=event.end_date,
            request=event.envelope.api_request_id,
        )
    ]
    if coupon:
        facts.append(
            CouponIssued(coupon=coupon, code=code, series=series, customer=customer, **end_fields(details.code_expiry))
        )
    return facts


class FailedReward(VendorModel):
    """A reward that was not issued. `points` is the price of a single piece."""

    id: Id
    points: Figure = None
    qty: Count = None
    type: Text = None

    def cost(self) -> Decimal | None:
        return None if self.points is None else self.points * (1 if self.qty is None else self.qty)


class ErroredStep(VendorModel):
    name: Text = None
    error_code: OptionalId = None
    error_message: Text = None
    rewards: Annotated[tuple[FailedReward, ...], List] = ()

    def error_line(self) -> str:
        """Return the step, its error code and the vendor's message: "ISSUE_REWARD 730: …"."""
        head = " ".join(part for part in (self.name, self.error_code) if part)
        return ": ".join(part for part in (head, self.error_message) if part)


class IssueRewardFailure(CustomerEvent):
    request_id: OptionalId = None
    total_points: Figure = None
    errored_steps: Annotated[tuple[ErroredStep, ...], List] = ()


def issue_reward_failure(event: IssueRewardFailure, context: EventContext) -> list[Fact]:
    """No reward was issued. Points that were taken are due back (trap 34). The event states only the request, not
    whether points were taken.

    Return one fact for each failed reward, with the errors of all its steps. If no step names a reward, return one fact
    without a reward.
    """
    steps = event.errored_steps
    rewards = list(dict.fromkeys(reward.id for step in steps for reward in step.rewards))
    customer = event.customer(context)
    request = event.request_id or event.envelope.api_request_id
    if not rewards:
        return [
            RewardRedemptionFailed(
                reward_redemption=_redemption_ref(event, "-", context),
                customer=customer,
                points=event.total_points,
                request=request,
                errors=_errors(steps),
            )
        ]
    return [
        RewardRedemptionFailed(
            reward_redemption=_redemption_ref(event, reward, context),
            reward=context.ref(reward),
            customer=customer,
            **_cost_fields(steps, reward),
            request=request,
            errors=_errors([step for step in steps if any(failed.id == reward for failed in step.rewards)]),
        )
        for reward in rewards
    ]


def _cost_fields(steps: Sequence[ErroredStep], reward: str) -> dict[str, Any]:
    """Return the quantity of a reward that was not issued, and its total cost.

    A step may list a reward on several lines. Another step lists the same rewards again, so steps are not added up.
    """
    in_step = [[line for line in step.rewards if line.id == reward] for step in steps]
    lines = max(in_step, key=lambda lines: sum(line.qty or 0 for line in lines))
    costs = [cost for line in lines if (cost := line.cost()) is not None]
    quantities = [line.qty for line in lines if line.qty is not None]
    return {
        "points": sum(costs, Decimal(0)) if costs else None,
        "quantity": sum(quantities) if quantities else None,
        "reward_type": next((line.type for line in lines if line.type), None),
    }


def _errors(steps: Sequence[ErroredStep]) -> tuple[str, ...]:
    return tuple(line for line in (step.error_line() for step in steps) if line)


def _redemption_ref(event: CustomerEvent, reward: str, context: EventContext) -> str:
    """Return the ref of a redemption: reward, customer, and the request with its time.

    So two reports with different event ids are the same redemption. The time is included because request ids repeat
    (trap 39). Without a request, the event id is used.
    """
    envelope = event.envelope
    request = envelope.api_request_id and f"{envelope.api_request_id}~{envelope.vendor_time(context)}"
    identifier = request or envelope.event_id or context.tag
    return context.ref(f"{reward}~{event.customer_identifiers.customer_id}~{identifier}")


KINDS: dict[str, EventType[Any]] = {
    "rewardCreated": EventType(CatalogueEvent, reward_created),
    "rewardUpdated": EventType(CatalogueEvent, reward_updated),
    "rewardExpiryReminder": EventType(CatalogueEvent, reward_expiry_reminder),
    "rewardIssued": EventType(RewardIssued, reward_issued),
    "issueRewardFailure": EventType(IssueRewardFailure, issue_reward_failure),
}
