"""Middleware that observes requests: a request id, metrics, an optional access log, and a span.

All of them name the template of the route. Nothing of a request's path, query or headers is kept, except a request id
that a client or proxy sent, if it looks like one.
"""

import logging
import re
import secrets
import time

from aiohttp import web
from aiohttp.typedefs import Handler

from ledger import spans
from service.api.requests.admission import ACCESS
from service.monitoring.instruments import Instruments
from service.monitoring.logs import ACCESS_LOG, REQUEST_ID

INSTRUMENTS = web.AppKey("instruments", Instruments)
IDENTIFIER = web.RequestKey("request id", str)
CLIENT_LEFT = 499  # as proxies log a request whose client did not wait
ID_HEADER = "X-Request-Id"
ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")

_access_log = logging.getLogger(ACCESS_LOG)


@web.middleware
async def observe_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Set the id of a request, and observe its duration and status when it is answered."""
    instruments = request.app[INSTRUMENTS]
    route = route_template(request)
    request[IDENTIFIER] = request_id(request)
    reset = REQUEST_ID.set(request[IDENTIFIER])
    begun = time.perf_counter()
    status = CLIENT_LEFT
    with instruments.active_request(request.method, route), spans.span(f"{request.method} {route}".strip()):
        try:
            response = await handler(request)
            status = response.status
        finally:
            seconds = time.perf_counter() - begun
            instruments.observe_request(request.method, route, status, seconds)
            spans.set_attributes({"http.route": route, "http.response.status_code": status})
            if _access_log.isEnabledFor(logging.INFO):
                _log_access(request, route, status, seconds)
            REQUEST_ID.reset(reset)
    return response


def request_id(request: web.Request) -> str:
    """Return the id that a request brought, if there is exactly one that looks like an id, otherwise a new one."""
    given = request.headers.getall(ID_HEADER, ())
    if len(given) == 1 and ID_PATTERN.fullmatch(given[0]):
        return given[0]
    return secrets.token_hex(16)


async def add_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Add the request's id to its response."""
    if IDENTIFIER in request:
        response.headers[ID_HEADER] = request[IDENTIFIER]


def route_template(request: web.Request) -> str:
    """Return the template of a request's route, such as "/v1/accounts/{id}"; empty for an unknown path."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


def _log_access(request: web.Request, route: str, status: int, seconds: float) -> None:
    access = request.get(ACCESS)
    fields = {
        "method": request.method if request.method.isalpha() else None,
        "route": route or "unknown",
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "ledger": None if access is None else access.ledger.name,
    }
    _access_log.info("request", extra=fields)
