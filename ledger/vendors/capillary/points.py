"""Capillary's points: issued, promised, converted, expired, and changes of expiry days (document 003).

`programCurrentPoints` and similar fields are claims about the account after the event. The fold compares them and never
obeys them.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ledger.facts import Fact
from ledger.facts.accounts import (
    Claim,
    EarningActivity,
    Expired,
    ExpiryClaimed,
    ExpiryMoved,
    Grant,
    Issued,
    Promise,
    PromisedConverted,
)
from ledger.vendors.capillary.people import Activity, CustomerEvent, bill_fields
from ledger.vendors.fields import Day, Figure, Id, List, OptionalId, Points, Text, Time, VendorModel, is_stated
from ledger.vendors.vendor import EventContext, EventType

ZERO = Decimal(0)


class RegularLine(VendorModel):
    points: Points = ZERO
    expiry_at: Day = None


class PromotionalLine(VendorModel):
    promotion_identifier: OptionalId = None
    promotion_points: Points = ZERO
    promotion_points_expiry_date: Day = None


class PromisedLine(VendorModel):
    promised_points: Points = ZERO
    promised_points_conversion_date: Day = None
    is_external_trigger_based: bool = False
    promotion_identifier: OptionalId = None


class PointsIssued(CustomerEvent):
    loyalty_program_id: Id
    program_current_points: Figure = None
    program_lifetime_points: Figure = None
    total_points_issued: Figure = None
    total_stated: Annotated[bool, Field(validation_alias="totalPointsIssued"), BeforeValidator(is_stated)] = False
    regular_points_issued: Figure = None  # used if no total is stated
    regular_points_breakup: Annotated[list[RegularLine], List] = []
    promotional_points_issued: Annotated[list[PromotionalLine], List] = []
    promised_points_issued: Annotated[list[PromisedLine], List] = []


def points_issued(event: PointsIssued, context: EventContext) -> list[Fact]:
    """Return the lots of the breakups. If the total exceeds them, the rest is one unallocated lot (trap 3).

    Promised points are not in the total (trap 2). An unreadable total is left out if there are parts. Raises ValueError
    if no number of points can be read.
    """
    grants = [Grant(line.points, line.expiry_at) for line in event.regular_points_breakup if line.points]
    grants += [
        Grant(line.promotion_points, line.promotion_points_expiry_date, "promotional", line.promotion_identifier)
        for line in event.promotional_points_issued
        if line.promotion_points
    ]
    promises = tuple(
        Promise(
            line.promised_points,
            line.promised_points_conversion_date,
            line.is_external_trigger_based,
            line.promotion_identifier,
        )
        for line in event.promised_points_issued
        if line.promised_points
    )
    total = event.total_points_issued
    if total is None and event.total_stated and event.regular_points_issued is None and not (grants or promises):
        raise ValueError("no number of points issued")
    allocated = sum((grant.points for grant in grants), ZERO)
    if total is None and event.regular_points_issued is None:
        total = allocated
    elif total is None:
        promotional = sum((line.promotion_points for line in event.promotional_points_issued), ZERO)
        total = (event.regular_points_issued or ZERO) + promotional
    if total > allocated:
        grants.append(Grant(total - allocated, None, "unallocated"))
    return [
        Issued(
            holder=event.holder(context),
            programme=event.loyalty_program_id,
            customer=event.customer(context),
            claim=Claim(event.program_current_points, event.program_lifetime_points),
            ratio=event.ratio,
            grants=tuple(grants),
            promises=promises,
            activity=event.triggering_activity.name,
            untied=min(ZERO, total - allocated) or None,
            **bill_fields(event.triggering_activity),
            **event.envelope.change_fields(context, event.loyalty_program_id, *_issue_parts(event.triggering_activity)),
        )
    ]


def _issue_parts(activity: Activity) -> tuple[str | None, ...]:
    """Return the parts that distinguish issues of one loyalty event: the bill and its line."""
    return tuple(activity.identifier(name) for name in ("billid", "billlineitemid", "lineitemid"))


class EarningReference(Activity):
    """The activity for which converted points were promised. `pointsConverted` may be 0 in it (trap 10)."""

    entered_at: Time = None
    points_converted: Figure = None

    def fact_part(self) -> EarningActivity:
        return EarningActivity(
            name=self.name,
            bill_number=self.identifier("billnumber"),
            event_log=self.identifier("eventlogid"),
            entered_at=self.entered_at,
            points=self.points_converted,
        )


class PromisedToCurrent(CustomerEvent):
    loyalty_program_id: OptionalId = None
    points_converted: Figure = None  # the sum of the breakup is used if it cannot be read
    program_current_points: Figure = None
    program_lifetime_points: Figure = None
    points_converted_breakup: Annotated[list[dict[str, Any]], List] = []
    earning_activity_reference: Annotated[list[EarningReference], List] = []
    points_conversion_source: Text = None


class ConvertedLine(VendorModel):
    """One line of the breakup, in any of its groups (`nonPromotional`, a promotion)."""

    program_id: OptionalId = None
    points: Figure = None
    points_converted: Figure = None
    expiry_at: Day = None
    expiry_date: Day = None
    promotion_identifier: OptionalId = None
    promotion_id: OptionalId = None


def promised_to_current(event: PromisedToCurrent, context: EventContext) -> list[Fact]:
    """`pointsConverted` is the amount; the sum of the references differs from it (trap 10).

    The programme is at the top or, in newer events, in the breakup. Raises ValueError if neither names a single
    programme, or neither states the points.
    """
    lines = [ConvertedLine.model_validate(line) for line in _lines(event.points_converted_breakup)]
    programmes = {line.program_id for line in lines if line.program_id}
    programme = event.loyalty_program_id or (programmes.pop() if len(programmes) == 1 else None)
    if programme is None:
        raise ValueError("no programme")
    grants = [
        Grant(
            line.points or line.points_converted or ZERO,
            line.expiry_at or line.expiry_date,
            "converted",
            line.promotion_identifier or line.promotion_id,
        )
        for line in lines
        if line.points or line.points_converted
    ]
    in_breakup = sum((grant.points for grant in grants), ZERO)
    converted = event.points_converted if event.points_converted is not None or not grants else in_breakup
    if converted is None:
        raise ValueError("no number of points converted")
    rest = converted - in_breakup
    untied = min(ZERO, rest) or None
    if rest < 0:  # the breakup contradicts the total: use the total
        grants, rest = [], converted
    if rest:
        grants.append(Grant(rest, None, "converted"))
    references = event.earning_activity_reference
    return [
        PromisedConverted(
            holder=event.holder(context),
            programme=programme,
            customer=event.customer(context),
            claim=Claim(event.program_current_points, event.program_lifetime_points),
            ratio=event.ratio,
            grants=tuple(grants),
            activities=tuple(reference.fact_part() for reference in references),
            trigger=event.points_conversion_source,
            untied=untied,
            bill_number=references[0].identifier("billnumber") if len(references) == 1 else None,
            **event.envelope.change_fields(context, programme),
        )
    ]


def _lines(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the structures with points, at any depth of the breakup."""
    if isinstance(value, dict):
        if "points" in value or "pointsConverted" in value:
            yield value
        else:
            for child in value.values():
                yield from _lines(child)
    elif isinstance(value, list):
        for child in value:
            yield from _lines(child)


