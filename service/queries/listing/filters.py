"""Filters and orders of lists, and their conditions in SQL.

A condition has `{}` where the value stands. Several conditions of a filter are alternatives. Each is read in the order
of an index, which PostgreSQL would not do for an OR.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

FilterKind = Literal["text", "reference", "flag", "points", "day", "time", "position"]
Key = tuple[Any, ...]
Test = Callable[[Mapping[str, Any], Any], bool]


class RowCondition(NamedTuple):
    """A condition of rows. An index finds those that meet `indexed`. The rest is checked row by row."""

    indexed: str
    rest: str = "true"
    only_for: str | None = None  # the value of the filter for which the condition is an alternative; None: every value
    parts: "PartsOfRows | None" = None

    @property
    def whole(self) -> str:
        return self.indexed if self.rest == "true" else f"(({self.indexed}) AND ({self.rest}))"


class PartsOfRows(NamedTuple):
    """Rows of another table by which the rows of a list are found. An index has those of `walked` in order of `key`."""

    key: str
    walked: str
    condition: str

    def select(self, condition: str) -> str:
        return f"SELECT {self.key} FROM {self.walked} AND {condition}"  # noqa: S608 - our own conditions


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of a list. The condition of a flag holds if it is true, and has no value in it."""

    name: str
    kind: FilterKind
    description: str
    conditions: tuple[RowCondition, ...]
    test: Test
    exact: bool = True  # the conditions alone decide
    order: str | None = None  # the order of the index that serves the filter

    def conditions_for(self, value: Any) -> tuple[RowCondition, ...]:
        """Return the alternatives for a value."""
        if self.kind == "flag" and not value:
            return (RowCondition(f"NOT ({' OR '.join(one.whole for one in self.conditions)})"),)
        return tuple(one for one in self.conditions if one.only_for in (None, value))


GivenFilter = tuple[Filter, Any]  # a filter with its value


@dataclass(frozen=True, slots=True)
class ListOrder:
    """One order of a list: the columns of an index, the last of them unique in the ledger."""

    name: str
    columns: tuple[str, ...]
    types: tuple[type, ...]

    def key_of(self, row: Mapping[str, Any]) -> Key:
        return tuple(row[column] for column in self.columns)


class Arguments:
    """The arguments of a statement: $1 is the ledger, the others are added with their conditions."""

    def __init__(self, ledger_id: int) -> None:
        self.values: list[Any] = [ledger_id]

    def add(self, value: Any) -> str:
        """Add an argument. Return its place."""
        self.values.append(value)
        return f"${len(self.values)}"

    def fill(self, condition: str, value: Any) -> str:
        """Return a condition with the place of its value."""
        return condition.replace("{}", self.add(value)) if "{}" in condition else condition

    def any_of(self, given: GivenFilter) -> str:
        """Return the condition of a filter, with all alternatives."""
        one, value = given
        whole = " OR ".join(condition.whole for condition in one.conditions_for(value))
        return f"({self.fill(whole, value)})"


def conditions_of(filters: Sequence[Filter], values: Mapping[str, Any], ledger_id: int) -> tuple[str, list[Any]]:
    """Return the conditions of the given filters as one, and its arguments."""
    arguments = Arguments(ledger_id)
    conditions = [arguments.any_of((one, values[one.name])) for one in filters if one.name in values]
    return " AND ".join(["true", *conditions]), arguments.values


def equals(name: str, description: str, *, column: str | None = None) -> Filter:
    """Define a filter by the text of a column."""
    of = column or name
    return Filter(name, "text", description, (RowCondition(f"{of} = {{}}::text"),), lambda row, value: row[of] == value)


def refers(name: str, description: str, *columns: str) -> Filter:
    """Define a filter by a reference in one of some columns. A bare id is enough."""
    of = columns or (name,)
    conditions = tuple(RowCondition(f"{column} = ANY ({{}}::text[])") for column in of)
    return Filter(name, "reference", description, conditions, lambda row, refs: any(row[one] in refs for one in of))


def flagged(name: str, description: str, condition: str, test: Callable[[Mapping[str, Any]], bool]) -> Filter:
    """Define a filter that is true or false."""
    return Filter(name, "flag", description, (RowCondition(condition),), lambda row, value: test(row) is value)


def status_is(description: str, open_statuses: Sequence[str], **ends: str) -> Filter:
    """Define a filter by a status that becomes "expired" by itself. `ends` are the columns with the end, by type."""
    listed = ", ".join(f"'{status}'" for status in open_statuses)
    ended = " OR ".join(f"{name} < (now() + interval '2 days')::{kind}" for name, kind in ends.items()) or "true"
    running = "".join(
        f" AND ({name} IS NULL OR {name} > (now() - interval '2 days')::{kind})" for name, kind in ends.items()
    )
    conditions = (
        RowCondition("status = {}::text", f"(status NOT IN ({listed}) OR (true{running}))"),
        *(RowCondition(f"status = '{status}'", f"({ended})", only_for="expired") for status in open_statuses),
    )
    return Filter("status", "text", description, conditions, lambda row, value: row["status"] == value, exact=False)


def expires_before(**ends: str) -> Filter:
    """Define a filter by the end of a validity. `ends` are the columns with the end, by type: a time or a day."""
    condition = " OR ".join(f"{name} < ({{}}::timestamptz + interval '2 days')::{kind}" for name, kind in ends.items())
    return Filter(
        "expires_before",
        "time",
        "Only items whose validity ends before this time.",
        (RowCondition(f"({condition})"),),
        lambda row, value: row["expires_at"] is not None and row["expires_at"] < value,
        exact=False,
    )


def changed_since(order: str | None = "changed") -> Filter:
    """Define a filter by the last event of a row."""
    return Filter(
        "changed_since",
        "position",
        "Only items with an event after this position, in the order of their last events: a reader keeps the largest "
        "`last_position` and continues there.",
        (RowCondition("last_position > {}::bigint"),),
        lambda row, value: row["last_position"] > value,
        order=order,
    )
