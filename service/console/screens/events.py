"""The screens of events: the ledger browser, and one event with payload, facts and proof."""

from typing import Any

import orjson
from aiohttp import web

from ledger.errors import PositionUnknown
from ledger.store.read import EventHeader, event_at, event_headers_after, tail
from projections.registry import BY_SUBJECT
from service.api.ledger.events import encode_interpretation
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import open_query
from service.api.transparency.proofs import prove_event
from service.console.admission import action, page
from service.console.authors import parse_name, parse_reason, record_action
from service.console.links import event_link, subject_link
from service.console.pages import Page
from service.console.proofs import ProofBadge, proof_badge
from service.console.tables import PageColumn, PageTable
from service.console.times import with_zone
from service.console.visitors import VISITOR
from service.parameters import parse_flag, parse_int, parse_time
from service.queries.freshness import freshness

EVENTS_PER_PAGE = 50
POSITION_MAX = 2**53
INDENTED_BYTES_MAX = 64 * 1024  # larger payloads are shown as they are

EVENT_COLUMNS = (
    PageColumn("position", "Position", "event", lambda row: event_link(row["position"])),
    PageColumn("recorded_at", "Recorded", "time"),
    PageColumn("occurred_at", "Occurred", "time"),
    PageColumn("source", "Source"),
    PageColumn("kind", "Kind", "code"),
    PageColumn("org", "Organisation", "code"),
    PageColumn("conflict", "Conflict", "flag"),
)
FACT_COLUMNS = (
    PageColumn("fact", "Fact", "code"),
    PageColumn("subject", "About", "code", lambda row: row["href"]),
    PageColumn("occurred_at", "Occurred", "time"),
    PageColumn("fields", "Values"),
)


def event_row(header: EventHeader) -> dict[str, Any]:
    """Return the row of an event in a list."""
    return {
        "position": header.position,
        "recorded_at": header.recorded_at,
        "occurred_at": header.occurred_at,
        "source": header.source,
        "kind": header.kind,
        "org": header.org,
        "conflict": len(header.event_key) > 16,
    }


async def show_ledger(request: web.Request) -> Page:
    """Return the events of the ledger in order of position, after `after`, with filters. The default is the newest."""
    given = request.query
    filters = {name: given.get(name, "").strip() or None for name in ("kind", "source", "since", "until")}
    since, until = (parse_time(with_zone(filters[name]), name) for name in ("since", "until"))
    async with open_query(request) as query:
        fresh = await freshness(query)
        last = fresh["as_of_position"] + fresh["events_behind"]
        after = parse_int(given.get("after") or None, "after", least=0, most=POSITION_MAX)
        if after is None:
            after = 0 if any(filters.values()) else max(0, last - EVENTS_PER_PAGE)
        headers = await event_headers_after(
            query.connection, query.ledger.ledger_id, after, EVENTS_PER_PAGE,
            kind=filters["kind"], source=filters["source"], since=since, until=until,
        )  # fmt: skip
    live = parse_flag(given.get("live"), "live")
    rows = [event_row(header) for header in (reversed(headers) if live else headers)]
    following = headers[-1].position if len(headers) == EVENTS_PER_PAGE and headers[-1].position < last else None
    empty = (
        "No event after this position matches the filters."
        if any(filters.values()) or after
        else "This ledger is empty: no delivery has arrived yet."
    )
    table = PageTable("events", "Events", EVENT_COLUMNS, rows, empty, None if following is None else str(following))
    values = {
        "live": live,
        "following": None if live else following,
        "after": after,
        "last": last,
        "earlier": max(0, after - EVENTS_PER_PAGE),
    }
    return Page("ledger.html", "Ledger", (table,), values)


async def show_event(request: web.Request) -> Page:
    """Return one event: payload beside facts, the objects that it changed, and the state of its proof."""
    return await _event_page(request)


