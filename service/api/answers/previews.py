"""Types of the effects that a dry run shows."""

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from service.api.answers.fields import Points

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
