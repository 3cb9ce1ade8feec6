"""Events of the ledger: by position, and one event with its payload, its facts and the subjects that it changed."""

from typing import Any

import orjson
from aiohttp import web

from ledger.errors import PositionUnknown, RequestInvalid
from ledger.events import Event
from ledger.facts import kind_of
from ledger.intake.identify import UNREADABLE
from ledger.intake.interpret import interpret
from ledger.privacy.access_log import record_access
from ledger.store import read as ledger_read
from ledger.store.read import EventHeader
from ledger.vendors import SOURCES
from ledger.vendors.repair_report import list_repairs
from service.api.answers.ledger import EventDetails, EventPage
from service.api.requests.admission import get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import open_query, parse_reason
from service.api.requests.parameters import LIMIT, PAGE, POSITION_MAX, REASON, text, time, whole
from service.api.responses import json_response, page_response
from service.formatting import cut_page, decode_cursor, encode_json, payload_json
from service.parameters import parse_int
from service.queries.explain_steps import fact_json
from service.queries.facts import SUBJECT_KINDS
from service.queries.freshness import freshness
from service.queries.references import expand_reference

POSITIONS_OF_SUBJECT = """
    SELECT DISTINCT position FROM facts
     WHERE ledger_id = $1 AND subject_kind = ANY ($5) AND subject = ANY ($2) AND position > $3
     ORDER BY position LIMIT $4
"""


async def list_events(request: web.Request) -> web.Response:
    """List the events of the ledger in order of position."""
    limit = LIMIT.of(request)
    cursor = decode_cursor(request.query.get("cursor"), int)
    after = cursor[0] if cursor else AFTER.of(request) or 0
    async with open_query(request) as query:
        positions = None
        subject = SUBJECT.of(request)
        if subject is not None:
            refs = await expand_reference(query, subject)
            of = (query.ledger.ledger_id, refs, after, limit + 1, SUBJECT_KINDS)
            rows = await query.connection.fetch(POSITIONS_OF_SUBJECT, *of)
            positions = [row["position"] for row in rows]
        headers = await ledger_read.event_headers_after(
            query.connection,
            query.ledger.ledger_id,
            after,
            limit + 1,
            kind=KIND.of(request),
            source=SOURCE.of(request),
            since=OCCURRED_FROM.of(request),
            until=OCCURRED_TO.of(request),
            positions=None if positions is None else positions[:limit],
        )
        shown, following = cut_page(headers, limit, lambda header: (header.position,))
        if positions is not None:  # another filter may leave out some of them
            _, following = cut_page(positions, limit, lambda position: (position,))
        return page_response(
            request, [event_header_json(header) for header in shown], following, **await freshness(query)
        )


async def get_event(request: web.Request) -> web.Response:
    """Return one event with its payload, its entry, its facts and the subjects that they change.

    Personal values in the payload are replaced by markers.
    """
    position = parse_int(request.match_info["position"], "position", least=1, most=POSITION_MAX)
    assert position is not None
    async with open_query(request) as query:
        ledger_id = query.ledger.ledger_id
        headers = await ledger_read.event_headers_after(query.connection, ledger_id, position - 1, 1)
        if not headers or headers[0].position != position:
            raise PositionUnknown(position)
        event = await ledger_read.event_at(query.connection, ledger_id, position)
        encoded_fields = await request.app[APP_CONTEXT].large_bodies.work_on(
            ledger_id, event.payload, encode_interpretation, event
        )
        interpretation_fields = {name: orjson.Fragment(value) for name, value in encoded_fields.items()}
        entry = orjson.loads(headers[0].entry)
        return json_response(
            {**event_header_json(headers[0]), "entry": entry, **interpretation_fields, **await freshness(query)}
        )


def encode_interpretation(event: Event) -> dict[str, bytes]:
    """Return the fields of `interpretation_json`, each encoded, so that another process can return them."""
    return {name: encode_json(value) for name, value in interpretation_json(event).items()}


