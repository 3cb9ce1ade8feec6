"""Capillary's points moved by hand or shared: adjustments, expiry changes, contributions to a group.

These events are not in document 003. Capillary's later event schema lists their fields without rules. Each function
below states the rules that we assume.
"""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from ledger.facts import Fact
from ledger.facts.accounts import ExpiryMoved, TransferReceived, TransferSent, TransferSettled
from ledger.facts.adjustments import Removed
from ledger.facts.transfers import TransferCompleted, TransferInitiated
from ledger.vendors.capillary.enums import EmptyIfNull
from ledger.vendors.capillary.people import (
    CustomerEvent,
    CustomerIdentifiers,
    Entity,
    Envelope,
    ProgrammeDetails,
    group_holder,
)
from ledger.vendors.capillary.redemptions import untied_points
from ledger.vendors.fields import Day, Figure, Id, List, OptionalId, Points, Text, VendorModel
from ledger.vendors.vendor import EventContext, EventType

ZERO = Decimal(0)


class ProgrammeSplit(VendorModel):
    program_id: Id
    points: Points = ZERO
    points_type: Text = None


class ManualPointsAdjustment(CustomerEvent):
    total_poinst_deducted: Figure = None  # the vendor's spelling; only compared
    program_points_split: Annotated[tuple[ProgrammeSplit, ...], List]


def manual_points_adjustment(event: ManualPointsAdjustment, context: EventContext) -> list[Fact]:
    """Return the removed points, one fact for each programme and type of points. The event reports only deductions.

    - The event names the credits by ids that no other event has. So the fold uses lots of the type in the usual order.
    - The reason is free text about a person and is not in the fact.

    - The total is only compared. A difference is in `untied`, and is listed.

    Raises ValueError if the programmes are missing or a deduction is negative. Neither is documented.
    """
    lines = event.program_points_split
    if not lines or any(line.points < 0 for line in lines):
        raise ValueError("no programme with a number of points deducted")
    untied = untied_points(event.total_poinst_deducted, (line.points for line in lines))
    split: dict[tuple[str, str | None], Decimal] = {}
    for line in lines:
        origin = _origin(line.points_type) if line.points_type else None
        split[line.program_id, origin] = split.get((line.program_id, origin), ZERO) + line.points
    return [
        Removed(
            holder=event.holder(context),
            programme=programme,
            customer=event.customer(context),
            points=points,
            origin=origin,
            untied=None if number else untied,
            **event.envelope.change_fields(context),
        )
        for number, ((programme, origin), points) in enumerate(split.items())
    ]


def _origin(points_type: str | None) -> str:
    return "promotional" if "promotion" in (points_type or "").lower() else "regular"


class IdentifiedProgramme(ProgrammeDetails):
    id: Id


class ChangedExpiry(VendorModel):
    points: Points = ZERO
    points_awarded_ref_type: Text = None
    promotion_id: Annotated[OptionalId, Field(alias="promotionID")] = None
    points_previous_expiry_date: Day = None
    new_expiry_date: Day = None


class PointsExpiryChange(CustomerEvent):
    loyalty_program_details: IdentifiedProgramme
    updated_points_expiry_breakup: Annotated[tuple[ChangedExpiry, ...], List] = ()


def points_expiry_change(event: PointsExpiryChange, context: EventContext) -> list[Fact]:
    """The number of points stays and their expiry day changes. A line with equal days changes nothing, as in trap 7."""
    return [
        ExpiryMoved(
            holder=event.holder(context),
            programme=event.loyalty_program_details.id,
            customer=event.customer(context),
            ratio=event.ratio,
            points=line.points,
            old=line.points_previous_expiry_date,
            new=line.new_expiry_date,
            origin=_origin(line.points_awarded_ref_type),
            promotion=line.promotion_id,
            **event.envelope.change_fields(context),
        )
        for line in event.updated_points_expiry_breakup
        if line.points and line.points_previous_expiry_date != line.new_expiry_date
    ]


class Member(VendorModel):
    customer_identifiers: CustomerIdentifiers = CustomerIdentifiers()


class PointsContributionToGroup(VendorModel):
    envelope: Envelope
    group_id: Id
    contributing_member: Member
    primary_member: Annotated[Member, EmptyIfNull] = Member()
    loyalty_program_id: Id
    points_contributed_to_group: Points


def points_contribution_to_group(event: PointsContributionToGroup, context: EventContext) -> list[Fact]:
    """A transfer from a member's account to the group's account. It is sent and received in one event, so nothing is in
    transit.

    The transfer is named by the loyalty event id, else by the event's id. We assume that the points go to the account
    of the group, on behalf of the primary member. The group's own events name the group as holder.
    """
    member = event.contributing_member.customer_identifiers.customer_id
    if member is None:
        raise ValueError("no customer")
    sender = context.ref(member)
    group = group_holder(context, Entity(entity_type="GROUP", entity_id=event.group_id)) or sender
    primary = event.primary_member.customer_identifiers.customer_id
    envelope = event.envelope
    vendor_id = envelope.loyalty_event_id or envelope.event_id
    transfer = context.ref(vendor_id or context.tag)
    change = envelope.change_fields(context, change_id=transfer if vendor_id else None)
    programme, points = event.loyalty_program_id, event.points_contributed_to_group
    return [
        TransferSent(holder=sender, programme=programme, points=points, transfer=transfer, receiver=group, **change),
        TransferReceived(
            holder=group,
            programme=programme,
            customer=context.ref(primary) if primary else None,
            points=points,
            transfer=transfer,
            sender=sender,
            **change,
        ),
        TransferSettled(holder=sender, programme=programme, points=points, transfer=transfer, **change),
        TransferInitiated(transfer=transfer, points=points, programme=programme, sender=sender, receiver=group),
        TransferCompleted(transfer=transfer, points=points, programme=programme, sender=sender, receiver=group),
    ]


KINDS: dict[str, EventType[Any]] = {
    "manualPointsAdjustment": EventType(ManualPointsAdjustment, manual_points_adjustment),
    "pointsExpiryChange": EventType(PointsExpiryChange, points_expiry_change),
    "pointsContributionToGroup": EventType(PointsContributionToGroup, points_contribution_to_group),
}
