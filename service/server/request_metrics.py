"""Middleware that measures requests by the template of their route. Nothing of a request's path or query is kept."""

import time

from aiohttp import web
from aiohttp.typedefs import Handler

from service.monitoring.instruments import Instruments

INSTRUMENTS = web.AppKey("instruments", Instruments)
CLIENT_LEFT = 499  # as proxies log a request whose client did not wait


@web.middleware
async def measure_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count a request while it is answered, and observe its duration and status."""
    instruments = request.app[INSTRUMENTS]
    route = route_template(request)
    begun = time.perf_counter()
    status = CLIENT_LEFT
    with instruments.active_request(request.method, route):
        try:
            response = await handler(request)
            status = response.status
        finally:
            instruments.observe_request(request.method, route, status, time.perf_counter() - begun)
    return response


def route_template(request: web.Request) -> str:
    """Return the template of a request's route, such as "/v1/accounts/{id}"; empty for an unknown path."""
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical
