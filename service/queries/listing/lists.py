"""Lists of rows with filters, an order and a cursor. One value defines a list; SQL, parameters and tests follow it.

1. A filter has an SQL condition, which every matching row meets, and the exact test of the row as the answer shows it.
   The two differ where the answer depends on the time, such as the status "expired".
2. Therefore a filtered list equals a scan of all rows by the exact tests (`tests/service/queries/test_lists.py`).
3. A page reads a bounded number of rows (candidates.py). It may have fewer items than its limit, and still a cursor.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from ledger.database import fetch_planned
from projections.definition import Projection
from projections.queries.as_of import AsOf, KnownSubject, fold_known
from projections.queries.validity_ends import TimeZones, row_as_at
from projections.tables import Table
from service.queries.context import QueryContext
from service.queries.listing.candidates import read_candidates
from service.queries.listing.filters import Filter, Key, ListOrder, conditions_of
from service.queries.references import expand_reference
from service.queries.subjects import row_json

CANDIDATES_PER_READ = 1_000
CANDIDATES_MAX = 5_000  # of one page; then it is short, with a cursor

Json = dict[str, Any]
ShowRows = Callable[["QueryContext", Sequence[Any], "ListRequest"], Awaitable[list[Json]]]
ShowKnown = Callable[["RowList", KnownSubject, "ListRequest"], list[Json]]


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
    """Return up to `limit` items after a key."""
    items: list[Json] = []
    examined, read_size = 0, min(CANDIDATES_PER_READ, limit + 1)
    given = [(one, asked.values[one.name]) for one in row_list.filters if one.name in asked.values]
    while True:
        found = await read_candidates(query, row_list.table, given, asked.order, after, read_size)
        shown = await (row_list.show or partial(show_rows, table=row_list.table.name))(query, found.rows, asked)
        for row, item in zip(found.rows, shown, strict=True):
            if matches(row_list, item, asked.values):
                if len(items) == limit:
                    return ListPage(items, after)
                items.append(item)
            after = asked.order.key_of(row)
        if found.following is None:
            return ListPage(items, None)
        after = found.following
        examined += len(found.rows)
        if len(found.rows) < read_size or examined >= CANDIDATES_MAX:
            return ListPage(items, after)
        read_size = CANDIDATES_PER_READ  # few rows match


async def count_items(query: QueryContext, row_list: RowList, asked: ListRequest) -> int | None:
    """Count all items of a list as of now by one statement. None if a filter depends on the time."""
    if not all(one.exact for one in row_list.filters if one.name in asked.values):
        return None
    conditions, arguments = conditions_of(row_list.filters, asked.values, query.ledger.ledger_id)
    sql = f"SELECT count(*) FROM {row_list.table.name} WHERE ledger_id = $1 AND {conditions}"  # noqa: S608
    [[total]] = await fetch_planned(query.connection, sql, *arguments)
    return int(total)


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
