"""The screen of a customer: the rows of every projection that names the customer, and the merges."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid, SubjectUnknown
from projections.registry import PROJECTIONS
from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.links import account_link, subject_link
from service.console.pages import Page
from service.console.tables import PageColumn, PageTable
from service.console.times import TIMES, parse_times
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.customers import find_survivor, load_customer
from service.queries.freshness import freshness
from service.queries.references import expand_reference
from service.queries.subjects import ROWS_MAX

PATH_OF_TABLE = {one.tables[0].name: one.path for one in PROJECTIONS}
SHOWN_ROWS = 100
COLUMNS_MAX = 9
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
# The columns that matter first, by table. Other tables show their first columns.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "tiers": ("programme", "tier", "tier_name", "since", "until", "reason", "previous", "renewals"),
    "coupons": ("code", "series", "status", "issued_at", "valid_until", "redeemed_count", "redemptions_left"),
    "order_items": ("order_id", "description", "status", "points_paid", "hold", "refund", "refund_due", "refunded"),
    "transfers": ("sender", "receiver", "status", "points", "initiated_at", "received_at"),
    "bills": ("number", "bill_type", "status", "amount", "store"),
}
HIDDEN = frozenset(("id", "customer", "previous_owners", "last_position", "ledger_id"))
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
    tables = [_accounts_table(rows_by_table.pop("accounts") or [])]
    tables += [_table(name, rows) for name, rows in rows_by_table.items() if rows and name != "customers"]
    values = {
        "customer": customer,
        "survivor": survivor,
        "side": {name: own[name] for name in SIDE} if own else {},
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


def _accounts_table(rows: Sequence[dict[str, Any]]) -> PageTable:
    empty = "This customer has no account up to this time: no event credited points by then."
    return PageTable("accounts", "Accounts", ACCOUNT_COLUMNS, rows[:ROWS_MAX], empty)


def _table(name: str, rows: Sequence[dict[str, Any]]) -> PageTable:
    """Return the customer's rows of one projection. The id leads to the explanation."""
    path = PATH_OF_TABLE[name]
    chosen = COLUMNS.get(name) or tuple(column for column in rows[0] if column not in HIDDEN)[:COLUMNS_MAX]
    link = (lambda row: subject_link(path, row["id"])) if path else None
    columns = [PageColumn("id", _title(name[:-1]), "code", link)]
    columns += [PageColumn(column, _title(column), "any") for column in chosen if column in rows[0]]
    note = f"Only the first {SHOWN_ROWS} are shown." if len(rows) > SHOWN_ROWS else ""
    return PageTable(name, _title(name), columns, rows[:SHOWN_ROWS], "There is none.", note=note)


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


ROUTES = [page("/customers/{id}", show_customer, *TIMES)]
