"""Types of the answers about orders, generations, problems and the service itself."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from projections.order_items import ORDER_ITEMS
from service.api.answers.fields import (
    FRESH,
    Cursor,
    Freshness,
    Points,
    Time,
    Total,
    Truncated,
    answer_type,
    page_of,
)
from service.api.answers.previews import Previewed, RecordedPosition
from service.api.answers.subjects import row_answer

OrderItem: Any = row_answer(ORDER_ITEMS.tables[0])


class Order(Freshness):
    """An order: its items, the points paid, and the points due back."""

    id: str
    customer: str | None
    points_paid: Points
    refund_due: Points
    items: list[OrderItem]
    truncated: NotRequired[Truncated]


class ListedOrder(TypedDict):
    """An order with the sums of its items."""

    id: str
    customer: str | None
    points_paid: Points
    refund_due: Points
    item_count: int
    statuses: Annotated[list[str], Meta(description="The statuses of its items, each once.")]
    last_position: int


OrderPage = page_of(ListedOrder, total=Total, **FRESH)


class Refund(TypedDict):
    """The points of an order item that were given back."""

    order_item: str
    points: Points
    position: RecordedPosition
    preview: NotRequired[Previewed]


Comparison: Any = answer_type(
    "Comparison",
    {
        "compared_with": int | None,
        "position": int | None,
        "differing": Any,
        "expected": NotRequired[int],
        "unexpected": NotRequired[int],
    },
    description="The differences of a generation from the active one.",
)


class GenerationDetails(TypedDict):
    """One built copy of the rows."""

    generation: int
    status: Literal["filling", "ready", "active", "retired", "dropping"]
    basis: str
    versions: dict[str, int]
    scope: dict[str, Any]
    comparison: Comparison | None
    created_at: Time
    ready_at: Time | None
    promoted_at: Time | None
    retired_at: Time | None


class Generations(Freshness):
    """All generations, oldest first."""

    items: list[GenerationDetails]
    next: Cursor


RebuildStarted: Any = answer_type(
    "RebuildStarted",
    {"generation": int | None, "status": Literal["filling"], "basis": Literal["ledger", "facts"], "promote": bool},
    description="A rebuild that was started.",
)


class GenerationDropped(TypedDict):
    """A generation that is being removed."""

    generation: int
    dropped: bool


class ProjectionState(TypedDict):
    """The delay of one projection."""

    name: str
    version: int
    rebuild_due: bool
    position: int
    events_behind: int
    seconds_behind: float


class Projections(TypedDict):
    """The position of the rows, and the generations."""

    as_of_position: int
    ledger_position: int
    items: list[ProjectionState]
    next: Cursor
    generations: list[GenerationDetails]


class Live(TypedDict):
    """The process answers."""

    status: Literal["live"]


class Ready(TypedDict):
    """The database answers and has the schema of this version."""

    status: Literal["ready"]
    schema: str
    clock: NotRequired[str]
    unreachable_ledgers: NotRequired[
        Annotated[list[str], Meta(description="Ledgers whose server does not answer, with several servers.")]
    ]


class Info(TypedDict):
    """The ledger and the scopes of a key, the versions, and the positions."""

    ledger: str
    scopes: list[str]
    version: Annotated[str, Meta(description="The version of the software.")]
    schema: Annotated[str, Meta(description="The version of the database schema.")]
    ledger_position: Annotated[int, Meta(description="The position of the last event.")]
    as_of_position: Annotated[int, Meta(description="The rows reflect the events up to this position.")]


class ProblemAnswer(TypedDict):
    """A problem document (RFC 9457)."""

    type: Annotated[
        str,
        Meta(
            description="The path of a page about the problem.",
            extra_json_schema={"format": "uri-reference"},
            examples=["/v1/errors/scope-missing"],
        ),
    ]
    title: str
    status: int
    detail: str
