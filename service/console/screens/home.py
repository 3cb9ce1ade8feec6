"""The start page with the search, and the list of several hits."""

from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid, SubjectUnknown
from ledger.store.read import event_headers_after
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import open_query
from service.console.admission import action, page, see_other
from service.console.links import subject_link
from service.console.pages import Page, console_href
from service.console.screens.events import EVENT_COLUMNS, event_row
from service.console.tables import PageColumn, PageTable
from service.queries.freshness import freshness
from service.queries.search import IDENTIFIERS, SearchHit, is_personal_search, search

SEARCH_CHARACTERS_MAX = 300
RECENT_EVENTS = 10
HIT_COLUMNS = (
    PageColumn("id", "Object", "code", lambda row: subject_link(row["kind"], row["id"])),
    PageColumn("kind", "Kind"),
    PageColumn("found_by", "Found by"),
)
NOTHING_FOUND = (
    "Nothing in this ledger has this name: no customer, account, event, or other object. "
    "The search compares whole values, so parts of a name find nothing."
)


async def show_home(request: web.Request) -> Page:
    """Return the start page: the search, and the newest events."""
    async with open_query(request) as query:
        fresh = await freshness(query)
        tail = fresh["as_of_position"] + fresh["events_behind"]
        after = max(0, tail - RECENT_EVENTS)
        headers = await event_headers_after(query.connection, query.ledger.ledger_id, after, RECENT_EVENTS)
        ledger = query.ledger.name
    rows = [event_row(header) for header in reversed(headers)]
    empty = "This ledger is empty: no delivery has arrived yet."
    table = PageTable("events", "Newest events", EVENT_COLUMNS, rows, empty)
    return Page("home.html", f"Ledger {ledger}", (table,), {"fresh": fresh, "tail": tail})


async def find(request: web.Request, fields: dict[str, str]) -> web.StreamResponse | Page:
    """Search, and go to the one hit. The text comes in a form, so that no address holds a personal value."""
    text = fields.get("q", "").strip()
    if not text:
        return see_other(console_href())
    hits = await _search(request, text)
    only = _only_object(hits)
    if only is not None:
        return see_other(subject_link(only.kind, only.id))
    if is_personal_search(text) or any(hit.found_by in IDENTIFIERS for hit in hits):
        return _hits_page(hits, "")
    return see_other(console_href("search", q=text))


async def show_hits(request: web.Request) -> web.StreamResponse | Page:
    """Return the hits of a search for an id or a number, or go to the only one."""
    text = request.query.get("q", "").strip()
    if is_personal_search(text):
        raise RequestInvalid("search for personal values by the form, so that no address holds one")
    hits = await _search(request, text)
    only = _only_object(hits)
    if only is not None and "format" not in request.query:
        return see_other(subject_link(only.kind, only.id))
    return _hits_page(hits, text)


async def _search(request: web.Request, text: str) -> list[SearchHit]:
    if len(text) > SEARCH_CHARACTERS_MAX:
        raise RequestInvalid(f"a search has at most {SEARCH_CHARACTERS_MAX} characters")
    async with open_query(request) as query:
        try:
            return await search(query, request.app[APP_CONTEXT].vault, text) if text else []
        except SubjectUnknown:
            return []


def _only_object(hits: list[SearchHit]) -> SearchHit | None:
    """Return the hit that a search leads to: the only one, or one customer found together with its accounts."""
    customers = [hit for hit in hits if hit.kind == "customer"]
    if len(customers) == 1 and all(hit.kind in ("customer", "account") for hit in hits):
        return customers[0]
    return hits[0] if len(hits) == 1 else None


def _hits_page(hits: list[SearchHit], text: str) -> Page:
    rows: list[dict[str, Any]] = [hit._asdict() for hit in hits]
    table = PageTable("hits", "Objects found", HIT_COLUMNS, rows, NOTHING_FOUND)
    return Page("hits.html", "Search", (table,), {"text": text}, status=200 if hits else 404)


ROUTES = [
    page("", show_home),
    page("/search", show_hits, "q"),
    action("/search", find),
]
