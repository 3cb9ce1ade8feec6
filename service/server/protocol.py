"""Limits of the HTTP protocol: connections of an address, slow clients, and bytes that are no HTTP.

aiohttp quotes bytes that it could not parse, in its response and in its log. A broken request line or header may hold
anything: a secret, an e-mail address. So this module answers with a problem document and a log line that quote nothing.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict, CIMultiDictProxy

from service.api.problems import TOO_MANY_CONNECTIONS, problem_of_status
from service.api.requests.bodies import EXPECTS_CONTINUE
from service.api.responses import answer_seconds_max, problem_json, problem_response
from service.formatting import encode_json

_log = logging.getLogger(__name__)

CONNECTIONS_PER_ADDRESS_MAX = 256
CLOSE_SECONDS_MAX = 10.0  # from the last response to the end of a connection that is not kept alive

Network = IPv4Network | IPv6Network


def _too_many() -> bytes:
    """Return the whole response to an address with too many connections. Its request is not read."""
    body = encode_json(problem_json(TOO_MANY_CONNECTIONS))
    head = (
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


TOO_MANY = _too_many()


class LimitedProtocol(RequestHandler):
    """One connection of a client."""

    __slots__ = ("_address",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a connection, unless its address has too many."""
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._address: str | None = address
        if self._connections().enter(address):
            super().connection_made(transport)
            return
        self._address = None
        self._force_close = True  # nothing that it sends is read
        transport.write(TOO_MANY)  # type: ignore[attr-defined]  # a server's transport writes
        transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count a connection as closed."""
        if self._address is not None:
            self._connections().leave(self._address)
            self._address = None
            super().connection_lost(exc)

    def _connections(self) -> "ConnectionLimits":
        assert isinstance(self._manager, LimitedServer)
        return self._manager.budget

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response. A client that does not read it is cut off."""
        size = len(resp.body) if isinstance(resp, web.Response) and isinstance(resp.body, bytes) else 0
        try:
            async with asyncio.timeout(answer_seconds_max(size)):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            self.abort()
            return resp, True

    async def start(self) -> None:
        """Answer the requests of a connection in sequence, and close it within CLOSE_SECONDS_MAX after the last."""
        transport = self.transport
        try:
            await super().start()
        finally:
            if transport is not None and self._manager is not None:  # the connection is still open
                self._loop.call_later(CLOSE_SECONDS_MAX, transport.abort)

    def abort(self) -> None:
        """Close the connection without waiting for unsent bytes."""
        if self.transport is not None:
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it may quote the request
    ) -> web.StreamResponse:
        """Answer an error outside our handlers, and close the connection."""
        level = logging.INFO if status < 500 else logging.ERROR
        _log.log(level, "a request was answered %d: %s", status, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has been begun")
        response = problem_response(problem_of_status(status))
        response.force_close()
        return response

    def log_exception(self, *_: Any, **details: Any) -> None:
        """Log the type of an error. Its text may quote the request."""
        _log.error("a connection failed: %s", type(details.get("exc_info")).__name__)


class ConnectionLimits:
    """Counts the connections of each address. An address beyond the limit is refused before it has sent anything."""

    def __init__(self, per_address_max: int, exempt: Sequence[Network] = ()) -> None:
        self._per_address_max = per_address_max
        self._exempt = exempt
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a new connection of an address. Return False, and count nothing, if it has too many."""
        if self._open[address] >= self._per_address_max and not self._is_exempt(address):
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count an entered connection as closed."""
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]

    def _is_exempt(self, address: str) -> bool:
        """Return True for a Unix socket, and for a proxy: many clients share its address."""
        try:
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return True
        return any(parsed in network for network in self._exempt)


class LimitedServer(web.Server):
    """Makes a LimitedProtocol for each connection."""

    budget: ConnectionLimits

    def __call__(self) -> RequestHandler:
        return LimitedProtocol(self, loop=self._loop, **self._kwargs)


class LimitedRunner(web.AppRunner):
    """Runs an application with LimitedProtocol."""

    def __init__(self, app: web.Application, *, connections: ConnectionLimits | None = None, **settings: Any) -> None:
        super().__init__(app, **settings)
        self._connections = connections or ConnectionLimits(CONNECTIONS_PER_ADDRESS_MAX)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        assert made.request_factory is not None
        factory = _without_expectation(made.request_factory)
        server = LimitedServer(
            made.request_handler,
            request_factory=factory,
            handler_cancellation=True,  # cancels the query of a client that has left: see error_responses._handle
            loop=made._loop,
            **made._kwargs,
        )
        server.budget = self._connections
        return server


def _without_expectation(make: Callable[..., web.BaseRequest]) -> Callable[..., web.BaseRequest]:
    """Return a factory of requests without their Expect header.

    aiohttp asks a client for its body before any handler runs, and quotes an unknown expectation. Here the body is
    asked for when it is read, after the key was checked (`service/api/requests/bodies.py`).
    `service/server/error_responses.py` refuses other expectations, and quotes nothing of them.
    """

    def made(message: RawRequestMessage, *others: Any) -> web.BaseRequest:
        expected = message.headers.get("Expect")
        if expected is None:
            return make(message, *others)
        headers = CIMultiDict(message.headers)
        del headers["Expect"]
        request = make(message._replace(headers=CIMultiDictProxy(headers)), *others)
        request[EXPECTS_CONTINUE] = expected.strip().lower() == "100-continue"
        return request

    return made
