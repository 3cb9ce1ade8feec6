"""The screen of breakage: the points that are expected to lapse unused, and the vintage curves behind them."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.charts import curve_chart
from service.console.pages import Page, console_href
from service.console.tables import PageColumn, PageTable, Row
from service.finance.breakage import breakage_json, parse_breakage_month, read_breakage
from service.finance.breakage_forecast import ASSUMPTIONS
from service.queries.freshness import freshness
from service.queries.programmes import find_programme

KEY_COLUMNS = (
    PageColumn("programme", "Programme", "short", lambda row: _one_link(row)),
    PageColumn("unit", "Unit"),
    PageColumn("month", "End of", "day"),
    PageColumn("outstanding", "Outstanding", "points"),
)
FIGURE_COLUMNS = (
    PageColumn("expected_used", "Expected use", "points"),
    PageColumn("expected_removed", "Taken back", "points"),
    PageColumn("expected_breakage", "Expected breakage", "points"),
    PageColumn("expected_breakage_low", "At least", "points"),
    PageColumn("expected_breakage_high", "At most", "points"),
    PageColumn("undetermined", "Undetermined", "points"),
    PageColumn("expected_breakage_rate", "Rate", "points"),
    PageColumn("expected_breakage_value", "Value", "points"),
    PageColumn("currency", "Currency"),
)
REASON_COLUMN = PageColumn("reason", "Why no figure", "prose")
VINTAGE_COLUMNS = (
    PageColumn("programme", "Programme", "file"),
    PageColumn("unit", "Unit", "file"),
    PageColumn("vintage", "Earned in", "day"),
    PageColumn("credited", "Earned", "points"),
    PageColumn("used", "Used", "points"),
    PageColumn("lapsed", "Lapsed", "points"),
    PageColumn("removed", "Taken back", "points"),
    PageColumn("outstanding", "Outstanding", "points"),
    PageColumn("expected_used", "Expected use", "points"),
    PageColumn("expected_breakage", "Expected breakage", "points"),
    PageColumn("undetermined", "Undetermined", "points"),
)
CURVE_COLUMNS = (
    PageColumn("programme", "Programme", "file"),
    PageColumn("unit", "Unit", "file"),
    PageColumn("vintage", "Earned in", "day"),
    PageColumn("age", "Age in months", "number"),
    PageColumn("used", "Share used", "points"),
    PageColumn("lapsed", "Share lapsed", "points"),
    PageColumn("removed", "Share taken back", "points"),
    PageColumn("left", "Share left", "points"),
)
CURVES_SHOWN = 60
FILTERS = ("month", "programme", "unit")


async def show_breakage(request: web.Request) -> Page:
    """Return the forecast of each programme and unit, and for a single one its vintages and curves."""
    given = {name: request.query.get(name, "").strip() or None for name in FILTERS}
    month = parse_breakage_month(given["month"])
    async with open_query(request, heavy=True) as query:
        programme = await find_programme(query, given["programme"]) if given["programme"] else None
        found = await read_breakage(query.connection, query.ledger.ledger_id, month, programme, given["unit"])
        fresh = await freshness(query)
    items = [breakage_json(one) for one in found]
    single = items[0] if len(items) == 1 else None
    choose = "No vintage has a figure." if single else "Choose one programme and unit to see its vintages."
    tables = (
        PageTable(
            "breakage", "Expected breakage", item_columns(items), items, "No points were earned up to this month."
        ),
        PageTable("vintages", "By vintage", VINTAGE_COLUMNS, _rows(single, "vintages"), choose),
        PageTable("curves", "Vintage curves", CURVE_COLUMNS, _rows(single, "curves"), choose, shown=CURVES_SHOWN),
    )
    values: dict[str, Any] = {
        "month": f"{month:%Y-%m}",
        "given": given,
        "fresh": fresh,
        "chart": curve_chart(single["curves"]) if single else None,
        "assumptions": ASSUMPTIONS,
    }
    return Page("breakage.html", "Expected breakage", tables, values)


def item_columns(items: Sequence[Row]) -> list[PageColumn]:
    """Return the columns of the forecasts. Columns that no row fills are in files only."""
    filled = [any(row[column.name] is not None for row in items) for column in FIGURE_COLUMNS]
    figures = [
        column if shown else column._replace(kind="file") for column, shown in zip(FIGURE_COLUMNS, filled, strict=True)
    ]
    has_reason = any(row["reason"] is not None for row in items)
    return [*KEY_COLUMNS, *figures, REASON_COLUMN if has_reason else REASON_COLUMN._replace(kind="file")]


def _rows(item: Row | None, name: str) -> Sequence[Row]:
    if item is None:
        return []
    return [{"programme": item["programme"], "unit": item["unit"], **row} for row in item[name]]


def _one_link(row: Row) -> str:
    return console_href("finance", "breakage", month=row["month"], programme=row["programme"], unit=row["unit"])


ROUTES = [page("/finance/breakage", show_breakage, *FILTERS)]
