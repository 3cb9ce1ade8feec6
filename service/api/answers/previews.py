"""Types of the effects that a dry run shows."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from service.api.answers.fields import Points, Time
from service.api.answers.ledger import EventFact, RepairMade, SubjectName

RecordedPosition = Annotated[int | None, Meta(description="The position of the event; null if nothing was recorded.")]


class PreviewedRow(TypedDict):
    """One row that changes, as it is stored. `before` is null for a new row, `after` for a row that ends."""

    table: str
    id: Annotated[str, Meta(description="The subject of the row.")]
    before: Annotated[dict[str, Any] | None, Meta(description="Columns without positions.")]
    after: Annotated[dict[str, Any] | None, Meta(description="Columns without positions.")]


class PreviewedParking(TypedDict):
    """A subject that could not be folded: its rows would stay at the facts before."""

    table: str
    id: str
    reason: str


class PreviewedFigure(TypedDict):
    """Outstanding points, and their value by the terms of the programme. Null if a point has no worth."""

    points: Points
    value: Points | None
    currency: str | None


class PreviewedLiability(TypedDict):
    """The liability of a programme and unit at the end of today, before and after."""

    programme: str
    unit: str
    before: PreviewedFigure
    after: PreviewedFigure


class PreviewAnswer(TypedDict):
    """The effects of a dry run. More than 1,000 rows are cut, and `truncated` is true."""

    accounts_changed: int
    rows: list[PreviewedRow]
    truncated: bool
    parked: list[PreviewedParking]
    liability: NotRequired[
        Annotated[
            list[PreviewedLiability],
            Meta(description="For terms and policies: programmes whose liability changes, or that get new terms."),
        ]
    ]


Previewed = Annotated[PreviewAnswer, Meta(description="The effects. Only in a dry run.")]


class TestedEvent(TypedDict):
    """One event of a tested delivery. `position` is that of the stored event for a duplicate, null otherwise."""

    position: int | None
    outcome: Literal["appended", "duplicate", "conflict"]
    kind: str
    source: str
    org: str
    occurred_at: Time | None
    payload: Annotated[Any, Meta(description="The delivered JSON, with markers for personal values.")]
    facts: list[EventFact]
    subjects: Annotated[list[SubjectName], Meta(description="The subjects that the facts change.")]
    unread: Literal["quarantined", "unrecognised"] | None
    reason: str | None
    repairs: list[RepairMade]


class DeliveryTest(TypedDict):
    """The events of a tested delivery, and their effects. Nothing was stored."""

    ledger: str
    events: list[TestedEvent]
    preview: PreviewAnswer
