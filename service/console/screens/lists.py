"""The screens of lists: all coupons, tiers, order items and so on, with the filters of the API's lists."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid
from projections.tables import description_of
from service.api.lists import ask_list, choose_order, encode_key, filter_parameter, parse_key
from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.pages import Page, console_href
from service.console.row_columns import column_title, row_table_columns
from service.console.tables import PageColumn, PageTable
from service.console.times import TIMES, parse_times, stated_times, with_zone
from service.formatting import decode_cursor
from service.queries.freshness import freshness
from service.queries.listing.filters import Filter, ListOrder
from service.queries.listing.list_catalogue import LISTS
from service.queries.listing.lists import RowList
from service.queries.listing.past_lists import read_list_page

ROWS_PER_PAGE = 50
ROWS_PER_FILE = 1_000
BY_PATH: Mapping[str, RowList] = {one.path: one for one in LISTS}
FILTERS = tuple(sorted({one.name for row_list in LISTS for one in row_list.filters}))
SORTED_COLUMNS = {"id": "id", "available": "available", "changed": "last_at"}  # by the name of the order
# Views of a list with a filter, beside the lists themselves.
VIEWS = (
    ("Merges", "customers", {"merged": "true"}, "Customers that were merged into another one"),
    ("Items with a refund due", "order-items", {"refund": "due"}, "Order items that failed and were not refunded"),
    ("Transfers under way", "transfers", {"status": "initiated"}, "Transfers whose second half has not arrived"),
    ("Accounts with a drift", "accounts", {"drift": "true"}, "Accounts that differ from the source's claim"),
)
INDEX_COLUMNS = (
    PageColumn("title", "List", "any", lambda row: row["href"]),
    PageColumn("sentence", "Contents", "prose"),
)


async def show_index(_request: web.Request) -> Page:
    """Return the names of all lists."""
    rows = [
        {"title": column_title(one.table.name), "sentence": description_of(one.table.row), "href": list_href(one.path)}
        for one in LISTS
    ]
    views = [{"title": title, "sentence": text, "href": list_href(path, **of)} for title, path, of, text in VIEWS]
    tables = (
        PageTable("lists", "Lists", INDEX_COLUMNS, rows, "There is no list."),
        PageTable("views", "Often wanted", INDEX_COLUMNS, views, "There is no view."),
    )
    return Page("lists.html", "Lists", tables)


def list_href(path: str, **filters: str) -> str:
    """Return the address of a list with filters."""
    return console_href("lists", path, **filters)


async def show_list(request: web.Request) -> Page:
    """Return the rows of one list that match the filters, as of the times. A file holds up to ROWS_PER_FILE of them."""
    row_list = BY_PATH.get(request.match_info["list"])
    if row_list is None:
        raise web.HTTPNotFound
    values = _parse_filters(request, row_list)
    is_past = bool(stated_times(request))
    wanted = request.query.get("sort") or None
    if wanted not in (None, *(one.name for one in row_list.orders)):
        raise RequestInvalid(f"`sort` must be one of {', '.join(one.name for one in row_list.orders)}")
    order = choose_order(row_list, values, None if is_past else wanted, past=is_past)
    after = parse_key(order, decode_cursor(request.query.get("cursor")))
    limit = ROWS_PER_FILE if "format" in request.query else ROWS_PER_PAGE
    async with open_query(request, heavy=is_past) as query:
        times = await parse_times(query, request)
        asked = await ask_list(query, row_list, values, order, times)
        found = await read_list_page(query, row_list, asked, after, limit)
        fresh = await freshness(query, times)
    following = None if found.following is None else encode_key(order, found.following)
    name = row_list.table.name
    columns = row_table_columns(name, found.items[0] if found.items else ())
    if not is_past and len(row_list.orders) > 1:
        columns = [_sortable(column, row_list, order, request) for column in columns]
    table = PageTable(name, column_title(name), columns, found.items, _nothing(row_list, values), following)
    fields = [_field(one, request) for one in row_list.filters]
    sentence = description_of(row_list.table.row)
    contents = {
        "fields": fields,
        "following": following,
        "fresh": fresh,
        "sentence": sentence,
        "list": row_list.path,
        "filtered": bool(values) or is_past,
    }
    return Page("list.html", column_title(name), (table,), contents)


def _sortable(column: PageColumn, row_list: RowList, order: ListOrder, request: web.Request) -> PageColumn:
    """Return a column whose title leads to the rows in its order, if the list has that order."""
    name = next((one.name for one in row_list.orders if SORTED_COLUMNS.get(one.name) == column.name), None)
    if name is None:
        return column
    query = {key: value for key, value in request.query.items() if value and key not in ("sort", "cursor", "format")}
    href = console_href("lists", row_list.path, **query, sort=name)
    return column._replace(sort_href=href, sorted="ascending" if order.name == name else None)


def _parse_filters(request: web.Request, row_list: RowList) -> dict[str, Any]:
    """Parse the filters. Empty fields of the form filter nothing. Raises RequestInvalid."""
    values = {}
    for one in row_list.filters:
        given = request.query.get(one.name, "").strip()
        if given:
            text = with_zone(given) if one.kind == "time" else given
            values[one.name] = filter_parameter(one).parse(text, one.name)
    return values


def _field(one: Filter, request: web.Request) -> dict[str, str]:
    """Return the field of the form for a filter."""
    return {
        "name": one.name,
        "title": column_title(one.name),
        "kind": one.kind,
        "about": one.description,
        "value": request.query.get(one.name, ""),
    }


def _nothing(row_list: RowList, values: Mapping[str, Any]) -> str:
    things = row_list.table.name.replace("_", " ")
    if values:
        stated = ", ".join(f"{name.replace('_', ' ')} “{value}”" for name, value in values.items())
        return f"None of the {things} matches {stated}."
    return f"This ledger has no {things}: no event reported any."


ROUTES = [
    page("/lists", show_index),
    page("/lists/{list}", show_list, "cursor", "sort", *FILTERS, *TIMES),
]
