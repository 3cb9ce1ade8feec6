"""The screens of an account: its balance with the course and the statement, and its lots."""

from collections.abc import Sequence
from decimal import Decimal

from aiohttp import web

from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.charts import lot_bar, step_chart
from service.console.links import link_of
from service.console.pages import Page, console_href
from service.console.tables import PageColumn, PageTable
from service.console.times import TIMES, parse_times
from service.parameters import parse_int
from service.queries.account_overview import (
    LOTS_MAX,
    LastDay,
    StatementPage,
    figures_of,
    lapses_of,
    load_account_to_show,
    read_balances,
    read_last_days,
    read_lots,
    read_statement,
)
from service.queries.accounts import AccountView
from service.queries.freshness import freshness

LINES_PER_PAGE = 50
LINES_PER_FILE = 5_000
DAYS_SHOWN = 12
LOTS_SHOWN = 100

STATEMENT_COLUMNS = (
    PageColumn("occurred_at", "When", "time"),
    PageColumn("kind", "Change", "fact"),
    PageColumn("points", "Points", "signed"),
    PageColumn("balance", "Balance after", "points"),
    PageColumn("claimed", "Source claims", "points"),
    PageColumn("drift", "Drift", "signed"),
    PageColumn("reference", "Reference", "code"),
    PageColumn("position", "Event", "event", link_of("position")),
)
LAPSE_COLUMNS = (
    PageColumn("expires_on", "Last day", "day"),
    PageColumn("points", "Points", "points"),
    PageColumn("lots", "Lots", "number"),
)
LOT_COLUMNS = (
    PageColumn("id", "Lot", "short", lambda row: row["href"]),
    PageColumn("bar", "Fate of its points", "bar"),
    PageColumn("earned_at", "Earned", "time"),
    PageColumn("expires_on", "Last day", "day"),
    PageColumn("status", "Status"),
    PageColumn("points", "Points", "points"),
    PageColumn("remaining", "Left", "points"),
    PageColumn("redeemed", "Spent", "points"),
    PageColumn("sent", "Sent", "points"),
    PageColumn("expired", "Expired", "points"),
    PageColumn("returned", "Returned", "points"),
    PageColumn("origin", "Origin"),
    PageColumn("bill_number", "Bill", "code"),
    PageColumn("position", "Event", "event", link_of("position")),
)


async def show_account(request: web.Request) -> Page:
    """Return the page of an account: its figures, the course of its balance, its lapses and its statement."""
    name = request.match_info["id"]
    before = parse_int(request.query.get("before"), "before", least=0, most=2**31)
    async with open_query(request) as query:
        times = await parse_times(query, request)
        view = await load_account_to_show(query, name, times)
        lapses = lapses_of(view)
        days = await read_last_days(query, view)
        course = await read_balances(query, view, lapses)
        limit = LINES_PER_FILE if "format" in request.query else LINES_PER_PAGE
        statement = await read_statement(query, view, lapses, before, limit)
        fresh = await freshness(query, times)
    account = figures_of(view, lapses, days)
    values = {
        "account": account,
        "times": times,
        "chart": step_chart(course, view.at),
        "matters": open_matters(view),
        "fresh": fresh,
        "older": statement.older,
    }
    tables = (_statement_table(statement), _lapse_table(days))
    return Page("account.html", f"{account['unit']} of {account['customer']}", tables, values)


def _statement_table(statement: StatementPage) -> PageTable:
    return PageTable(
        "statement",
        "Statement, newest first",
        STATEMENT_COLUMNS,
        statement.lines,
        "The statement has no line up to this time: no event moved points of this account by then.",
        None if statement.older is None else str(statement.older),
        cursor_name="before",
    )


def _lapse_table(days: Sequence[LastDay]) -> PageTable:
    rows = [day._asdict() for day in days]
    empty = "No points lapse: the account holds none that have a last day."
    return PageTable("lapses", "Points by their last day", LAPSE_COLUMNS, rows, empty, shown=DAYS_SHOWN)


def open_matters(view: AccountView) -> list[str]:
    """Return sentences about the reasons to check the account before its figures are relied on."""
    row = view.row
    position = view.parked and view.parked["position"]
    matters = {
        "The balance differs from the source's claim.": bool(row["drift"]),
        "Events of this account never arrived.": bool(row["missing"]) and not row["drift"],
        "Earlier history was never reported.": row["incomplete"],
        "Reports about this account contradict each other.": row["contested"],
        "The source expired points before their last day.": bool(row["expired_early"]),
        f"The event at position {position} cannot be applied. The figures are those before it.": position is not None,
    }
    return [sentence for sentence, is_open in matters.items() if is_open]


async def show_lots(request: web.Request) -> Page:
    """Return the lots of an account, one bar a lot."""
    async with open_query(request) as query:
        times = await parse_times(query, request)
        view, lots = await read_lots(query, request.match_info["id"], times)
    shown = lots[:LOTS_MAX]
    largest = max((lot["points"] for lot in shown), default=Decimal(0))
    account_id = view.row["account_id"]
    stated = {name: value for name, value in request.query.items() if name in TIMES and value}
    rows = [
        {
            **lot,
            "bar": lot_bar(lot, largest),
            "href": console_href("explain", "accounts", account_id, lot=lot["id"], **stated),
        }
        for lot in shown
    ]
    note = (
        f"The list of lots has all of them. Here are {LOTS_MAX}: the open ones, then those with the latest days."
        if len(lots) > LOTS_MAX
        else ""
    )
    empty = "The account has no lot: it was never credited with points."
    table = PageTable(
        "lots",
        "Lots, open ones first, by their last day",
        LOT_COLUMNS,
        rows,
        empty,
        note=note,
        shown=LOTS_SHOWN,
        more=console_href("lists", "lots", account=account_id, **stated),
    )
    values = {"account": view.row, "times": times}
    return Page("lots.html", f"Lots of {account_id}", (table,), values)


ROUTES = [
    page("/accounts/{id}", show_account, "before", *TIMES),
    page("/accounts/{id}/lots", show_lots, *TIMES),
]
