"""The reconciliation inbox: lists of open matters with their points at stake, and the matters of each list."""

from datetime import date
from typing import Any

from aiohttp import web

from ledger import clock
from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.links import account_link, link_of
from service.console.pages import Page, console_href
from service.console.tables import PageColumn, PageTable
from service.console.times import with_zone
from service.formatting import decode_cursor, encode_cursor, invalid_cursor
from service.parameters import parse_time
from service.queries.freshness import freshness
from service.reconciliation import catalogue
from service.reconciliation.formats import item_json
from service.reconciliation.lists import ListQuery, OpenList

ITEMS_PER_PAGE = 50
ITEMS_PER_FILE = 1_000
DETAILS_SHOWN = 2  # files hold all of them
LIST_COLUMNS = (
    PageColumn("title", "List", "any", lambda row: console_href("reconciliation", row["name"])),
    PageColumn("sentence", "Open matters", "prose"),
    PageColumn("open_count", "Number", "number"),
    PageColumn("points", "Points at stake", "any"),
)
ITEM_COLUMNS = (
    PageColumn("id", "About", "code", lambda row: item_link(row["id"])),
    PageColumn("points", "Points", "signed"),
    PageColumn("unit", "Unit"),
    PageColumn("since", "Since", "time"),
    PageColumn("days", "Days", "number"),
    PageColumn("cause", "Cause", "prose"),
    PageColumn("position", "Event", "event", link_of("position")),
)


def item_link(identifier: str) -> str:
    """Return the page of an object by its id."""
    is_account = identifier.count(":") == 4
    return account_link(identifier) if is_account else console_href("search", q=identifier)


async def show_inbox(request: web.Request) -> Page:
    """Return the number of open matters of each list, and the points at stake."""
    at = parse_time(with_zone(request.query.get("at") or None), "at") or clock.now()
    async with open_query(request, heavy=True) as query:
        totals = await catalogue.count_lists(query.connection, query.ledger.ledger_id, at, None)
        fresh = await freshness(query)
    rows = [
        {
            **total,
            "title": total["name"].replace("-", " ").capitalize(),
            "sentence": total["title"],
            "points": total["points"] or None,
        }
        for total in catalogue.totals_json(totals)
    ]
    rows.sort(key=lambda row: not row["open_count"])
    table = PageTable("lists", "Lists of open matters", LIST_COLUMNS, rows, "There is no list.")
    values = {"open": sum(total.items for total in totals.values()), "fresh": fresh}
    return Page("inbox.html", "Reconciliation", (table,), values)


async def show_list(request: web.Request) -> Page:
    """Return one list of open matters, each with its cause."""
    open_list = catalogue.LISTS.get(request.match_info["list"])
    if open_list is None:
        raise web.HTTPNotFound
    at = parse_time(with_zone(request.query.get("at") or None), "at") or clock.now()
    try:
        after = open_list.key_of(decode_cursor(request.query.get("cursor")))
    except ValueError:
        raise invalid_cursor() from None
    async with open_query(request) as query:
        opened_by = catalogue.latest_start(open_list, at, None)
        limit = ITEMS_PER_FILE if "format" in request.query else ITEMS_PER_PAGE
        list_query = ListQuery(query.ledger.ledger_id, at, opened_by, limit, after)
        items, next_key = await open_list.read(query.connection, list_query)
    rows = []
    for item in items:
        row = item_json(item, at)
        rows.append({**row, "days": None if row["age_seconds"] is None else row["age_seconds"] // 86_400})
    following = None if next_key is None else encode_cursor(*(_cursor_part(part) for part in next_key))
    empty = f"Nothing is open here at {at:%Y-%m-%d %H:%M} UTC{_grace(open_list)}."
    table = PageTable("items", "Open matters", _columns(open_list), rows, empty, following)
    values = {"sentence": open_list.title, "following": following, "grace": _grace(open_list)}
    return Page("open_list.html", open_list.name.replace("-", " ").capitalize(), (table,), values)


def _columns(open_list: OpenList) -> list[PageColumn]:
    """Return the columns of every list, followed by the details of this one."""
    known = {column.name for column in ITEM_COLUMNS}
    details = [_detail_column(name) for name in open_list.columns if name not in known]
    shown = [column for column in details if column.kind != "file"][:DETAILS_SHOWN]
    return [*ITEM_COLUMNS, *(column if column in shown else column._replace(kind="file") for column in details)]


def _detail_column(name: str) -> PageColumn:
    """Return the column of a detail. An account's id names customer and programme, so only files repeat them."""
    return PageColumn(name, name.replace("_", " ").capitalize(), "file" if name in ("customer", "programme") else "any")


def _grace(open_list: OpenList) -> str:
    hours = int(open_list.grace.total_seconds() // 3600)
    return f", beyond the {hours} hours that a matter may take" if hours else ""


def _cursor_part(part: Any) -> Any:
    return part.isoformat() if isinstance(part, date) else part


ROUTES = [
    page("/reconciliation", show_inbox, "at"),
    page("/reconciliation/{list}", show_list, "at", "cursor"),
]