class PointsExpired(CustomerEvent):
    loyalty_program_id: Id
    points_expired: Points


def points_expired(event: PointsExpired, context: EventContext) -> list[Fact]:
    """The vendor names neither lots nor a day (trap 8). The fold uses the points that were due first."""
    return [
        Expired(
            holder=event.holder(context),
            programme=event.loyalty_program_id,
            customer=event.customer(context),
            ratio=event.ratio,
            points=event.points_expired,
            **event.envelope.change_fields(context, event.loyalty_program_id),
        )
    ]


class PointsExpiryReminder(CustomerEvent):
    loyalty_program_id: Id
    points_scheduled_for_expiry: Points = ZERO
    scheduled_expiry_date: Day = None


def points_expiry_reminder(event: PointsExpiryReminder, context: EventContext) -> list[Fact]:
    """A reminder changes nothing. It is compared with the lots (trap 9)."""
    return [
        ExpiryClaimed(
            holder=event.holder(context),
            programme=event.loyalty_program_id,
            customer=event.customer(context),
            points=event.points_scheduled_for_expiry,
            expires_on=event.scheduled_expiry_date,
        )
    ]


class UpdatedExpiry(VendorModel):
    program_id: Id
    promotion_identifier: OptionalId = None
    points: Points = ZERO
    points_type: Text = None
    old_expiry_date: Day = None
    new_expiry_date: Day = None


class SinglePointsExpiryUpdated(CustomerEvent):
    updated_points_expiry: Annotated[list[UpdatedExpiry], List] = []


def single_points_expiry_updated(event: SinglePointsExpiryUpdated, context: EventContext) -> list[Fact]:
    """One event changes lots of several programmes. A line with equal days changes nothing (trap 7)."""
    return [
        ExpiryMoved(
            holder=event.holder(context),
            programme=line.program_id,
            customer=event.customer(context),
            points=line.points,
            old=line.old_expiry_date,
            new=line.new_expiry_date,
            origin="promotional" if "promotion" in (line.points_type or "").lower() else "regular",
            promotion=line.promotion_identifier,
            **event.envelope.change_fields(context),
        )
        for line in event.updated_points_expiry
        if line.points and line.old_expiry_date != line.new_expiry_date
    ]


KINDS: dict[str, EventType[Any]] = {
    "pointsIssued": EventType(PointsIssued, points_issued),
    "promisedToCurrentPointsConversion": EventType(PromisedToCurrent, promised_to_current),
    "pointsExpired": EventType(PointsExpired, points_expired),
    "pointsExpiryReminder": EventType(PointsExpiryReminder, points_expiry_reminder),
    "singlePointsExpiryUpdated": EventType(SinglePointsExpiryUpdated, single_points_expiry_updated),
}
