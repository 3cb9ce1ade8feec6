"""Tables of a projection. The row type is the source: its annotations give the columns, and its fields the rows.

    class Bill(State):
        customer: Identifier | None = None
        amount: Annotated[Decimal | None, "net"] = None
        lines: StateOnly[dict[str, Decimal]] = {}

    class BillRow(Bill, kw_only=True):
        incomplete: Annotated[bool, "only updates were recorded"]

- A row type is a NamedTuple, or a state. It may extend a state by computed columns.
- `| None` makes a column nullable. `StateOnly` marks a field of a state that is not a column.
- In `Annotated`, a text describes the column to users, and an `SqlType` names its type. COLUMN_DESCRIPTIONS describes
  the names that several tables share. The docstring of a row type describes its table.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from inspect import cleandoc
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints, overload

import msgspec

from projections.column_descriptions import COLUMN_DESCRIPTIONS

Row: TypeAlias = tuple[Any, ...]
RowT = TypeVar("RowT", bound=Row)
T = TypeVar("T")

SQL_TYPES: dict[Any, str] = {
    bool: "boolean",
    int: "int",
    str: "text",
    bytes: "bytea",
    Decimal: "numeric",
    date: "date",
    datetime: "timestamptz",
    list[str]: "text[]",
}


class SqlType(NamedTuple):
    """Type of a column in SQL, for a column whose Python type does not decide it. A CHECK may follow."""

    name: str


STATE_ONLY = object()
StateOnly = Annotated[T, STATE_ONLY]

SORT_PREFIX = "sort_"

Identifier = Annotated[str, SqlType('text COLLATE "C"')]  # an id: compared and sorted by bytes
Position = Annotated[int, SqlType("bigint")]
PreviousOwners = Annotated[list[str] | None, "previous owners; null if there are none"]  # see field_updates.py


class Column(NamedTuple):
    """One column of a table, or one field of any other row type."""

    name: str
    type: Any  # in Python, without None: str, int, bool, Decimal, date, datetime, list[str]
    nullable: bool
    description: str | None  # a sentence
    sql_type: str


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """One table of a projection. Its first columns are `ledger_id int, subject text`; the fields of `row` follow.

    A column with a position is named "position" or ends in "_position". Digests leave these columns out, because only
    positions depend on the order of arrival. A column `customer` is indexed, and so are previous owners.

    A sort key is a bigint in the order of a number. Its name begins with SORT_PREFIX, and no answer shows it. Under
    row-level security an index cannot be searched for a numeric: its comparison might reveal hidden rows by an error.
    """

    name: str
    row: type  # see above
    indexes: Mapping[str, str] = field(default_factory=dict)  # name -> SQL after CREATE INDEX <table>_<name> ON <table>
    sort_keys: Mapping[str, str] = field(default_factory=dict)  # name -> SQL, of columns that PostgreSQL computes
    key: tuple[str, ...] = ()  # columns that identify a row within its subject
    unique_key: bool = False  # the key identifies a row within its ledger; the subject is indexed
    append_only: bool = False  # rows are only added, at least one for each fact, and come from `take_rows`

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, without `ledger_id` and `subject`."""
        return tuple(column.name for column in columns_of(self.row))

    @property
    def create(self) -> str:
        """CREATE TABLE, unqualified and without keys: a rebuild loads the table first and adds indexes later."""
        columns = ["ledger_id int NOT NULL", 'subject text COLLATE "C" NOT NULL']
        for column in columns_of(self.row):
            columns.append(f'"{column.name}" {column.sql_type}{"" if column.nullable else " NOT NULL"}')
        columns += (f"{name} bigint GENERATED ALWAYS AS ({sql}) STORED" for name, sql in self.sort_keys.items())
        return f"CREATE TABLE {self.name} ({', '.join(columns)})"

    @property
    def index(self) -> tuple[str, ...]:
        """Statements that create the primary key and the indexes."""
        key = ", ".join(("ledger_id", *self.key) if self.unique_key else ("ledger_id", "subject", *self.key))
        indexes = dict(self.indexes)
        if self.unique_key:
            indexes["subject"] = "(ledger_id, subject)"
        if "customer" in self.columns:
            indexes["customer"] = "(ledger_id, customer)"
        if "previous_owners" in self.columns:
            indexes["previous_owners"] = "USING gin (previous_owners) WHERE previous_owners IS NOT NULL"
        return (
            f"ALTER TABLE {self.name} ADD PRIMARY KEY ({key})",
            *(f"CREATE INDEX {self.name}_{name} ON {self.name} {definition}" for name, definition in indexes.items()),
        )


