"""Types of fields: points, times, positions, hashes; and functions that build answer types from rows."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, NotRequired, TypedDict, get_origin, get_type_hints

from msgspec import Meta

from projections.tables import Column, columns_of

Points = Annotated[
    Decimal,
    Meta(description="An exact number in plain notation."),
]
Time = Annotated[datetime, Meta(tz=True)]
Position = Annotated[int, Meta(ge=1, description="The position of an event in the ledger.")]
Hex = Annotated[str, Meta(pattern="^([0-9a-f]{2})*$", description="Bytes in hexadecimal.")]
Month = Annotated[str, Meta(pattern="^[0-9]{4}-[0-9]{2}$", examples=["2026-03"])]
Cursor = Annotated[
    str | None, Meta(description="The `cursor` of the next page, or null. A Link header names the page too.")
]
Truncated = Annotated[bool, Meta(description="True if lists of the answer were cut. Absent otherwise.")]

Total = NotRequired[Annotated[int, Meta(description="The number of items of all pages, with `total=true`.")]]


class Freshness(TypedDict):
    """The events that an answer reflects."""

    as_of_position: Annotated[int, Meta(ge=0, description="The answer reflects the events up to this position.")]
    events_behind: Annotated[int, Meta(ge=0, description="The number of later events in the ledger.")]


class Parked(TypedDict):
    """An event that cannot be folded. The row shows the facts before it."""

    reason: str
    position: int


ROW_SUFFIX = "Row"
FIELD_TYPES: Mapping[Any, Any] = {Decimal: Points, datetime: Time, bytes: Hex}


def answer_type(name: str, fields: Mapping[str, Any], *, description: str = "") -> Any:
    """Return a TypedDict with some fields. Its name is the name of the schema.

    A schema with a field of its own name gets the suffix "Row": generated Python clients confuse the two.
    """
    if re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() in fields:
        name += ROW_SUFFIX
    make: Any = TypedDict  # names of types are computed here, which type checkers do not follow
    made = make(name, dict(fields))
    made.__doc__ = description or None
    return made


def fields_of(answer: Any) -> dict[str, Any]:
    """Return the fields of a TypedDict, those that may be absent included."""
    hints = get_type_hints(answer, include_extras=True)
    optional = answer.__optional_keys__
    return {
        name: NotRequired[hint] if name in optional and get_origin(hint) is not NotRequired else hint
        for name, hint in hints.items()
    }


def row_fields(row: Any, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of a row type, as an answer shows them, with their descriptions."""
    return {column.name: column_type(column) for column in columns_of(row) if column.name not in without}


def column_type(column: Column) -> Any:
    """Return the type of a column as an answer shows it: points, times and bytes are strings of a format."""
    shown = FIELD_TYPES.get(column.type, column.type)
    if column.nullable:
        shown = shown | None
    return shown if column.description is None else Annotated[shown, Meta(description=column.description)]


def tuple_fields(row: Any) -> dict[str, Any]:
    """Return the fields of a NamedTuple that is no row of a table."""
    hints = get_type_hints(row, include_extras=True)
    return {name: FIELD_TYPES.get(hints[name], hints[name]) for name in row._fields}


def list_of(item: Any) -> Any:
    """Return the type of a list of a computed type."""
    return list[item]


def page_of(item: Any, **more: Any) -> Any:
    """Return the type of one page of a list."""
    return answer_type(
        f"{item.__name__.removesuffix('Answer').removesuffix(ROW_SUFFIX)}Page",
        {"items": list_of(item), "next": Cursor, **more},
        description="One page of a list.",
    )


FRESH = fields_of(Freshness)
