"""Tables of the console. A page shows them as HTML; `?format=csv` and `?format=json` send the same rows as a file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from service.formatting import encode_json
from service.reconciliation.formats import csv_line

Row = Mapping[str, Any]
FORMATS = ("csv", "json")
WIDTH_REM_MAX = 72.0  # of a table in a wide window
WIDTHS_REM = {"time": 11.0, "day": 7.5, "number": 6.0, "event": 5.5, "points": 7.5, "signed": 7.5, "bar": 13.5}
WIDTHS_REM |= {"short": 13.0, "code": 12.0, "prose": 26.0, "state": 8.0, "flag": 6.0}


class PageColumn(NamedTuple):
    """One column. `kind` decides how a cell looks: text, any, number, points, signed, time, day, code, short, event,
    flag, state, prose, list, bar, or file, which only files have.
    """

    name: str  # of the field in CSV and JSON
    title: str
    kind: str = "text"
    href: Callable[[Row], str | None] | None = None
    sort_href: str | None = None  # address of the rows in the order of this column
    sorted: str | None = None  # ascending or descending, if the rows are in this order


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
    cursor_name: str = "cursor"  # parameter of the next page

    @property
    def shown_columns(self) -> list[PageColumn]:
        """The columns that a page shows. A flag that no row has is left out."""
        shown = [column for column in self.columns if column.kind != "file"]
        return [one for one in shown if one.kind != "flag" or any(row.get(one.name) for row in self.rows)]

    @property
    def is_narrow(self) -> bool:
        """True if the table fits a wide window, so that its head may stay in view."""
        return sum(WIDTHS_REM.get(column.kind, 8.0) for column in self.shown_columns) <= WIDTH_REM_MAX


def table_csv(table: PageTable) -> bytes:
    """Return a table as CSV by RFC 4180."""
    names = [column.name for column in table.columns if column.kind != "bar"]
    return b"".join([csv_line(names), *(csv_line([row.get(name) for name in names]) for row in table.rows)])


def table_json(table: PageTable) -> bytes:
    """Return a table as JSON: its rows, and the cursor of the next page."""
    names = [column.name for column in table.columns if column.kind != "bar"]
    items = [{name: row.get(name) for name in names} for row in table.rows]
    return encode_json({"items": items, "next": table.next_cursor})