def interpretation_json(event: Event) -> dict[str, Any]:
    """Return the payload of an event, the facts read from it, the subjects that they change, and the repairs."""
    interpretation = interpret(event)
    return {
        "payload": payload_json(event.payload),
        "facts": [
            {
                "fact": kind_of(recorded.fact),
                "subject_kind": recorded.fact.subject_kind,
                "subject": recorded.fact.subject,
                "occurred_at": recorded.occurrence.occurred_at,
                "untimed": recorded.occurrence.untimed,
                "fields": fact_json(recorded.fact),
            }
            for recorded in interpretation.facts
        ],
        "subjects": [
            {"subject_kind": kind, "subject": subject}
            for kind, subject in sorted({(one.fact.subject_kind, one.fact.subject) for one in interpretation.facts})
        ],
        "unread": interpretation.status,
        "reason": interpretation.reason,
        "repairs": repairs_json(event),
    }


async def reveal_delivery(request: web.Request) -> web.Response:
    """Return the delivered bytes of an event, with personal values.

    The look is recorded first, with the reason in `reason`. The markers of an erased person stay.
    """
    position = parse_int(request.match_info["position"], "position", least=1, most=POSITION_MAX) or 0
    async with open_query(request, "reveal") as query:
        reason = parse_reason(request)
        if not reason:
            raise RequestInvalid("`reason` is missing: state the reason for this look at personal values")
        event = await ledger_read.event_at(query.connection, query.ledger.ledger_id, position)
        await record_access(query.connection, query.ledger.ledger_id, query.key_id, f"event {position}", reason)
        vault = request.app[APP_CONTEXT].vault
        delivered = await vault.reveal(query.connection, query.ledger.ledger_id, position, event.payload)
    kind = "application/octet-stream" if event.kind == UNREADABLE else "application/json"
    disposition = f'attachment; filename="{query.ledger.name}-{position}"'
    return web.Response(body=delivered, content_type=kind, headers={"Content-Disposition": disposition})


def event_header_json(header: EventHeader) -> dict[str, Any]:
    return {
        "position": header.position,
        "source": header.source,
        "org": header.org,
        "kind": header.kind,
        "connection": header.connection_id,
        "occurred_at": header.occurred_at,
        "recorded_at": header.recorded_at,
        "event_key": header.event_key,
        "conflict": len(header.event_key) > 16,
        "delivery_position": header.delivery_position,
        "ordinal": header.ordinal,
        "leaf_hash": header.leaf_hash,
    }


def repairs_json(event: Event) -> list[dict[str, Any]]:
    """Return the repairs of a payload: path, rule, before, after (`ledger/vendors/repair_report.py`)."""
    vendor = SOURCES.get(event.source)
    return [repair._asdict() for repair in list_repairs(vendor, event.kind, event.payload)] if vendor else []


KIND = text("kind", "Only events of this kind, such as pointsIssued.")
SOURCE = text("source", "Only events of this source.")
SUBJECT = text("subject", "Only events with facts about this subject.")
OCCURRED_FROM = time("occurred_from", "Only events that occurred at this time or later.")
OCCURRED_TO = time("occurred_to", "Only events that occurred at this time or earlier.")
AFTER = whole("after", "Only events after this position.", least=0, most=POSITION_MAX)

OPERATIONS = (
    get(
        "/v1/ledger/events",
        list_events,
        *(KIND, SOURCE, SUBJECT, OCCURRED_FROM, OCCURRED_TO, AFTER),
        *PAGE,
        tag="events",
        answer=EventPage,
    ),
    get("/v1/ledger/events/{position}", get_event, tag="events", answer=EventDetails, errors=(PositionUnknown,)),
    get(
        "/v1/ledger/events/{position}/delivery",
        reveal_delivery,
        REASON,
        tag="events",
        answer=None,
        media=("application/json", "application/octet-stream"),
        scopes=("reveal",),
        errors=(PositionUnknown,),
    ),
)
