"""Lists of rows with filters, an order and a cursor. One value defines a list; SQL, parameters and tests follow it.

1. A filter has an SQL condition, which every matching row meets, and the exact test of the row as the answer shows it.
   The two differ where the answer depends on the time, such as the status "expired".
2. Therefore a filtered list equals a scan of all rows by the exact tests (`tests/service/queries/test_lists.py`).
3. Rows are read in the order of an index. A page may have fewer items than its limit if few candidates match.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal, NamedTuple

from ledger.database import fetch_planned
from projections.definition import Projection
from projections.queries.as_of import AsOf, KnownSubject, fold_known
from projections.queries.validity_ends import TimeZones, row_as_at
from projections.tables import Table
from service.queries.context import QueryContext
from service.queries.references import expand_reference
from service.queries.subjects import row_json

CANDIDATES_PER_READ = 1_000
CANDIDATES_MAX = 20_000  # of one page; a sparse filter then answers a short page with a cursor

FilterKind = Literal["text", "reference", "flag", "points", "day", "time", "position"]
Json = dict[str, Any]
Key = tuple[Any, ...]
Test = Callable[[Mapping[str, Any], Any], bool]
ShowRows = Callable[["QueryContext", Sequence[Any], "ListRequest"], Awaitable[list[Json]]]
ShowKnown = Callable[["RowList", KnownSubject, "ListRequest"], list[Json]]


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of a list. A condition has `{}` where the value stands. A flag has no value in its condition.

    Several conditions are alternatives. Each has an index of its own.
    """

    name: str
    kind: FilterKind
    description: str
    condition: str | tuple[str, ...]
    test: Test
    exact: bool = True  # the condition alone decides
    order: str | None = None  # the order of the index that serves the filter


@dataclass(frozen=True, slots=True)
class ListOrder:
    """One order of a list: the columns of an index, the last of them unique in the ledger."""

    name: str
    columns: tuple[str, ...]
    types: tuple[type, ...]


@dataclass(frozen=True, slots=True)
class RowList:
    """One list: its path, its table, its filters and its orders. The first order is the default."""

    path: str
    projection: Projection
    filters: tuple[Filter, ...]
    orders: tuple[ListOrder, ...]
    show: ShowRows | None = None  # how stored rows are shown; None: as rows of their table
    show_known: ShowKnown | None = None  # how a subject is shown as of an earlier time
    table_name: str = ""  # if it is not the first table of the projection

    @property
    def table(self) -> Table:
        tables = self.projection.tables
        return next((table for table in tables if table.name == self.table_name), tables[0])


class ListRequest(NamedTuple):
    """The filters with their values, the order, and the time for which rows are shown.

    `as_of` is None for a list as of now, which reads stored rows. Otherwise see past_lists.py.
    """

    values: Mapping[str, Any]
    order: ListOrder
    at: datetime
    zones: TimeZones
    as_of: AsOf | None = None


class ListPage(NamedTuple):
    """Items of a list, and the key of the last row read. The key is None if no row follows."""

    items: list[Json]
    following: Key | None


async def read_page(
    query: QueryContext, row_list: RowList, asked: ListRequest, after: Key | None, limit: int
) -> ListPage:
    """Return up to `limit` items after a key. It reads at most CANDIDATES_MAX rows."""
    items: list[Json] = []
    examined, read_size = 0, min(CANDIDATES_PER_READ, limit + 1)
    while True:
        rows = await _fetch(query, row_list, asked, after, read_size)
        shown = await (row_list.show or partial(show_rows, table=row_list.table.name))(query, rows, asked)
        for row, item in zip(rows, shown, strict=True):
            if matches(row_list, item, asked.values):
                if len(items) == limit:
                    return ListPage(items, after)
                items.append(item)
            after = tuple(row[column] for column in asked.order.columns)
        examined += len(rows)
        if len(rows) < read_size:
            return ListPage(items, None)
        if examined >= CANDIDATES_MAX:
            return ListPage(items, after)
        read_size = CANDIDATES_PER_READ  # few rows match


async def count_items(query: QueryContext, row_list: RowList, asked: ListRequest) -> int:
    """Count all items of a list. Filters that depend on the time are counted row by row."""
    if all(one.exact for one in row_list.filters if one.name in asked.values):
        conditions, arguments = conditions_of(row_list.filters, asked.values)
        sql = f"SELECT count(*) FROM {row_list.table.name} WHERE ledger_id = $1 AND {conditions}"  # noqa: S608
        [[total]] = await fetch_planned(query.connection, sql, query.ledger.ledger_id, *arguments)
        return int(total)
    return sum([len(page.items) async for page in read_all(query, row_list, asked)])


async def read_all(
    query: QueryContext, row_list: RowList, asked: ListRequest, after: Key | None = None
) -> AsyncIterator[ListPage]:
    """Yield all pages of a list."""
    while True:
        page = await read_page(query, row_list, asked, after, CANDIDATES_PER_READ)
        yield page
        if page.following is None:
            return
        after = page.following