def sort_key_of(number: str) -> str:
    """Return SQL of a bigint in the order of a number: in steps of 0.0001, within 900 trillions."""
    return f"floor(greatest(least({number}, 900000000000000), -900000000000000) * 10000)::bigint"


@cache
def columns_of(row_type: type) -> tuple[Column, ...]:
    """Return the columns that a row type declares, in order. Raises KeyError if a type has no type in SQL."""
    hints = get_type_hints(row_type, include_extras=True)
    return tuple(_column(name, hint) for name, hint in hints.items() if STATE_ONLY not in _unwrap(hint)[1])


def description_of(row_type: type) -> str:
    """Return the docstring of a row type: the description of its table."""
    return " ".join(cleandoc(row_type.__doc__ or "").split())


def _column(name: str, hint: Any) -> Column:
    inner, outer_notes = _unwrap(hint)
    nullable, inner_notes = get_origin(inner) in (Union, UnionType), ()
    if nullable:
        (inner,) = (member for member in get_args(inner) if member is not type(None))
        inner, inner_notes = _unwrap(inner)
    notes = (*inner_notes, *outer_notes)  # the outermost note counts
    sql_type = [note.name for note in notes if isinstance(note, SqlType)] or [SQL_TYPES[inner]]
    own = [sentence(note) for note in notes if isinstance(note, str)]
    return Column(name, inner, nullable, own[-1] if own else COLUMN_DESCRIPTIONS.get(name), sql_type[-1])


def sentence(text: str) -> str:
    """Return a description as a sentence."""
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _unwrap(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the type inside `Annotated`, and the notes about it."""
    return (hint.__origin__, hint.__metadata__) if get_origin(hint) is Annotated else (hint, ())


@overload
def row_from(source: object, row_type: type[RowT], /, **rest: Any) -> RowT: ...
@overload
def row_from(source: object, row_type: type[msgspec.Struct], /, **rest: Any) -> Row: ...
def row_from(source: object, row_type: type, /, **rest: Any) -> Row:
    """Build a row: columns in `rest` by name, all others from the attributes of `source` with the same names.

    The row is a named tuple. Raises TypeError if the row type has no column for a name in `rest`.
    """
    row: Row = _row_builder(row_type, tuple(rest))(source, rest)
    return row


@cache
def _row_builder(row_type: type, rest: tuple[str, ...]) -> Callable[[object, dict[str, Any]], Any]:
    """Compile an expression, as `namedtuple` does. `getattr` by name takes three times as long for each row."""
    names = [column.name for column in columns_of(row_type)]
    if unknown := set(rest) - set(names):
        raise TypeError(f"{row_type.__name__} has no columns {sorted(unknown)}")
    row_tuple = namedtuple(row_type.__name__, names) if issubclass(row_type, msgspec.Struct) else row_type
    values = ", ".join(f"rest[{name!r}]" if name in rest else f"source.{name}" for name in names)
    builder: Callable[[object, dict[str, Any]], Any] = eval(  # noqa: S307 - names of our own fields
        f"lambda source, rest: new(row_tuple, ({values},))", {"new": tuple.__new__, "row_tuple": row_tuple}
    )
    return builder
