"""Definition of a list of open matters: pages in the order of a key, and totals. An index serves each list.

A matter is open from its first event on. Vendors' events arrive late and in parts. So most lists have a grace before a
matter counts. `by` is the requested time minus the grace.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.database import Connection

PAGE_ITEMS = 1_000
COUNTED_MAX = 100_000  # limits the cost of a summary; beyond it `more` is True

Key = tuple[Any, ...]


class OpenItem(NamedTuple):
    """One open matter. `amount` is in points, above zero if they are missing here; None if the matter is not about
    points.
    """

    id: str
    amount: Decimal | None
    unit: str | None
    position: int | None  # of the first event of the matter
    since: datetime | None
    cause: str
    details: dict[str, Any]


class ListQuery(NamedTuple):
    """One page of a list: matters open since `by` or earlier, after a key."""

    ledger_id: int
    at: datetime
    opened_by: datetime
    limit: int
    after: Key


class ListTotals(NamedTuple):
    """Totals of a list: open matters, and points by unit. Points are summed without signs: a surplus in one item does
    not make up for missing points in another. `more` is True if not all were counted.
    """

    items: int
    more: bool
    points: dict[str, Decimal]


ReadItems = Callable[[Connection, ListQuery], Awaitable[tuple[list[OpenItem], Key | None]]]
CountItems = Callable[[Connection, int, datetime], Awaitable[ListTotals]]


@dataclass(frozen=True, slots=True)
class OpenList:
    """One list. `start` is the key before the first item; it defines the types in a key."""

    name: str
    title: str
    read: ReadItems
    count: CountItems
    columns: tuple[str, ...]  # details written to a CSV file
    start: Key
    grace: timedelta = timedelta(0)
    details: tuple[str, ...] = ()  # further details, which only JSON shows
    statements: tuple[str, ...] = ()  # its SQL, for tests of query plans

    def key_of(self, cursor: Sequence[Any] | None) -> Key:
        """Read a key from a cursor. Raises ValueError if the key is not of this list."""
        if cursor is None:
            return self.start
        if len(cursor) != len(self.start):
            raise ValueError("a key of another list")
        return tuple(_as(type(like), value) for like, value in zip(self.start, cursor, strict=True))


def _as(wanted: Any, value: Any) -> Any:
    if wanted is datetime or wanted is date:
        return wanted.fromisoformat(str(value))
    if not isinstance(value, wanted):
        raise ValueError("a key of another list")
    return value


def list_from_sql(
    name: str,
    title: str,
    *,
    page: str,
    totals: str | None = None,
    key: tuple[str, ...],
    start: Key,
    cause: str | Callable[[Any], str],
    columns: tuple[str, ...],
    details: tuple[str, ...] = (),
    grace: timedelta = timedelta(0),
) -> OpenList:
    """Make a list from two statements.

    - `page` takes ledger, by, limit and the columns of the key. It returns the fields of an item, except the cause, and
      the columns of the list and of `details` by name.
    - `cause` is one sentence for all items, or makes one from a row.
    - `totals` takes ledger, by and the number to count at most. It returns unit, items and points without signs.
      Without it the pages are counted.
    """

    async def read(connection: Connection, query: ListQuery) -> tuple[list[OpenItem], Key | None]:
        rows = await connection.fetch(page, query.ledger_id, query.opened_by, query.limit + 1, *query.after)
        shown = rows[: query.limit]
        return [_item_of_row(row, cause, (*columns, *details)) for row in shown], next_key(rows, query.limit, key)

    if totals is None:
        return OpenList(name, title, read, count_by_reading(read, start), columns, start, grace, details, (page,))
    return OpenList(name, title, read, count_by_statement(totals), columns, start, grace, details, (page, totals))


def _item_of_row(row: Any, cause: str | Callable[[Any], str], details: Sequence[str]) -> OpenItem:
    sentence = cause if isinstance(cause, str) else cause(row)
    shown = {name: row[name] for name in details}
    return OpenItem(row["id"], row["amount"], row["unit"], row["position"], row["since"], sentence, shown)


def next_key(rows: Sequence[Any], limit: int, columns: Sequence[str]) -> Key | None:
    """Return the key of a page's last row. None if no row follows, so that no page is empty."""
    return tuple(rows[limit - 1][column] for column in columns) if len(rows) > limit else None


def fill_pages(read: ReadItems, key_of: Callable[[OpenItem], Key]) -> ReadItems:
    """Wrap a reader that finds fewer items than rows. The wrapped reader returns full pages."""

    async def read_full(connection: Connection, query: ListQuery) -> tuple[list[OpenItem], Key | None]:
        found: list[OpenItem] = []
        following: Key | None = query.after
        while following is not None and len(found) <= query.limit:
            items, following = await read(connection, query._replace(after=following))
            found += items
        shown = found[: query.limit]
        return shown, key_of(shown[-1]) if len(found) > query.limit else None

    return read_full


def count_by_statement(totals: str) -> CountItems:
    """Count a list by its `totals` statement."""

    async def count(connection: Connection, ledger_id: int, by: datetime) -> ListTotals:
        rows = await connection.fetch(totals, ledger_id, by, COUNTED_MAX)
        items = sum(row["items"] for row in rows)
        points = {row["unit"]: row["points"] for row in rows if row["unit"] is not None and row["points"] is not None}
        return ListTotals(items, items >= COUNTED_MAX, points)

    return count


def count_by_reading(read: ReadItems, start: Key) -> CountItems:
    """Count a list by reading its pages."""

    async def count(connection: Connection, ledger_id: int, by: datetime) -> ListTotals:
        items, points, after = 0, dict[str, Decimal](), start
        while items < COUNTED_MAX:
            page, following = await read(connection, ListQuery(ledger_id, by, by, PAGE_ITEMS, after))
            items += len(page)
            for one in page:
                if one.unit is not None and one.amount is not None:
                    points[one.unit] = points.get(one.unit, Decimal(0)) + abs(one.amount)
            if following is None:
                break
            after = following
        return ListTotals(items, items >= COUNTED_MAX, points)

    return count


def format_time(time: datetime | None) -> str:
    """Write a time for a sentence, to the second."""
    return "?" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"
