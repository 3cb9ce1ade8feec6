"""Declare routes, and check the key and the parameters of a request before its handler runs.

Order of the checks:

1. The key. Nothing is read, looked up or awaited before it. It costs one look-up, which is cached for some seconds.
2. The parameters. The route declares all that it takes, and any other is refused. A misspelt parameter must not be
   ignored: `known-at` instead of `known_at` would give a wrong figure.
"""

import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import NamedTuple

from aiohttp import web

from ledger.errors import RequestInvalid
from ledger.store.api_keys import ApiAccess
from service.api.requests.app_context import APP_CONTEXT

ACCESS = web.RequestKey("access", ApiAccess)

TIMES = ("at", "as_of_position", "known_at")
PAGE = ("limit", "cursor")
AWAIT = "min_position"  # of every route that answers from the projections
AS_OF_NOW = "this path is answered as of now"
NUL = "\0"  # PostgreSQL cannot store it in a text

# Unknown parameters are named in the answer only if they look like a name: a query string may hold anything.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Admission(NamedTuple):
    """Requirements of a route.

    `parameters` is None if any parameter is ignored. `scopes` is empty if no key is needed. With `basic`, the key may
    also be the password of HTTP Basic, which fits into a URL.
    """

    scopes: tuple[str, ...]
    parameters: frozenset[str] | None
    basic: bool = False


def _with_checks(admission: Admission, handler: Handler) -> Handler:
    """Return the handler behind the checks of its route."""

    @wraps(handler)
    async def checked_handler(request: web.Request) -> web.StreamResponse:
        if admission.scopes:
            context = request.app[APP_CONTEXT]
            request[ACCESS] = await context.authenticate_key(request, *admission.scopes, basic=admission.basic)
            context.memory_limit.check()
        check_parameters(request, admission.parameters)
        return await handler(request)

    ADMISSIONS[checked_handler] = admission
    return checked_handler


def check_parameters(request: web.Request, known: frozenset[str] | None) -> None:
    """Raise RequestInvalid for an unknown parameter, a repeated parameter, and a NUL character."""
    if NUL in request.path or NUL in request.query_string or NUL in "".join(request.query.values()):
        raise RequestInvalid("it contains a NUL character")
    if known is None:
        return
    unknown = sorted(set(request.query) - known)
    if unknown:
        names = ", ".join(f"`{name}`" for name in unknown if _NAME.fullmatch(name))
        reason = f"; {AS_OF_NOW}" if set(unknown) & set(TIMES) else ""
        accepted = ", ".join(f"`{name}`" for name in sorted(known)) or "none"
        raise RequestInvalid(f"unknown parameter {names}{reason}. The parameters of this path: {accepted}")
    repeated = sorted({name for name in request.query if len(request.query.getall(name)) > 1})
    if repeated:
        raise RequestInvalid(f"parameter `{repeated[0]}` is given more than once")


def get(
    path: str, handler: Handler, *parameters: str, scopes: tuple[str, ...] = ("read",), basic: bool = False
) -> web.RouteDef:
    """Declare a path that is read with a key of one of the scopes. Every parameter that it takes is named."""
    known = frozenset(parameters if basic else (*parameters, AWAIT))
    return web.get(path, _with_checks(Admission(scopes, known, basic), handler))


def change(method: str, path: str, handler: Handler, *parameters: str, scope: str = "admin") -> web.RouteDef:
    """Declare a path that changes something. It needs a key of the scope."""
    admission = Admission((scope,), frozenset((*parameters, AWAIT)))
    return web.route(method, path, _with_checks(admission, handler))


def keyless(path: str, handler: Handler, *parameters: str) -> web.RouteDef:
    """Declare a path without a key. Its handler may check another credential first."""
    return web.get(path, _with_checks(Admission((), frozenset(parameters)), handler))


def hook(path: str, handler: Handler) -> web.RouteDef:
    """Declare a path for deliveries. Parameters that a vendor appends to its URL are ignored: a refusal would lose
    events.
    """
    return web.post(path, _with_checks(Admission((), None), handler))


ADMISSIONS: dict[Handler, Admission] = {}  # by handler, filled by the functions above
