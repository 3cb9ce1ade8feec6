"""The statement for a customer: one sentence a line in words of the customer, made to be printed and sent."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from aiohttp import web

from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.pages import Page
from service.console.sentences import line_for_customer
from service.console.tables import PageColumn, PageTable
from service.console.times import TIMES, parse_times
from service.parameters import parse_int
from service.queries.account_overview import (
    figures_of,
    lapses_of,
    load_account_to_show,
    read_last_days,
    read_statement,
)

LINES_PER_PAGE = 200
COLUMNS = (
    PageColumn("day", "Day", "day"),
    PageColumn("text", "What happened"),
    PageColumn("points", "Points", "signed"),
    PageColumn("balance", "Balance", "points"),
)


async def show_customer_statement(request: web.Request) -> Page:
    """Return the statement for the customer, newest line first. Lines that moved no points are left out."""
    before = parse_int(request.query.get("before"), "before", least=0, most=2**31)
    async with open_query(request) as query:
        times = await parse_times(query, request)
        view = await load_account_to_show(query, request.match_info["id"], times)
        lapses = lapses_of(view)
        days = await read_last_days(query, view)
        statement = await read_statement(query, view, lapses, before, LINES_PER_PAGE)
    account = figures_of(view, lapses, days)
    rows = [_row(line) for line in statement.lines if line["points"]]
    older = None if statement.older is None else str(statement.older)
    table = PageTable(
        "lines", "Movements, newest first", COLUMNS, rows, "No points have moved yet.", older, cursor_name="before"
    )
    values = {"account": account, "times": times, "older": statement.older, "first_page": before is None}
    return Page("customer_statement.html", "Statement of points", (table,), values)


def _row(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line in words of the customer. A lapse is dated by its last day, not by the midnight after it."""
    at = line["occurred_at"] - timedelta(microseconds=1) if line["kind"] == "Lapsed" else line["occurred_at"]
    return {"day": at.date(), "text": line_for_customer(line), "points": line["points"], "balance": line["balance"]}


ROUTES = [page("/accounts/{id}/statement", show_customer_statement, "before", *TIMES)]
