"""Receive webhooks: authenticate the raw bytes, append, answer. Interpretation follows later.

Content is never refused (invariant 4). An authenticated body that cannot be read is stored and answered 200.
"""

import time
from typing import Any

from aiohttp import web

from ledger import clock
from ledger.errors import (
    BadCredentials,
    ConnectionUnknown,
    LedgerMoved,
    LedgerUnavailable,
    MemoryExhausted,
    RequestInvalid,
)
from ledger.intake.identify import identify
from ledger.parsing import BODY_BYTES_MAX, without_byte_order_mark
from ledger.store.registry import InboundConnection
from service.api.answers.ledger import DeliveryAnswer
from service.api.requests.admission import hook
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.bodies import BYTES_FREE, read_body
from service.api.requests.content_codings import decode_body
from service.api.requests.webhook_auth import authenticate, check_headers
from service.api.responses import json_response

WHITE_SPACE = b" \t\r\n"


async def receive_delivery(request: web.Request) -> web.Response:
    """Receive one delivery of a vendor.

    The body is stored as it is, and answered 200 after the commit, even if it cannot be read. A repeated delivery
    changes nothing and is answered with its first position. Parameters of the query are ignored.
    """
    context = request.app[APP_CONTEXT]
    inbound = None
    try:
        inbound = await context.find_connection(request.match_info["connection_id"])
        return await _store(request, inbound)
    except Exception as error:
        context.refusals.count(inbound, error)
        raise


async def _store(request: web.Request, inbound: InboundConnection) -> web.Response:
    context = request.app[APP_CONTEXT]
    check_headers(inbound, request.headers, time.time())
    if (request.content_length or BODY_BYTES_MAX) > BYTES_FREE:
        context.memory_limit.check()
    body = await read_body(request, context.body_budget)
    authenticate(inbound, request.headers, body, time.time())
    body = decode_body(body, request.headers.getall("Content-Encoding", ()), BODY_BYTES_MAX)
    if not without_byte_order_mark(body).strip(WHITE_SPACE):
        # An empty body has no content to keep, so nothing is refused here. A 200 would hide a proxy that drops bodies,
        # and the vendor would not resend.
        raise RequestInvalid("the body is empty: a delivery holds an event")
    with context.overload.admit(inbound.ledger.ledger_id):
        delivery = await context.large_bodies.work_on(
            inbound.ledger.ledger_id, body, identify, inbound.origin(context.vault), body
        )
        outcomes = await context.appender.append(inbound.ledger.ledger_id, delivery)
    context.instruments.observe_delivery(inbound.ledger.name, inbound.source, delivery.events, outcomes, clock.now())
    return json_response(
        {
            "ledger": inbound.ledger.name,
            "events": [
                {"position": appended.position, "outcome": appended.outcome, "kind": new_event.kind}
                for new_event, appended in zip(delivery.events, outcomes, strict=True)
            ],
        }
    )


OPERATIONS = (
    hook(
        "/v1/hooks/{connection_id}",
        receive_delivery,
        tag="webhooks",
        answer=DeliveryAnswer,
        body=Any,
        errors=(BadCredentials, ConnectionUnknown, RequestInvalid, LedgerMoved, LedgerUnavailable, MemoryExhausted),
    ),
)
