"""Types of the rows of every projection, alone and with history or explanation."""

from functools import cache
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from projections.definition import Projection
from projections.queries.validity_ends import ENDINGS
from projections.tables import Table, description_of
from service.api.answers.fields import FRESH, ROW_SUFFIX, Parked, Time, Truncated, answer_type, list_of, row_fields

Fields = Annotated[dict[str, Any], Meta(description="The fields of the fact; docs/domain.md explains them.")]


class HistoryItem(TypedDict):
    """One fact of a subject, in the order in which facts are folded."""

    occurred_at: Time
    fact: Annotated[str, Meta(description="The kind of the fact, such as CouponIssued.")]
    position: int
    untimed: bool
    fields: Fields


class StepEvent(TypedDict):
    """The event that reported the fact of a step."""

    position: int
    kind: str
    source: str
    recorded_at: Time


class StepRule(TypedDict):
    """The rule that folded a fact: its name, and a sentence about its effect."""

    name: str
    sentence: str


class Change(TypedDict):
    """The value of a field before and after a step."""

    before: Any
    after: Any


class SubjectStep(TypedDict):
    """One step of an explanation: a fact, the rule that folded it, and the changed fields.

    A fact that cannot be folded has `failure`, the reason, instead of a rule. The end of a validity has no event and no
    number.
    """

    step: int | None
    kind: NotRequired[str]
    occurred_at: Time
    event: StepEvent | None
    fact: str | None
    fields: Fields
    untimed: NotRequired[bool]
    rule: NotRequired[StepRule]
    changed: NotRequired[dict[str, Change]]
    row: NotRequired[dict[str, Any]]
    failure: NotRequired[str]


STEPS = {
    "next_step": Annotated[int | None, Meta(description="The `after_step` of the next page, or null.")],
    **FRESH,
}


@cache
def row_answer(table: Table) -> Any:
    """Return the type of one row of a table, as of a time."""
    row: Any = table.row
    ends = {
        name: hint
        for ending in ENDINGS.get(table.name, ())
        for name, hint in ((ending.status, str | None), (ending.expires_at, Time | None))
    }
    fields = {"id": str, **row_fields(row), **ends, "inherited_from": NotRequired[str]}
    return answer_type(row.__name__.removesuffix("Row"), fields, description=description_of(row))


def _tables(projection: Projection) -> dict[str, Any]:
    return {table.name: list_of(row_answer(table)) for table in projection.tables[1:]}


@cache
def subject_answer(projection: Projection) -> Any:
    """Return the type of one subject with its further rows and its history."""
    return _details(projection, "Details", {"history": list[HistoryItem]}, FRESH)


@cache
def explanation_answer(projection: Projection) -> Any:
    """Return the type of an explanation of one subject."""
    return _details(projection, "Explanation", {"steps": list[SubjectStep]}, STEPS)


def _details(projection: Projection, suffix: str, facts: dict[str, Any], last: dict[str, Any]) -> Any:
    row = row_answer(projection.tables[0])
    fields = {
        **row_answer_fields(projection),
        **_tables(projection),
        **facts,
        "truncated": NotRequired[Truncated],
        "parked": NotRequired[Parked],
        **last,
    }
    return answer_type(f"{row.__name__.removesuffix(ROW_SUFFIX)}{suffix}", fields)


def row_answer_fields(projection: Projection) -> dict[str, Any]:
    """Return the fields of the first row of a projection."""
    fields = dict(row_answer(projection.tables[0]).__annotations__)
    del fields["inherited_from"]
    return fields
