"""The screens of accounting periods: the months, one month with its figures, and the close or reopening of a month."""

from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid
from ledger.store.read import tail
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import await_rows, open_query
from service.console.admission import action, page, see_other
from service.console.authors import parse_author, parse_reason, record_action, signature
from service.console.confirmation import Action, Effects, confirmation_page, is_confirmed
from service.console.formats import format_points
from service.console.headlines import Figure
from service.console.links import account_link, link_of
from service.console.pages import Page, console_href
from service.console.screens.finance import PERIOD_COLUMNS, PERIODS_MAX, roll_forward_columns
from service.console.tables import PageColumn, PageTable
from service.finance.period_close import plan_close, plan_reopening
from service.finance.period_report import PERIODS, period_json
from service.finance.requests import parse_period
from service.operations.preview import preview_operation
from service.operations.record import record_plan

ADDRESS = console_href("finance", "periods")
PLANS: dict[str, Any] = {"close": plan_close, "reopen": plan_reopening}
WORDS = {
    "close": ("Close", "Its figures are fixed as they are known now. Later reports become prior-period items."),
    "reopen": ("Reopen", "Its figures change again with later reports. The close stays in the ledger."),
}
ITEM_COLUMNS = (
    PageColumn("account", "Account", "code", lambda row: account_link(row["account"])),
    PageColumn("programme", "Programme", "code"),
    PageColumn("unit", "Unit"),
    PageColumn("points", "Points", "signed"),
    PageColumn("first_position", "First event", "event", link_of("first_position")),
)


async def show_periods(request: web.Request) -> Page:
    """Return the months that were ever closed, and the forms that close and reopen one."""
    async with open_query(request) as query:
        rows = await query.connection.fetch(PERIODS, query.ledger.ledger_id, "", PERIODS_MAX)
    periods = [dict(row) for row in rows]
    closed = [row["period"] for row in periods if row["status"] == "closed"]
    table = PageTable("periods", "Accounting periods", PERIOD_COLUMNS, periods, "No month was closed yet.")
    return Page("periods.html", "Accounting periods", (table,), {"last_closed": closed[-1] if closed else None})


async def show_period(request: web.Request) -> Page:
    """Return the figures of one month, and the items that were reported late."""
    period = parse_period(request.match_info["period"])
    async with open_query(request, heavy=True) as query:
        report = await period_json(query, period)
    totals, items = report["totals"], report["prior_period_items"]
    columns = roll_forward_columns(totals)
    late = "No points of an earlier closed month were reported in this month."
    later = "No points of this month were reported since its close." if report["status"] == "closed" else ""
    tables = (
        PageTable("totals", "Figures of the month", columns, totals, "No points were outstanding in this month."),
        PageTable("prior", "Prior-period items", ITEM_COLUMNS, items, late),
        PageTable(
            "later",
            "Reported since the close",
            ITEM_COLUMNS,
            report["later_items"],
            later or "The month is open.",
        ),
    )
    return Page("period.html", f"Month {period}", tables, {"report": report, "period": period})


async def change_period(request: web.Request, fields: dict[str, str]) -> web.StreamResponse | Page:
    """Show the dry run of a close or a reopening, or record it if the form confirms the dry run."""
    what = fields.get("do", "")
    if what not in PLANS:
        raise RequestInvalid("choose whether to close or to reopen the month")
    author = parse_author(request, fields)
    period, reason = parse_period(fields.get("period", "")), parse_reason(fields)
    context = request.app[APP_CONTEXT]
    word, consequence = WORDS[what]
    async with open_query(request, "admin", heavy=True) as query:
        await await_rows(query, request, await tail(query.connection, query.ledger.ledger_id))
        plan_of = (query.connection, context.vault, query.ledger, period)
        by = signature(author)
        await preview_operation(  # raises if the month cannot change
            query.connection, query.ledger.ledger_id, PLANS[what](*plan_of, by=by), with_liability=False
        )
        effects = Effects((f"{word} the month {period}. {consequence}",), await _totals(query, period), ())
        if not is_confirmed(fields, effects):
            action_shown = Action(f"{word} {period}", f"{word} {period}", ADDRESS, ADDRESS)
            return confirmation_page(action_shown, effects, fields)
        await record_action(request, query, f"{what} of month {period}", author.author, reason=reason)
        changed = await record_plan(query.connection, context.vault, query.ledger, await PLANS[what](*plan_of, by=by))
        context.progress.notify_appended()
    return see_other(console_href("finance", "periods", min_position=changed.position))


async def _totals(query: Any, period: str) -> list[Figure]:
    """Return the closing balance of each programme in the month."""
    report = await period_json(query, period)
    return [
        Figure(f"Closing, {total['programme']} {total['unit']}", format_points(total["closing"]))
        for total in report["totals"]
    ]


ROUTES = [
    page("/finance/periods", show_periods),
    page("/finance/periods/{period}", show_period),
    action("/finance/periods", change_period, "admin"),
]
