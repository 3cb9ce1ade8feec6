"""Test a delivery: interpret a body as the webhook would, and show its events, facts and effects. Nothing is stored."""

from typing import Any

import orjson
from aiohttp import web

from ledger import clock
from ledger.errors import CodingUnknown, ConnectionUnknown, LedgerUnavailable, RequestInvalid
from ledger.events import Event
from ledger.intake.identify import identify
from ledger.intake.interpret import Interpretation, interpret_all
from ledger.parsing import BODY_BYTES_MAX, without_byte_order_mark
from ledger.store.read import tail
from projections.queries.account_history import snapshot
from service.api.answers.previews import DeliveryTest
from service.api.ledger.events import encode_interpretation
from service.api.requests.admission import ACCESS, preview
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.bodies import read_body
from service.api.requests.content_codings import decode_body
from service.api.requests.open_query import open_query
from service.api.responses import json_response
from service.api.webhooks import WHITE_SPACE
from service.operations.preview import expected_outcomes, preview_change, preview_json, resolve_events


async def check_delivery(request: web.Request) -> web.Response:
    """Test a delivery: show its effects, and store nothing.

    The body is a delivery as the vendor sends it. It needs no signature, because the key proves the caller. The answer
    shows each event with its facts, and the rows that would change. Personal values are replaced by markers. Events
    that differ from a stored one in personal values alone count as duplicates.
    """
    context, access = request.app[APP_CONTEXT], request[ACCESS]
    inbound = await context.find_connection(request.match_info["connection_id"])
    if inbound.ledger.ledger_id != access.ledger.ledger_id:
        raise ConnectionUnknown(request.match_info["connection_id"])
    body = await read_body(request, context.body_budget)
    body = decode_body(body, request.headers.getall("Content-Encoding", ()), BODY_BYTES_MAX)
    if not without_byte_order_mark(body).strip(WHITE_SPACE):
        raise RequestInvalid("the body is empty: a delivery holds an event")
    ledger_id, work_on = access.ledger.ledger_id, context.large_bodies.work_on
    delivery = await work_on(ledger_id, body, identify, inbound.origin(context.vault), body)
    async with open_query(request, "admin", heavy=True) as query, snapshot(query.connection):
        events = delivery.as_stored(clock.now(), await tail(query.connection, ledger_id) + 1)
        interpretations = await work_on(ledger_id, body, interpret_events, events)
        shown = [await work_on(ledger_id, body, encode_interpretation, event) for event in events]
        outcomes = await expected_outcomes(query.connection, ledger_id, events)
        facts = await resolve_events(query.connection, ledger_id, events, interpretations)
        preview = await preview_change(query.connection, ledger_id, facts)
    return json_response(
        {
            "ledger": access.ledger.name,
            "events": [
                {
                    **outcome._asdict(),
                    "kind": event.kind,
                    "source": event.source,
                    "org": event.org,
                    "occurred_at": event.occurred_at,
                    **{name: orjson.Fragment(value) for name, value in fields.items()},
                }
                for event, outcome, fields in zip(events, outcomes, shown, strict=True)
            ],
            "preview": preview_json(preview),
        }
    )


def interpret_events(events: list[Event]) -> list[Interpretation]:
    """Interpret the events of one delivery."""
    return list(interpret_all(events))


OPERATIONS = (
    preview(
        "/v1/hooks/{connection_id}/test",
        check_delivery,
        tag="webhooks",
        answer=DeliveryTest,
        body=Any,
        errors=(ConnectionUnknown, CodingUnknown, LedgerUnavailable),
    ),
)
