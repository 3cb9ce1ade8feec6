"""Open matters as JSON and as CSV. A spreadsheet opens the CSV without running any formula in it."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from ledger.decimals import format_decimal
from service.reconciliation.lists import PAGE_ITEMS, Key, ListQuery, OpenItem, OpenList

ReadPage = Callable[[ListQuery], Awaitable[tuple[list[OpenItem], Key | None]]]

ITEM_COLUMNS = ("id", "points", "unit", "position", "since", "age_seconds", "cause")
FORMULA_PREFIXES = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
)  # a spreadsheet takes a cell that begins so for a formula


def item_json(item: OpenItem, at: datetime) -> dict[str, Any]:
    """Return an item as JSON, with its age at `at` in whole seconds."""
    return {
        "id": item.id,
        "points": item.amount,
        "unit": item.unit,
        "position": item.position,
        "since": item.since,
        "age_seconds": None if item.since is None else int((at - item.since).total_seconds()),
        "cause": item.cause,
        **item.details,
    }


async def csv_pages(
    read_page: ReadPage, open_list: OpenList, list_query: ListQuery, items_max: int | None = None
) -> AsyncIterator[bytes]:
    """Yield a list as CSV in blocks of lines: the items after a key, at most `items_max` (None: all)."""
    columns = (*ITEM_COLUMNS, *(column for column in open_list.columns if column not in ITEM_COLUMNS))
    yield csv_line(columns)
    left, after = items_max, list_query.after
    while left is None or left > 0:
        limit = PAGE_ITEMS if left is None else min(PAGE_ITEMS, left)
        items, following = await read_page(list_query._replace(after=after, limit=limit))
        shown = (item_json(item, list_query.at) for item in items)
        yield b"".join(csv_line([row.get(column) for column in columns]) for row in shown)
        if following is None:
            return
        left, after = None if left is None else left - len(items), following


def csv_line(cells: Iterable[Any]) -> bytes:
    """Write one line by RFC 4180."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([format_cell(cell) for cell in cells])
    return line.getvalue().encode()


def format_cell(value: Any) -> str:
    """Write one cell: exact points, times in UTC, several values separated by spaces. A text never starts a formula."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format_decimal(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = " ".join(format_cell(one) for one in value)
    if isinstance(value, Mapping):
        value = " ".join(f"{name} {format_cell(one)}" for name, one in value.items())
    text = str(value)
    return f"'{text}" if text.startswith(FORMULA_PREFIXES) else text
