"""The door: webhooks in. Authenticate the raw bytes, append, answer; what it means is worked out later.

Content is never refused (law 4): an authenticated body that cannot be read is stored and answered 200.
"""

import time

from aiohttp import web

from ledger.errors import LedgerError, RequestInvalid
from ledger.intake.identify import identify
from ledger.parsing import BODY_BYTES_MAX, without_mark
from ledger.store.registry import InboundConnection
from service.api.requests.admission import hook
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.bodies import read_body
from service.api.requests.content_codings import decode_body
from service.api.requests.webhook_auth import admit, authenticate
from service.api.responses import json_response

WHITE_SPACE = b" \t\r\n"


async def receive(request: web.Request) -> web.Response:
    """POST /v1/hooks/{connection_id}: one delivery of a vendor.

    200 {"ledger", "events": [{"position", "outcome": "appended" | "duplicate" | "conflict", "kind"}]} once it is
    durable; 400 no body, 401 wrong credentials, 404 no such connection, 408 too slow, 413 more than BODY_BYTES_MAX, 415
    a content coding that is not decoded, 503 cannot store now.
    """
    context = request.app[APP_CONTEXT]
    inbound = await context.connections.get(request.match_info["connection_id"])
    try:
        return await _store(request, inbound)
    except (LedgerError, web.HTTPRequestTimeout) as error:
        context.refusals.note(inbound.connection_id, error)
        raise


async def _store(request: web.Request, inbound: InboundConnection) -> web.Response:
    context = request.app[APP_CONTEXT]
    admit(inbound, request.headers, time.time())
    body = await read_body(request, context.body_budget)
    authenticate(inbound, request.headers, body, time.time())
    body = decode_body(body, request.headers.getall("Content-Encoding", ()), BODY_BYTES_MAX)
    if not without_mark(body).strip(WHITE_SPACE):
        # There is no content to keep, so this refuses none. A 200 would hide that a proxy drops bodies, and the vendor
        # would not send them again.
        raise RequestInvalid("the body is empty: a delivery holds an event")
    with context.overload.admitted(inbound.ledger.ledger_id):
        delivery = await context.large_bodies.work_on(
            inbound.ledger.ledger_id, body, identify, inbound.origin(context.vault), body
        )
        outcomes = await context.appender.append(inbound.ledger.ledger_id, delivery)
    return json_response(
        {
            "ledger": inbound.ledger.name,
            "events": [
                {"position": appended.position, "outcome": appended.outcome, "kind": draft.kind}
                for draft, appended in zip(delivery.drafts, outcomes, strict=True)
            ],
        }
    )


ROUTES = [hook("/v1/hooks/{connection_id}", receive)]
