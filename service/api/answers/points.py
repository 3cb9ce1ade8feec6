"""Types of the answers about points beside accounts: redemptions, bills, groups, units."""

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from service.api.answers.accounts import Account, ListedLot, Promise, Redemption
from service.api.answers.fields import FRESH, Points, Time, Truncated, answer_type, list_of, page_of

RedemptionDetails: Any = answer_type(
    "RedemptionDetails",
    {
        "id": str,
        "customer": str,
        "points": Annotated[Points | None, Meta(description="Null if only a reversal was recorded.")],
        "value": Annotated[Points | None, Meta(description="Money that the points paid.")],
        "reversed": Annotated[Points, Meta(description="Points given back.")],
        "reversal": Annotated[str, Meta(description="None, partly, fully, or unknown: `none`, `partly`, …")],
        "reversed_at": Time | None,
        "by_group": Annotated[bool, Meta(description="A group of customers redeemed the points together.")],
        "has_notes": Annotated[bool, Meta(description="The event holds notes, encrypted.")],
        "bill_number": str | None,
        "request": str | None,
        "ratio": Annotated[Points | None, Meta(description="Worth of one point at that time.")],
        "redeemed_at": Time | None,
        "position": Annotated[int | None, Meta(description="The position of the redemption's event.")],
        "parts": list_of(Redemption),
        **FRESH,
    },
    description="A redemption, with the parts that accounts paid.",
)


class PromotionShareAnswer(TypedDict):
    """Points of one promotion that a return took back."""

    promotion: str | None
    points: Points


class BillReturn(TypedDict):
    """One report that points of a bill were taken back. Fields `stated_…` are the vendor's figures."""

    account: str
    occurred_at: Time
    position: int | None
    repeated: Annotated[bool, Meta(description="It repeats a report that was counted before.")]
    points: Annotated[Points, Meta(description="Points that the return took from the balance.")]
    stated_points: Points | None
    stated_promised: Points | None
    stated_total: Annotated[Points | None, Meta(description="All points taken back for the bill so far.")]
    promotions: list[PromotionShareAnswer]


BillPoints: Any = answer_type(
    "BillPoints",
    {
        "id": Annotated[str, Meta(description="The bill, or the name in the request if no event reported the bill.")],
        "number": str | None,
        "customer": str | None,
        "amount": Points | None,
        "currency": str | None,
        "points_earned": Annotated[Points, Meta(description="Points of all lots of the bill.")],
        "points_promised": Annotated[Points, Meta(description="Points still to come.")],
        "points_returned": Annotated[Points, Meta(description="Points that returns took from lots of the bill.")],
        "points_taken_back": Annotated[
            Points, Meta(description="Points that returns took from the balance, whatever lots paid.")
        ],
        "lots": list_of(ListedLot),
        "promises": list_of(Promise),
        "returns": list[BillReturn],
        "truncated": NotRequired[Truncated],
        **FRESH,
    },
    description="The points of one bill: earned, to come, and taken back.",
)


class GroupMember(TypedDict):
    """A customer who acted for a group, or sent points to it."""

    customer: str
    first_at: Time
    last_at: Time
    facts_count: int


Group: Any = answer_type(
    "Group",
    {
        "id": str,
        "accounts": list_of(Account),
        "members": list[GroupMember],
        "truncated": NotRequired[Truncated],
        **FRESH,
    },
    description="A group of customers who share a balance.",
)


class ProgrammeUnit(TypedDict):
    """A unit of points. `name` is null for ordinary points."""

    unit: str
    name: str | None


UnitPage = page_of(ProgrammeUnit, **FRESH)
