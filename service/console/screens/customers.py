"""The screen of a customer: the rows of every projection that names the customer, and the merges."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid, SubjectUnknown
from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.links import account_link
from service.console.pages import Page, console_href
from service.console.row_columns import PROJECTION_OF_TABLE, column_title, row_table_columns
from service.console.tables import PageColumn, PageTable
from service.console.times import TIMES, parse_times, stated_times
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.customers import find_survivor, load_customer
from service.queries.freshness import freshness
from service.queries.listing.list_catalogue import LISTS
from service.queries.references import expand_reference
from service.queries.subjects import ROWS_MAX

SHOWN_ROWS = 6
LATEST_EVENTS = 8
LISTED = frozenset(one.path for one in LISTS)
ACCOUNT_COLUMNS = (
    PageColumn("id", "Account", "code", lambda row: account_link(row["id"])),
    PageColumn("programme", "Programme", "code"),
    PageColumn("unit", "Unit"),
    PageColumn("available", "Available", "points"),
    PageColumn("promised", "Promised", "points"),
    PageColumn("claimed", "Source claims", "points"),
    PageColumn("drift", "Drift", "signed"),
    PageColumn("last_at", "Last event", "time"),
)
# The tables that people look for first.
FIRST = ("tiers", "coupons", "order_items", "transfers", "reward_redemptions", "badges", "bills")
SIDE = ("status", "loyalty_type", "source", "joined_at", "store", "identifiers", "subscriptions", "erased_at")


async def show_customer(request: web.Request) -> Page:
    """Return the page of a customer. A bare id of several customers leads to a list."""
    name = request.match_info["id"]
    async with open_query(request) as query:
        times = await parse_times(query, request)
        found = await _find(query, name, times)
        if len(found) > 1:
            raise RequestInvalid(f"{name} is ambiguous; it matches {', '.join(list(found)[:5])}")
        [(customer, rows_by_table)] = found.items()
        survivor = await find_survivor(query, customer, times)
        fresh = await freshness(query, times)
    own = next((row for row in rows_by_table.get("customers") or () if row["id"] == customer), None)
    tables = [_accounts_table(rows_by_table.get("accounts") or [])]
    names = sorted(rows_by_table, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    for table in names:
        rows = rows_by_table[table]
        if rows and table not in ("accounts", "customers"):
            tables.append(_table(table, rows, customer, stated_times(request)))
    values = {
        "customer": customer,
        "survivor": survivor,
        "side": {name: own[name] for name in SIDE} if own else {},
        "recent": _latest_positions(rows_by_table),
        "merged_from": own["merged_from"] if own else [],
        "late": [name for name, rows in rows_by_table.items() if rows is None],
        "times": times,
        "fresh": fresh,
    }
    return Page("customer.html", f"Customer {customer}", tables, values)


async def _find(query: QueryContext, name: str, times: AsOfQuery) -> dict[str, dict[str, list[dict[str, Any]] | None]]:
    """Return the rows of each customer that a name may mean. Raises SubjectUnknown if there is none."""
    found = {}
    for reference in await expand_reference(query, name):
        rows_by_table = await load_customer(query, reference, times)
        if any(rows_by_table.values()):
            found[reference] = rows_by_table
    if not found:
        raise SubjectUnknown(name, "no event named this customer up to this time")
    return found


def _latest_positions(rows_by_table: Mapping[str, list[dict[str, Any]] | None]) -> list[int]:
    """Return the positions of the customer's latest events, newest first."""
    positions = {row.get("last_position") for rows in rows_by_table.values() for row in rows or ()}
    return sorted((position for position in positions if position), reverse=True)[:LATEST_EVENTS]


def _accounts_table(rows: Sequence[dict[str, Any]]) -> PageTable:
    empty = "This customer has no account up to this time: no event credited points by then."
    return PageTable("accounts", "Accounts", ACCOUNT_COLUMNS, rows[:ROWS_MAX], empty)


def _table(name: str, rows: Sequence[dict[str, Any]], customer: str, stated: Mapping[str, str]) -> PageTable:
    """Return the customer's rows of one projection. The id leads to the explanation."""
    columns = row_table_columns(name, rows[0], without="customer")
    path = PROJECTION_OF_TABLE[name].path
    more = console_href("lists", path, customer=customer, **stated) if path in LISTED else None
    return PageTable(name, column_title(name), columns, rows, "There is none.", shown=SHOWN_ROWS, more=more)


ROUTES = [page("/customers/{id}", show_customer, *TIMES)]