def matches(row_list: RowList, item: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Return True if an item, as the answer shows it, passes all filters."""
    return all(one.test(item, values[one.name]) for one in row_list.filters if one.name in values)


async def show_rows(_query: QueryContext, rows: Sequence[Any], asked: ListRequest, *, table: str) -> list[Json]:
    """Return rows of a table as they are at the time of the query."""
    return [row_as_at(table, row_json(row), asked.at, asked.zones) for row in rows]


def show_known_rows(row_list: RowList, known: KnownSubject, asked: ListRequest) -> list[Json]:
    """Return the rows of a subject as of an earlier time, in the form of stored rows."""
    table = row_list.table
    rows = fold_known(row_list.projection, known).rows[table.name]
    shown = ({"id": known.root, **dict(zip(table.columns, row, strict=True))} for row in rows)
    return [row_as_at(table.name, row, asked.at, asked.zones) for row in shown]


async def resolve_references(
    query: QueryContext, filters: Sequence[Filter], values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of filters, with references in place of names: a bare id may mean several."""
    resolved = dict(values)
    for one in filters:
        if one.kind == "reference" and one.name in resolved:
            resolved[one.name] = await expand_reference(query, resolved[one.name])
    return resolved


async def _fetch(
    query: QueryContext, row_list: RowList, asked: ListRequest, after: Key | None, limit: int
) -> Sequence[Any]:
    alternatives, arguments = alternatives_of(row_list.filters, asked.values)
    columns = ", ".join(asked.order.columns)
    following = ""
    if after is not None:
        places = ", ".join(f"${len(arguments) + 2 + number}" for number in range(len(after)))
        following = f" AND ({columns}) > ({places})"
        arguments += after
    reads = [
        f"SELECT * FROM {row_list.table.name} WHERE ledger_id = $1 AND {one}{following} "  # noqa: S608
        f"ORDER BY {columns} LIMIT {limit}"
        for one in alternatives
    ]
    sql = reads[0]
    if len(reads) > 1:
        both = " UNION ALL ".join(f"({read})" for read in reads)
        sql = f"SELECT * FROM ({both}) found ORDER BY {columns} LIMIT {limit}"  # noqa: S608
    return await fetch_planned(query.connection, sql, query.ledger.ledger_id, *arguments)


def conditions_of(filters: Sequence[Filter], values: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the conditions of the given filters as one, and their arguments from $2 on."""
    alternatives, arguments = alternatives_of(filters, values)
    return f"({' OR '.join(alternatives)})", arguments


def alternatives_of(filters: Sequence[Filter], values: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    """Return conditions of which a row meets at most one, and their arguments from $2 on.

    Each alternative of the first filter that has some is a condition. PostgreSQL reads each in the order of an index,
    which it would not do for an OR.
    """
    conditions, arguments = ["true"], list[Any]()
    split: list[str] = []
    for one in filters:
        if one.name not in values:
            continue
        value = values[one.name]
        place = f"${len(arguments) + 2}"
        parts = [part.replace("{}", place) for part in _parts(one)]
        if one.kind != "flag":
            arguments.append(value)
        if len(parts) > 1 and not split:
            split = parts
            continue
        whole = parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"
        conditions.append(f"NOT ({whole})" if one.kind == "flag" and not value else whole)
    if not split:
        return [" AND ".join(conditions)], arguments
    others = [[f"({earlier}) IS NOT TRUE" for earlier in split[:number]] for number in range(len(split))]
    return [" AND ".join([*conditions, part, *other]) for part, other in zip(split, others, strict=True)], arguments


def _parts(one: Filter) -> tuple[str, ...]:
    return (one.condition,) if isinstance(one.condition, str) else one.condition


def equals(name: str, description: str, *, column: str | None = None) -> Filter:
    """Define a filter by the text of a column."""
    of = column or name
    return Filter(name, "text", description, f"{of} = {{}}::text", lambda row, value: row[of] == value)


def refers(name: str, description: str, *columns: str) -> Filter:
    """Define a filter by a reference in one of some columns. A bare id is enough."""
    of = columns or (name,)
    conditions = tuple(f"{column} = ANY ({{}}::text[])" for column in of)
    return Filter(name, "reference", description, conditions, lambda row, refs: any(row[one] in refs for one in of))


def flagged(name: str, description: str, condition: str, test: Callable[[Mapping[str, Any]], bool]) -> Filter:
    """Define a filter that is true or false."""
    return Filter(name, "flag", description, condition, lambda row, value: test(row) is value)


def status_is(description: str, open_statuses: Sequence[str], **ends: str) -> Filter:
    """Define a filter by a status that becomes "expired" by itself. `ends` are the columns with the end, by type."""
    listed = ", ".join(f"'{status}'" for status in open_statuses)
    ended = " OR ".join(f"{name} < (now() + interval '2 days')::{kind}" for name, kind in ends.items()) or "true"
    running = "".join(
        f" AND ({name} IS NULL OR {name} > (now() - interval '2 days')::{kind})" for name, kind in ends.items()
    )
    conditions = (
        f"status = {{}}::text AND (status NOT IN ({listed}) OR (true{running}))",
        f"{{}}::text = 'expired' AND status IN ({listed}) AND ({ended})",
    )
    return Filter("status", "text", description, conditions, lambda row, value: row["status"] == value, exact=False)


def expires_before(**ends: str) -> Filter:
    """Define a filter by the end of a validity. `ends` are the columns with the end, by type: a time or a day."""
    condition = " OR ".join(f"{name} < ({{}}::timestamptz + interval '2 days')::{kind}" for name, kind in ends.items())
    return Filter(
        "expires_before",
        "time",
        "Only items whose validity ends before this time.",
        f"({condition})",
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
        "last_position > {}::bigint",
        lambda row, value: row["last_position"] > value,
        order=order,
    )