async def _event_page(request: web.Request, **more: Any) -> Page:
    position = _position(request)
    async with open_query(request) as query:
        connection, ledger_id = query.connection, query.ledger.ledger_id
        headers = await event_headers_after(connection, ledger_id, position - 1, 1)
        if not headers or headers[0].position != position:
            raise PositionUnknown(position)
        event = await event_at(connection, ledger_id, position)
        encoded = await request.app[APP_CONTEXT].large_bodies.work_on(
            ledger_id, event.payload, encode_interpretation, event
        )
        badge: ProofBadge = await proof_badge(query, position)
        last = await tail(connection, ledger_id)
    facts = [
        {**fact, "href": _fact_link(fact), "occurred_at": parse_time(fact["occurred_at"], "occurred_at")}
        for fact in orjson.loads(encoded["facts"])
    ]
    empty = "This event gives no fact, so it changes no figure."
    table = PageTable("facts", "Facts", FACT_COLUMNS, facts, empty)
    values = {
        "header": headers[0],
        "row": event_row(headers[0]),
        "payload": _indented(encoded["payload"]),
        "unread": orjson.loads(encoded["unread"]),
        "reason": orjson.loads(encoded["reason"]),
        "repairs": orjson.loads(encoded["repairs"]),
        "badge": badge,
        "last": last,
        "may_reveal": "reveal" in request[VISITOR].access.scopes or "admin" in request[VISITOR].access.scopes,
        "revealed": None,
        **more,
    }
    return Page("event.html", f"Event {position}", (table,), values)


def _fact_link(fact: dict[str, Any]) -> str | None:
    kind = fact["subject_kind"]
    projection = BY_SUBJECT.get(kind)
    if kind == "account":
        return subject_link("customers", fact["subject"]) if fact["subject"].count(":") == 2 else None
    if projection is None or not (projection.path or kind == "customer"):
        return None
    return subject_link(projection.path or kind, fact["subject"])


def _indented(payload: bytes) -> str:
    """Return a payload with indentation. Numbers of any size stay as they are, because only blanks are added."""
    if len(payload) > INDENTED_BYTES_MAX:
        return payload.decode("utf-8", "replace")
    depth, within, escaped, text = 0, False, False, []
    for letter in payload.decode("utf-8", "replace"):
        text.append(letter)
        if within:
            within, escaped = escaped or letter != '"', letter == "\\" and not escaped
        elif letter == '"':
            within = True
        elif letter in "{[":
            depth += 1
            text.append("\n" + "  " * depth)
        elif letter in "}]":
            depth -= 1
            text.insert(-1, "\n" + "  " * depth)
        elif letter.isspace():
            text.pop()
        elif letter == ",":
            text.append("\n" + "  " * depth)
        elif letter == ":":
            text.append(" ")
    return "".join(text)


async def reveal_event(request: web.Request, fields: dict[str, str]) -> Page:
    """Show the delivered bytes of an event, after the look was recorded with its reason and the person's name."""
    position, reason, name = _position(request), parse_reason(fields), parse_name(request, fields)
    async with open_query(request, "reveal") as query:
        connection, ledger_id = query.connection, query.ledger.ledger_id
        event = await event_at(connection, ledger_id, position)
        await record_action(request, query, f"event {position}", name, reason=reason)
        delivered = await request.app[APP_CONTEXT].vault.reveal(connection, ledger_id, position, event.payload)
    return await _event_page(request, revealed=delivered.decode("utf-8", "replace"), reason=reason)


def _position(request: web.Request) -> int:
    position = parse_int(request.match_info["position"], "position", least=1, most=POSITION_MAX)
    assert position is not None
    return position


ROUTES = [
    page("/ledger", show_ledger, "after", "kind", "source", "since", "until", "live"),
    page("/events/{position}", show_event),
    web.get("/events/{position}/proof", prove_event),
    action("/events/{position}", reveal_event, "reveal"),
]
