"""The screen of coming lapses: the points that lapse in a month, by day and by lot."""

from datetime import date, timedelta
from typing import Any

from aiohttp import web

from ledger import clock
from ledger.errors import RequestInvalid
from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.links import account_link, link_of
from service.console.pages import Page, console_href
from service.console.tables import PageColumn, PageTable, Row
from service.finance.requests import parse_day_of_ledger
from service.queries.freshness import freshness
from service.queries.lapsing_lots import DAYS_MAX, LOTS_MAX, read_lapsing_lots
from service.queries.programmes import find_programme

LOTS_SHOWN = 100
SUM_COLUMNS = (
    PageColumn("expires_on", "Last day", "day"),
    PageColumn("programme", "Programme", "short"),
    PageColumn("unit", "Unit"),
    PageColumn("points", "Points", "points"),
    PageColumn("lots", "Lots", "number"),
    PageColumn("accounts", "Accounts", "number"),
)
LOT_COLUMNS = (
    PageColumn("expires_on", "Last day", "day"),
    PageColumn("account", "Account", "code", lambda row: account_link(row["account"])),
    PageColumn("lot_id", "Lot", "short", lambda row: _lot_link(row)),
    PageColumn("points", "Points", "points"),
    PageColumn("unit", "Unit"),
    PageColumn("earned_at", "Earned", "time"),
    PageColumn("position", "Event", "event", link_of("position")),
)


async def show_lapses(request: web.Request) -> Page:
    """Return the points that lapse within some days. The default is the next month."""
    given = request.query
    begins = next_month(clock.now().date())
    first = parse_day_of_ledger(given.get("from") or None, "from") or begins
    last = parse_day_of_ledger(given.get("to") or None, "to") or next_month(first) - timedelta(days=1)
    if not 0 <= (last - first).days <= DAYS_MAX:
        raise RequestInvalid(f"`to` must be 0 to {DAYS_MAX:,} days after `from`")
    name = given.get("programme", "").strip()
    async with open_query(request, heavy=True) as query:
        programme = await find_programme(query, name) if name else None
        found = await read_lapsing_lots(query, first, last, programme)
        fresh = await freshness(query)
    cut = f"Files hold the first {LOTS_MAX:,} lots only." if len(found.lots) == LOTS_MAX else ""
    empty = "No points lapse in these days, as the lots stand now."
    tables = (
        PageTable("days", "By day", SUM_COLUMNS, found.sums, empty),
        PageTable("lots", "Lots, by their last day", LOT_COLUMNS, found.lots, empty, note=cut, shown=LOTS_SHOWN),
    )
    values: dict[str, Any] = {"first": first, "last": last, "fresh": fresh, "programme": name}
    return Page("lapses.html", "Points that lapse", tables, values)


def _lot_link(row: Row) -> str:
    return console_href("explain", "accounts", row["account"], lot=row["lot_id"])


def next_month(day: date) -> date:
    """Return the first day of the month after a day."""
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


ROUTES = [page("/lapses", show_lapses, "from", "to", "programme")]
