"""The door: webhooks in. Authenticate the raw bytes, append, answer; what it means is worked out later.

Content is never refused (law 4): an authenticated body that cannot be read is stored and answered 200.
"""

import asyncio
import time

from aiohttp import web

from ledger.errors import DeliveryTooLarge
from ledger.identify import identify
from ledger.reading import BODY_BYTES_MAX
from service.answers import answer
from service.authentication import authenticate
from service.house import HOUSE

BODY_SECONDS_MAX = 10.0  # for the whole of a body: a sender that trickles must not hold a connection


async def receive(request: web.Request) -> web.Response:
    """POST /v1/hooks/{connection_id}: one delivery of a vendor.

    200 {"ledger", "events": [{"position", "outcome": "appended" | "duplicate" | "conflict", "kind"}]} once it is
    durable; 401 wrong credentials, 404 no such connection, 408 too slow, 413 more than BODY_BYTES_MAX, 503 cannot store
    now.
    """
    house = request.app[HOUSE]
    inbound = await house.inbound.get(request.match_info["connection_id"])
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise DeliveryTooLarge(f"at most {BODY_BYTES_MAX} bytes") from None
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    authenticate(inbound, request.headers, body, time.time())
    delivery = identify(inbound.origin(house.vault), body)
    outcomes = await house.appender.append(inbound.ledger.ledger_id, delivery)
    return answer(
        {
            "ledger": inbound.ledger.name,
            "events": [
                {"position": appended.position, "outcome": appended.outcome, "kind": draft.kind}
                for draft, appended in zip(delivery.drafts, outcomes, strict=True)
            ],
        }
    )


ROUTES = [web.post("/v1/hooks/{connection_id}", receive)]
