"""The web server's answers to what is no HTTP: a problem document, and a line in the log, that quote none of it.

aiohttp quotes the bytes that it could not parse, in its answer and in its log; in a request line or a header that went
wrong there may stand anything: a secret, an e-mail address.
"""

import logging
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from service.answers import problem_of

_log = logging.getLogger(__name__)

DETAILS = {400: "This is no HTTP request that we understand."}
DETAIL = "This should not happen; the log says more."


class Protocol(RequestHandler):
    """One connection."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it may quote the request
    ) -> web.StreamResponse:
        """Answer what went wrong before or beside our handlers; the connection is closed then."""
        level = logging.INFO if status < 500 else logging.ERROR
        _log.log(level, "a request was answered %d: %s", status, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has been begun")
        response = problem_of(status, DETAILS.get(status, DETAIL))
        response.force_close()
        return response

    def log_exception(self, *_: Any, **told: Any) -> None:
        """Say what kind of error it was; what it says may quote the request."""
        _log.error("a connection failed: %s", type(told.get("exc_info")).__name__)


class Server(web.Server):
    """Makes our protocol for each connection."""

    def __call__(self) -> RequestHandler:
        return Protocol(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application with our protocol."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=True,  # of a client that has left: see app._handled
            loop=made._loop,
            **made._kwargs,
        )
