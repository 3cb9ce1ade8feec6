"""What a list of open matters is: pages in the order of a key, and totals. Each is read by an index of its own.

A matter is open from the moment its first event shows it. Vendors' events come late and in halves, so most lists have a
time of grace before a matter counts; `by` is the asked time minus that grace.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.database import Connection

PAGE_ITEMS = 1_000
COUNTED_MAX = 100_000  # totals say "more" beyond it, so that a summary costs the same whatever lies open

Key = tuple[Any, ...]


class OpenItem(NamedTuple):
    """One open matter. `amount` is in points, None where none are at stake; above zero they are missing here."""

    id: str
    amount: Decimal | None
    unit: str | None
    position: int | None  # of the first event that shows it
    since: datetime | None
    cause: str
    details: dict[str, Any]


class ListQuery(NamedTuple):
    """One page of a list: what was open `by` a time, after a key."""

    ledger_id: int
    at: datetime
    by: datetime
    limit: int
    after: Key


class ListTotals(NamedTuple):
    """How many matters are open, and by unit how many points are at stake: without their signs, since points too many
    here do not make up for points that are missing there. `more` where not all were counted."""

    items: int
    more: bool
    points: dict[str, Decimal]


ReadItems = Callable[[Connection, ListQuery], Awaitable[tuple[list[OpenItem], Key | None]]]
CountItems = Callable[[Connection, int, datetime], Awaitable[ListTotals]]


@dataclass(frozen=True, slots=True)
class OpenList:
    """One list. `start` is the key before the first item, and says what keys are made of."""

    name: str
    says: str
    read: ReadItems
    count: CountItems
    columns: tuple[str, ...]  # the details that stand in a CSV file
    start: Key
    grace: timedelta = timedelta(0)
    statements: tuple[str, ...] = ()  # the SQL behind it, for whoever wants to see it planned

    def key_of(self, cursor: Sequence[Any] | None) -> Key:
        """Read a key out of a cursor. Raises ValueError if it is none of this list."""
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
    says: str,
    *,
    page: str,
    totals: str | None = None,
    key: tuple[str, ...],
    start: Key,
    item: Callable[[Any], OpenItem],
    columns: tuple[str, ...],
    grace: timedelta = timedelta(0),
) -> OpenList:
    """Make a list from two statements: `page` takes ledger, by, limit and the columns of the key; `totals` takes
    ledger, by and how many to count at most, and gives unit, items and points at stake, without signs. Without it the
    pages are counted."""

    async def read(connection: Connection, asked: ListQuery) -> tuple[list[OpenItem], Key | None]:
        rows = await connection.fetch(page, asked.ledger_id, asked.by, asked.limit + 1, *asked.after)
        shown = rows[: asked.limit]
        return [item(row) for row in shown], next_key(rows, asked.limit, key)

    if totals is None:
        return OpenList(name, says, read, count_by_reading(read, start), columns, start, grace, (page,))
    return OpenList(name, says, read, count_by_statement(totals), columns, start, grace, (page, totals))


def next_key(rows: Sequence[Any], limit: int, columns: Sequence[str]) -> Key | None:
    """Give the key of the last row of a page; None where no row follows it, so that no page is ever empty."""
    return tuple(rows[limit - 1][column] for column in columns) if len(rows) > limit else None


def fill_pages(read: ReadItems, key_of: Callable[[OpenItem], Key]) -> ReadItems:
    """Make full pages of those of a reader that looks at more than it finds."""

    async def read_full(connection: Connection, asked: ListQuery) -> tuple[list[OpenItem], Key | None]:
        found: list[OpenItem] = []
        following: Key | None = asked.after
        while following is not None and len(found) <= asked.limit:
            items, following = await read(connection, asked._replace(after=following))
            found += items
        shown = found[: asked.limit]
        return shown, key_of(shown[-1]) if len(found) > asked.limit else None

    return read_full


def count_by_statement(totals: str) -> CountItems:
    """Count a list by a statement, as `from_sql` has it."""

    async def count(connection: Connection, ledger_id: int, by: datetime) -> ListTotals:
        rows = await connection.fetch(totals, ledger_id, by, COUNTED_MAX)
        items = sum(row["items"] for row in rows)
        points = {row["unit"]: row["points"] for row in rows if row["unit"] is not None and row["points"] is not None}
        return ListTotals(items, items >= COUNTED_MAX, points)

    return count


def count_by_reading(read: ReadItems, start: Key) -> CountItems:
    """Count a list by reading it."""

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
    """Write a time into a sentence, to the second."""
    return "?" if time is None else f"{time:%Y-%m-%d %H:%M:%S} UTC"
