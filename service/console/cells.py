"""Cells of tables as HTML. Every text is escaped here, because templates take the result as it is.

Python writes them, because a page may have thousands of cells, and macros of templates take ten times as long.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

from service.console.charts import BarPart
from service.console.formats import (
    format_fact,
    format_points,
    format_signed,
    format_text,
    format_time,
    shorten,
    state_look,
)
from service.console.tables import PageTable

NOTHING = '<span class="nothing">–</span>'
NO_STATE = "none"
SUM = "is_sum"  # a value of rows that sum others


def render_rows(table: PageTable) -> Markup:
    """Return the rows of a table that a page shows."""
    columns = table.shown_columns
    lines = []
    for row in table.rows[: table.shown]:
        cells = []
        for column in columns:
            html = _html(column.kind, column.title, row.get(column.name))
            href = column.href(row) if column.href is not None else None
            linked = html if href is None else f'<a href="{escape(href)}">{html}</a>'
            cells.append(f'<td class="{column.kind}">{linked}</td>')
        opening = '<tr class="total">' if row.get(SUM) else "<tr>"
        lines.append(f"{opening}{''.join(cells)}</tr>\n")
    return Markup("".join(lines))  # noqa: S704 - every part was escaped


def render_value(kind: str, title: str, value: Any) -> Markup:
    """Return one value in the way of its kind."""
    return Markup(_html(kind, title, value))  # noqa: S704 - escaped


def _html(kind: str, title: str, value: Any) -> str:
    if kind == "bar":
        return _bar(value)
    if value is None:
        return NOTHING
    if kind == "time" or isinstance(value, datetime):
        day, _, clock_time = format_time(value).partition(" ")
        return f'<time datetime="{value.isoformat()}">{day} <span class="clock">{clock_time}</span></time>'
    if kind in ("points", "number") and value == 0:
        return '<span class="zero">0</span>'
    if kind == "points":
        return str(escape(format_points(value)))
    if kind == "signed":
        look = "minus" if value < 0 else "plus" if value > 0 else "zero"
        return f'<span class="{look}">{escape(format_signed(value))}</span>'
    if kind == "short":
        return f'<code title="{escape(value)}">{escape(shorten(value))}</code>'
    if kind == "code":
        return f"<code>{escape(format_text(value))}</code>"
    if kind == "fact":
        return str(escape(format_fact(value)))
    if kind == "event":
        return f"#{escape(value)}"
    if kind == "flag":
        return f'<span class="badge warn">{escape(title.lower())}</span>' if value else ""
    if kind == "state":
        return _state(value)
    return str(escape(format_text(value)))


def _state(value: Any) -> str:
    if value == NO_STATE:
        return '<span class="nothing">none</span>'
    return f'<span class="badge {state_look(value)}">{escape(format_text(value).replace("_", " "))}</span>'


def _bar(parts: Sequence[BarPart]) -> str:
    """Return the bar of a lot as a drawing, with its parts in words."""
    words = ", ".join(f"{part.name} {round(part.width)} %" for part in parts)
    drawn = "".join(
        f'<rect class="{part.name}" x="{part.start}" y="0" width="{part.width}" height="10"/>' for part in parts
    )
    frame = 'class="lot" viewBox="0 0 100 10" preserveAspectRatio="none" role="img"'
    return f'<svg {frame} aria-label="{words}">{drawn}</svg>'
