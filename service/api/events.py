"""The ledger itself: events by position, and one of them whole: its payload, its facts and what they changed."""

from typing import Any

import orjson
from aiohttp import web

from ledger.errors import PositionUnknown, RequestInvalid, Unreadable
from ledger.facts import kind_of
from ledger.intake.identify import UNREADABLE
from ledger.intake.interpret import Event, interpret
from ledger.parsing import read as read_document
from ledger.parsing import without_mark
from ledger.privacy.access_log import note_access
from ledger.store import read as ledger_read
from ledger.store.read import Head
from ledger.vendors import SOURCES
from ledger.vendors.repair_report import repairs
from service.api.admission import PAGE, get
from service.api.context import HOUSE
from service.api.explain_steps import said
from service.api.requests import WHY_CHARACTERS_MAX, candidates, limit_of, reach, reader
from service.formatting import answer, decode_cursor, encode_cursor, page, read_flag, read_int, read_time

POSITIONS_OF_SUBJECT = """
    SELECT DISTINCT position FROM facts
     WHERE ledger_id = $1 AND subject = ANY ($2) AND position > $3 ORDER BY position LIMIT $4
"""


async def list_events(request: web.Request) -> web.Response:
    """GET /v1/ledger/events: in order of position, filtered by ?kind= ?source= ?subject= ?since= ?until= (times of
    occurrence), after ?after= or a cursor."""
    query = request.query
    limit = limit_of(request)
    cursor = decode_cursor(query.get("cursor"), int)
    after = cursor[0] if cursor else read_int(query.get("after"), "after", least=0, most=2**62) or 0
    async with reader(request) as read:
        positions = None
        if "subject" in query:
            refs = await candidates(read, query["subject"])
            rows = await read.connection.fetch(POSITIONS_OF_SUBJECT, read.ledger.ledger_id, refs, after, limit)
            positions = [row["position"] for row in rows]
        heads = await ledger_read.heads_after(
            read.connection,
            read.ledger.ledger_id,
            after,
            limit,
            kind=query.get("kind"),
            source=query.get("source"),
            since=read_time(query.get("since"), "since"),
            until=read_time(query.get("until"), "until"),
            positions=positions,
        )
        last = positions[-1] if positions else heads[-1].position if heads else after
        more = len(heads) == limit or (positions is not None and len(positions) == limit)
        return page([shown_head(head) for head in heads], encode_cursor(last) if more else None, **await reach(read))


async def get_event(request: web.Request) -> web.Response:
    """GET /v1/ledger/events/{position}: the event with its payload, entry, facts and the subjects they changed.

    With ?reveal=true, and a key of scope reveal, the delivered bytes; ?why= must say what for, and is noted first.
    """
    if read_flag(request.query.get("reveal"), "reveal"):
        return await _reveal(request)
    position = read_int(request.match_info["position"], "position", least=1, most=2**62)
    assert position is not None
    async with reader(request) as read:
        ledger_id = read.ledger.ledger_id
        heads = await ledger_read.heads_after(read.connection, ledger_id, position - 1, 1)
        if not heads or heads[0].position != position:
            raise PositionUnknown(position)
        event = await ledger_read.event_at(read.connection, ledger_id, position)
        shown = await request.app[HOUSE].large.work_on(ledger_id, event.payload, shown_meaning, event)
        entry = orjson.loads(heads[0].entry)
        return answer({**shown_head(heads[0]), "entry": entry, **shown, **await reach(read)})


def shown_meaning(event: Event) -> dict[str, Any]:
    """Show what an event says and how it is read: its payload, facts, the subjects they change, and repairs."""
    meaning = interpret(event)
    return {
        "payload": shown_payload(event.payload),
        "facts": [
            {
                "fact": kind_of(one.fact),
                "subject_kind": one.fact.subject_kind,
                "subject": one.fact.subject,
                "occurred_at": one.occurrence.occurred_at,
                "untimed": one.occurrence.untimed,
                "says": said(one.fact),
            }
            for one in meaning.told
        ],
        "changed": sorted({f"{one.fact.subject_kind} {one.fact.subject}" for one in meaning.told}),
        "unread": meaning.unread,
        "reason": meaning.reason,
        "repairs": shown_repairs(event),
    }


async def _reveal(request: web.Request) -> web.Response:
    """Answer with the delivered bytes; where a person has been forgotten, the markers stay."""
    position = read_int(request.match_info["position"], "position", least=1, most=2**62) or 0
    async with reader(request, "reveal") as read:
        why = request.query.get("why", "").strip()[:WHY_CHARACTERS_MAX]
        if not why:
            raise RequestInvalid("why is needed: for what these personal values are looked at")
        event = await ledger_read.event_at(read.connection, read.ledger.ledger_id, position)
        await note_access(read.connection, read.ledger.ledger_id, read.key_id, f"event {position}", why)
        vault = request.app[HOUSE].vault
        delivered = await vault.reveal(read.connection, read.ledger.ledger_id, position, event.payload)
    kind = "application/octet-stream" if event.kind == UNREADABLE else "application/json"
    disposition = f'attachment; filename="{read.ledger.name}-{position}"'
    return web.Response(body=delivered, content_type=kind, headers={"Content-Disposition": disposition})


def shown_head(head: Head) -> dict[str, Any]:
    return {
        "position": head.position,
        "source": head.source,
        "org": head.org,
        "kind": head.kind,
        "connection": head.connection_id,
        "occurred_at": head.occurred_at,
        "recorded_at": head.recorded_at,
        "event_key": head.event_key,
        "conflict": len(head.event_key) > 16,
        "delivery_position": head.delivery_position,
        "ordinal": head.ordinal,
        "leaf_hash": head.leaf_hash,
    }


def shown_payload(payload: bytes) -> Any:
    """Show a payload as it stands where it is JSON that we accept, numbers of any size included, else as text."""
    try:
        read_document(payload)
    except Unreadable:
        return payload.decode("utf-8", "replace")
    return orjson.Fragment(without_mark(payload))


def shown_repairs(event: Event) -> list[dict[str, Any]]:
    """List what reading the payload repairs: path, rule, before, after; see ledger/vendors/repair_report.py."""
    vendor = SOURCES.get(event.source)
    return [repair._asdict() for repair in repairs(vendor, event.kind, event.payload)] if vendor else []


ROUTES = [
    get("/v1/ledger/events", list_events, "kind", "source", "subject", "since", "until", "after", *PAGE),
    get("/v1/ledger/events/{position}", get_event, "reveal", "why", scopes=("read", "reveal")),
]
