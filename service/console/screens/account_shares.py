"""The screens that lead from a figure of finance to the accounts behind it."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid
from projections.accounts.classes import AccountClass
from projections.queries.roll_forward import RollForwardQuery
from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.links import account_link
from service.console.pages import Page
from service.console.row_columns import column_title
from service.console.tables import PageColumn, PageTable
from service.console.times import TIMES, parse_times
from service.finance.account_shares import FIGURES, SHARES_MAX, Shares, shares_of_class, shares_of_roll_forward
from service.finance.periods import closed_periods, split_by_closing
from service.finance.requests import parse_roll_forward
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext

ROWS_SHOWN = 100
ACCOUNT_COLUMN = PageColumn("account", "Account", "code", lambda row: account_link(row["account"]))
FILTERS = ("from", "to", "programme", "unit", "vintage")


async def show_roll_forward_accounts(request: web.Request) -> Page:
    """Return the accounts behind one figure of a roll-forward, those with the largest share first."""
    figure = request.query.get("figure", "closing")
    if figure not in FIGURES:
        raise RequestInvalid(f"`figure` must be one of {', '.join(FIGURES)}")
    given = {name: request.query[name].strip() for name in FILTERS if request.query.get(name, "").strip()}
    async with open_query(request, heavy=True) as query:
        times = await parse_times(query, request)
        wanted = await parse_roll_forward(query, given, times)
        position = await _position(query, wanted, times)
        shares = await shares_of_roll_forward(query.connection, query.ledger.ledger_id, wanted, figure, position)
    shown = [name for name in FIGURES if any(one.figures[name] for one in shares.largest)]
    columns = [ACCOUNT_COLUMN, *(PageColumn(name, column_title(name), "points") for name in shown)]
    rows = [{"account": one.account, **one.figures} for one in shares.largest]
    what = f"{column_title(figure)} of {wanted.programme or 'all programmes'}, {wanted.first} to {wanted.last}"
    return _page(request, shares, columns, rows, what)


async def _position(query: QueryContext, wanted: RollForwardQuery, times: AsOfQuery) -> int | None:
    """Return the position at which the days are known: for days of one closed month, that of its close."""
    if times.position is not None:
        return times.position
    segments = split_by_closing(wanted, await closed_periods(query.connection, query.ledger.ledger_id), None)
    return segments[0][2] if len(segments) == 1 else None


async def show_class_accounts(request: web.Request) -> Page:
    """Return the accounts behind the sum of one class in the trial balance."""
    given = request.query
    name = given.get("class", "")
    if name not in set(AccountClass):
        raise RequestInvalid("`class` must be a class of the trial balance")
    async with open_query(request, heavy=True) as query:
        times = await parse_times(query, request)
        shares = await shares_of_class(
            query.connection, query.ledger.ledger_id, given.get("programme", ""), given.get("unit", ""), name,
            times.at, times.position,
        )  # fmt: skip
    columns = (ACCOUNT_COLUMN, PageColumn("points", "Points", "signed"))
    rows = [{"account": one.account, "points": one.points} for one in shares.largest]
    what = f"Class “{name}” of {given.get('programme', '')}, {times.at:%Y-%m-%d %H:%M}"
    return _page(request, shares, columns, rows, what)


def _page(
    request: web.Request, shares: Shares, columns: Sequence[PageColumn], rows: list[dict[str, Any]], what: str
) -> Page:
    cut = f"The {SHARES_MAX:,} accounts with the largest shares are shown." if shares.accounts > SHARES_MAX else ""
    empty = "No account has a share: the figure is 0."
    table = PageTable("accounts", "Accounts, largest share first", columns, rows, empty, note=cut, shown=ROWS_SHOWN)
    values = {"shares": shares, "what": what, "is_class": "class" in request.query}
    return Page("account_shares.html", "Accounts behind a figure", (table,), values)


ROUTES = [
    page("/finance/accounts", show_roll_forward_accounts, "figure", *FILTERS, *TIMES),
    page("/finance/trial-balance/accounts", show_class_accounts, "programme", "unit", "class", *TIMES),
]
