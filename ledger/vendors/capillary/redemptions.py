"""Capillary's redemptions and reversals: redeemed, redemption reversed, issue reversed (document 003).

`programCurrentPoints` is a claim about the account after the event. The fold compares it and never obeys it.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any

from ledger.facts import Fact
from ledger.facts.accounts import (
    NO_PROGRAMME,
    Claim,
    IssueReversed,
    PromotionShare,
    Redeemed,
    RedemptionReversed,
)
from ledger.vendors.capillary.people import CustomerEvent, bill_fields
from ledger.vendors.fields import (
    DetailList,
    Figure,
    FigureOrZero,
    Id,
    List,
    OptionalId,
    Points,
    Text,
    VendorModel,
)
from ledger.vendors.vendor import EventContext, EventType

ZERO = Decimal(0)


class EarningProgramme(VendorModel):
    program_id: Id
    points_redeemed: Points = ZERO
    program_current_points: Figure = None


class PointsRedeemed(CustomerEvent):
    loyalty_program_id: OptionalId = None
    total_points_redeemed: Figure = None  # used without programmes, else only compared
    redeemed_points_currency_value: Figure = None
    redemption_bill_number: OptionalId = None
    redemption_from_earning_programs: Annotated[list[EarningProgramme], List] = []
    is_group_redemption: bool = False
    redemption_notes: Text = None  # a marker if there are notes: they are personal


def points_redeemed(event: PointsRedeemed, context: EventContext) -> list[Fact]:
    """Return one debit for each earning programme (trap 12).

    `redemptionId` identifies the redemption, never `redemptionSummaryId`, which changes on reversal (trap 6).
    """
    programmes = event.redemption_from_earning_programs or [_single_programme(event)]
    activity = event.triggering_activity
    redemption_id = activity.identifier("redemptionid")
    redemption = redemption_id or event.envelope.loyalty_event_id or context.tag
    bill_number = event.redemption_bill_number or activity.identifier("billnumber") or activity.identifier("billid")
    untied = untied_points(event.total_points_redeemed, (programme.points_redeemed for programme in programmes))
    return [
        Redeemed(
            holder=event.holder(context),
            programme=programme.program_id,
            customer=event.customer(context),
            claim=Claim(programme.program_current_points),
            ratio=event.ratio,
            points=programme.points_redeemed,
            redemption=context.ref(redemption),
            request=event.envelope.api_request_id,
            bill_number=bill_number,
            value=event.redeemed_points_currency_value if len(programmes) == 1 else None,
            value_of_all=None if index or len(programmes) == 1 else event.redeemed_points_currency_value,
            by_group=event.is_group_redemption,
            has_notes=event.redemption_notes is not None,
            untied=None if index else untied,
            **event.envelope.change_fields(context, change_id=context.ref(redemption_id) if redemption_id else None),
        )
        for index, programme in enumerate(programmes)
    ]


def untied_points(total: Decimal | None, parts: Iterable[Decimal]) -> Decimal | None:
    """Return a stated total minus the sum of its parts. None if they are equal or no total is stated."""
    return None if total is None else (total - sum(parts, ZERO)) or None


def _single_programme(event: PointsRedeemed) -> EarningProgramme:
    if event.loyalty_program_id is None:
        raise ValueError("no programme")
    if event.total_points_redeemed is None:
        raise ValueError("no number of points redeemed")
    return EarningProgramme(program_id=event.loyalty_program_id, points_redeemed=event.total_points_redeemed)


# Fields with the points of a return, or the bill's total; events use different ones.
MOVED = frozenset(
    {
        "current_event_regular_points_returned",
        "current_event_total_points_returned",
        "current_event_promised_points_returned",
        "current_event_total_alternate_currencies_returned",
        "current_event_promised_alternate_currencies_returned",
        "total_issued_points_reversed",
        "total_alternate_currencies_reversed",
        "total_issued_alternate_currencies_reversed",
    }
)


class ReversedDetails(VendorModel):
    available: Figure = None
    expired: Figure = None


class ReversalToProgramme(VendorModel):
    program_id: Id
    redeemed_points_reversed: Points
    redeemed_points_reversed_details: ReversedDetails | None = None
    program_current_points: Figure = None


class RedeemedPointsReversed(CustomerEvent):
    loyalty_program_id: OptionalId = None
    redeemed_points_reversed: Figure = None  # used without programmes, else only compared
    redeemed_points_reversed_details: ReversedDetails | None = None
    redemption_reversal_to_earning_programs: Annotated[list[ReversalToProgramme], List] = []


def redeemed_points_reversed(event: RedeemedPointsReversed, context: EventContext) -> list[Fact]:
    """Only the `available` points return to the balance. The `expired` points are restored and lapse at once (trap 5).

    If no programme is named, the redemption has it (trap 6). Raises ValueError if the event names neither.
    """
    programmes = event.redemption_reversal_to_earning_programs
    redemption = event.triggering_activity.identifier("redemptionid") or event.envelope.loyalty_event_id
    if not programmes:
        if event.loyalty_program_id is None and redemption is None:
            raise ValueError("neither a programme nor a redemption is named")
        if event.redeemed_points_reversed is None:
            raise ValueError("no number of points given back")
        programmes = [
            ReversalToProgramme(
                program_id=event.loyalty_program_id or NO_PROGRAMME,
                redeemed_points_reversed=event.redeemed_points_reversed,
                redeemed_points_reversed_details=event.redeemed_points_reversed_details,
            )
        ]
    facts: list[Fact] = []
    untied = untied_points(
        event.redeemed_points_reversed, (programme.redeemed_points_reversed for programme in programmes)
    )
    for programme in programmes:
        details = programme.redeemed_points_reversed_details
        if details is None:  # a single programme has the event's details
            details = event.redeemed_points_reversed_details if len(programmes) == 1 else None
        details = details or ReversedDetails()
        facts.append(
            RedemptionReversed(
                holder=event.holder(context),
                programme=programme.program_id,
                customer=event.customer(context),
                claim=Claim(programme.program_current_points),
                ratio=event.ratio,
                points=programme.redeemed_points_reversed,
                redemption=context.ref(redemption or context.tag),
                available=details.available,
                expired=details.expired,
                untied=None if facts else untied,
                **reversal_names(event, context, redemption, redemption),
            )
        )
    return facts


def reversal_names(event: CustomerEvent, context: EventContext, of: str | None, *parts: str | None) -> dict[str, Any]:
    """Return `change` and `also` of a reversal. `of` is the redemption or the bill that is reversed.

    Some reports of a reversal lack the loyalty event id. The vendor's time and `of` name it then. A report with the id
    has this as its second name, so both are one change.
    """
    names = event.envelope.change_fields(context, *parts)
    if of is None or event.envelope.created_at is None:
        return names
    others = (part for part in parts if part and part != of)
    by_time = context.ref("~".join((of, event.envelope.vendor_time(context), *others)))
    if event.envelope.loyalty_event_id:
        return {"change": names["change"], "also": (*names["also"], by_time)}
    return {"change": by_time, "also": names.get("also", ())[-1:]}


class ReturnedPromotion(VendorModel):
    promotion_identifier: OptionalId = None
    promotion_points: Points = ZERO


class IssuedPointsReversed(CustomerEvent):
    loyalty_program_id: Id
    program_current_points: Figure = None
    program_lifetime_points: Figure = None
    total_issued_points_reversed: Figure = None
    promised_points_reversed: FigureOrZero = None
    current_event_promised_points_returned: FigureOrZero = None
    promotional_points_reversed: Annotated[list[ReturnedPromotion] | None, DetailList] = None
    current_event_regular_points_returned: Figure = None  # used if no sum is stated
    current_event_total_points_returned: Figure = None
    current_event_promotion_points_returned_details: Annotated[list[ReturnedPromotion] | None, DetailList] = None

    def returned(self) -> tuple[Decimal, Decimal] | None:
        """Return the points and the promised points that this event takes back. None if only totals can be read.

        The sum is regular plus promised points, so two of the three are enough. Regular points include those of
        promotions (trap 2).
        """
        sum_of_both = self.current_event_total_points_returned
        regular = self.current_event_regular_points_returned
        promised = stated_or_zero(self, "current_event_promised_points_returned")
        if promised is None:
            if sum_of_both is None or regular is None or regular > sum_of_both:
                return None
            return regular, sum_of_both - regular
        if sum_of_both is not None:
            return sum_of_both - promised, promised
        return None if regular is None else (regular, promised)


def stated_or_zero(event: VendorModel, field: str) -> Decimal | None:
    """Return a figure of the type FigureOrZero: 0 if it is absent, None if it is unreadable."""
    figure: Decimal | None = getattr(event, field)
    return ZERO if figure is None and field not in event.model_fields_set else figure


def bill_totals(
    event: VendorModel, total: Decimal | None, promised_field: str, current: object | None
) -> dict[str, Any]:
    """Return the totals of a bill: points and promised points. `promised_field` is the field of the latter.

    If one of them is unreadable, both are None, and only the share of this return (`current`) counts. Raises ValueError
    if `current` is None and a stated figure is unreadable.
    """
    promised_total = stated_or_zero(event, promised_field)
    if total is None or promised_total is None:
        if current is None and (total is not None or event.model_fields_set & MOVED):
            raise ValueError("no number of points taken back")
        return {"points_total": None, "promised_total": None}
    return {"points_total": total - promised_total, "promised_total": promised_total}


def promotion_shares(promotions: list[ReturnedPromotion] | None) -> tuple[PromotionShare, ...] | None:
    """Return the parts that promotions granted, None if the vendor does not state them."""
    if promotions is None or any(line.promotion_points < 0 for line in promotions):
        return None
    return tuple(PromotionShare(line.promotion_points, line.promotion_identifier) for line in promotions)


def issued_points_reversed(event: IssuedPointsReversed, context: EventContext) -> list[Fact]:
    """The current event's figures are the points of this return. The totals cover the bill so far (trap 4).

    Both include promised points (trap 2). The points of a promotion are taken from the lots of that promotion.
    """
    current, total = event.returned(), event.total_issued_points_reversed
    bill = bill_fields(event.triggering_activity)
    return [
        IssueReversed(
            holder=event.holder(context),
            programme=event.loyalty_program_id,
            customer=event.customer(context),
            claim=Claim(event.program_current_points, event.program_lifetime_points),
            ratio=event.ratio,
            points=current and current[0],
            promised=current and current[1],
            **bill_totals(event, total, "promised_points_reversed", current),
            promotions=promotion_shares(event.current_event_promotion_points_returned_details),
            promotions_total=promotion_shares(event.promotional_points_reversed),
            **bill,
            **reversal_names(
                event,
                context,
                bill["bill"] or bill["bill_number"],
                event.loyalty_program_id,
                *bill.values(),
            ),
        )
    ]


KINDS: dict[str, EventType[Any]] = {
    "pointsRedeemed": EventType(PointsRedeemed, points_redeemed),
    "redeemedPointsReversed": EventType(RedeemedPointsReversed, redeemed_points_reversed),
    "issuedPointsReversed": EventType(IssuedPointsReversed, issued_points_reversed),
}
