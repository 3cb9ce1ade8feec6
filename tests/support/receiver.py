"""A receiver of outgoing webhooks, which verifies signatures by the published library and misbehaves as a test asks."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

from tests.support.contract import contract, validator_of

Behaviour = Callable[[int, web.Request], "web.StreamResponse | str | None"]  # number of the request, from 1
STALL, RESET, CUT = "stall", "reset", "cut"


def accept(_: int, __: web.Request) -> None:
    """Accept every request."""


@cache
def validators() -> dict[str, Any]:
    """Return a validator for each type of message, from the section `webhooks` of the OpenAPI document."""
    found = {}
    for name, path in contract()["webhooks"].items():
        schema = path["post"]["requestBody"]["content"]["application/cloudevents+json"]["schema"]
        found[name] = validator_of(schema)
    return found


def errors_of(event: dict[str, Any]) -> list[str]:
    """Return how a message differs from its published schema."""
    validator = validators().get(str(event.get("type")))
    if validator is None:
        return [f"{event} has no known type"]
    return [f"{event['type']}: {error.message}" for error in validator.iter_errors(event)]


class Receiver:
    """Stores the CloudEvents of accepted requests. `behave` decides about each request."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.requests: list[tuple[Mapping[str, str], bytes]] = []
        self.accepted: list[dict[str, Any]] = []
        self.invalid: list[str] = []  # differences from the section `webhooks` of the OpenAPI document
        self.server: TestServer | None = None
        self.before: Callable[[int, web.Request], Awaitable[None]] | None = None  # awaited before a request is answered
        self.released = asyncio.Event()  # ends requests that stall

    @property
    def url(self) -> str:
        assert self.server is not None
        return str(self.server.make_url("/hooks"))

    @property
    def ids(self) -> list[str]:
        """The ids of the accepted events, in the order of their arrival."""
        return [event["id"] for event in self.accepted]

    def verify(self, *secrets: str) -> None:
        """Verify every request by each secret. Raises WebhookVerificationError."""
        assert self.requests
        for headers, body in self.requests:
            for secret in secrets:
                Webhook(secret).verify(body, dict(headers))

    async def receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(({name.lower(): value for name, value in request.headers.items()}, body))
        if self.before is not None:
            await self.before(len(self.requests), request)
        reaction = self.behave(len(self.requests), request)
        if reaction == STALL:
            await self.released.wait()
            return web.Response(status=500)
        if reaction == RESET:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(reaction, web.StreamResponse):
            return reaction
        content = json.loads(body)
        events = content if isinstance(content, list) else [content]
        self.invalid += [error for event in events for error in errors_of(event)]
        self.accepted += events
        if reaction == CUT:  # accepted, but the sender never learns it
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=204)


@asynccontextmanager
async def receiving(behave: Behaviour = accept) -> AsyncIterator[Receiver]:
    """Run a receiver on this machine."""
    receiver = Receiver(behave)
    await asyncio.to_thread(validators)  # so that no request waits for it
    app = web.Application()
    app.router.add_post("/hooks", receiver.receive)
    receiver.server = TestServer(app)
    await receiver.server.start_server()
    try:
        yield receiver
    finally:
        receiver.released.set()
        await receiver.server.close()
    assert receiver.invalid == []
