"""Tables of the console. A page shows them as HTML; `?format=csv` and `?format=json` send the same rows as a file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from service.formatting import encode_json
from service.reconciliation.formats import csv_line

Row = Mapping[str, Any]
FORMATS = ("csv", "json")


class PageColumn(NamedTuple):
    """One column. `kind` decides how a cell looks: text, any, number, points, signed, time, day, code, short, event,
    flag, state, prose, list, bar, or file, which only files have.
    """

    name: str  # of the field in CSV and JSON
    title: str
    kind: str = "text"
    href: Callable[[Row], str | None] | None = None


class PageTable(NamedTuple):
    """Rows with their columns. `empty` explains why there is no row.

    A page shows the first `shown` rows and the link `more`; a file holds all of them.
    """

    name: str
    caption: str
    columns: Sequence[PageColumn]
    rows: Sequence[Row]
    empty: str
    next_cursor: str | None = None
    note: str = ""
    shown: int | None = None
    more: str | None = None  # address of all rows


def table_csv(table: PageTable) -> bytes:
    """Return a table as CSV by RFC 4180."""
    names = [column.name for column in table.columns if column.kind != "bar"]
    return b"".join([csv_line(names), *(csv_line([row.get(name) for name in names]) for row in table.rows)])


def table_json(table: PageTable) -> bytes:
    """Return a table as JSON: its rows, and the cursor of the next page."""
    names = [column.name for column in table.columns if column.kind != "bar"]
    items = [{name: row.get(name) for name in names} for row in table.rows]
    return encode_json({"items": items, "next": table.next_cursor})
