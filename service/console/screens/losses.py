"""The screen that answers "where have my points gone?": each loss in a sentence, with lots, event and proof."""

from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid
from ledger.transparency import tree_heads
from ledger.vendors.fields import as_points
from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.links import link_of
from service.console.pages import Page
from service.console.sentences import losses_of, points_of_lots
from service.console.tables import PageColumn, PageTable
from service.console.times import TIMES, parse_times
from service.parameters import parse_int
from service.queries.account_overview import lapses_of, load_account_to_show, lots_by_id, read_statement
from service.queries.accounts import account_json

LOSSES_PER_PAGE = 50

COLUMNS = (
    PageColumn("occurred_at", "When", "time"),
    PageColumn("sentence", "What happened"),
    PageColumn("points", "Points", "signed"),
    PageColumn("balance", "Balance after", "points"),
    PageColumn("lots", "Lots", "list"),
    PageColumn("reference", "Reference", "code"),
    PageColumn("position", "Event", "event", link_of("position")),
)


async def show_losses(request: web.Request) -> Page:
    """Return the losses of an account, newest first. `points` selects losses of that size."""
    before = parse_int(request.query.get("before"), "before", least=0, most=2**31)
    async with open_query(request) as query:
        times = await parse_times(query, request)
        view = await load_account_to_show(query, request.match_info["id"], times)
        lapses = lapses_of(view)
        statement = await read_statement(query, view, lapses, before, LOSSES_PER_PAGE, falls=True)
        ids = sorted({lot for line in statement.lines for lot in points_of_lots(line)})
        lots = await lots_by_id(query, view, ids)
        signed = await tree_heads.latest_checkpoint(query.connection, query.ledger.ledger_id)
    size = _wanted_points(request)
    losses = [loss for loss in losses_of(statement.lines, lots) if size is None or -loss.line["points"] == size]
    rows = [{**loss.line, "sentence": loss.sentence, "lots": [one.lot_id for one in loss.lots]} for loss in losses]
    account = account_json(view, lapses)
    empty = (
        "No points have left this account up to this time."
        if size is None
        else "No single loss has this size. Leave the field empty to see all losses."
    )
    older = None if statement.older is None else str(statement.older)
    table = PageTable("losses", "Losses, newest first", COLUMNS, rows, empty, older, cursor_name="before")
    values: dict[str, Any] = {
        "account": account,
        "losses": losses,
        "times": times,
        "older": statement.older,
        "sealed": 0 if signed is None else signed.size,
    }
    return Page("losses.html", "Where have the points gone?", (table,), values)


def _wanted_points(request: web.Request) -> Any:
    text = request.query.get("points", "").strip()
    if not text:
        return None
    try:
        return abs(as_points(text))
    except ValueError as error:
        raise RequestInvalid(f"`points` must be a number: {error}") from None


ROUTES = [page("/accounts/{id}/losses", show_losses, "before", "points", *TIMES)]
