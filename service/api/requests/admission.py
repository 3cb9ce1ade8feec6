"""What a request must show before it is answered: its key, then its parameters. Every route is declared here.

The order is the rule: nothing is read, looked up or waited for before the key was checked, and the key costs one
look-up, which is remembered for some seconds. Then parameters are compared with those that the route declares, so that
a misspelt one is refused and not ignored: `known-at` for `known_at` would be a wrong figure.
"""

import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import NamedTuple

from aiohttp import web

from ledger.errors import RequestInvalid
from ledger.store.registry import ApiAccess
from service.api.requests.app_context import APP_CONTEXT

ACCESS = web.RequestKey("what the key of a request opens", ApiAccess)

TIMES = ("at", "as_of_position", "known_at")
PAGE = ("limit", "cursor")
AWAIT = "min_position"  # of every route that answers from the projections
AS_OF_NOW = "this path is answered as of now"
NUL = "\0"  # which no text in PostgreSQL can hold

# Names of unknown parameters are told only if they look like one: anything may stand in a query.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Admission(NamedTuple):
    """What a route asks for. `parameters` is None where any is ignored, `scopes` empty where no key is needed.

    With `basic` the key may also be the password of HTTP Basic, which fits into a URL.
    """

    scopes: tuple[str, ...]
    parameters: frozenset[str] | None
    basic: bool = False


def _admitting(admission: Admission, handler: Handler) -> Handler:
    """Put a handler behind the check of its route."""

    @wraps(handler)
    async def admitted(request: web.Request) -> web.StreamResponse:
        if admission.scopes:
            house = request.app[APP_CONTEXT]
            request[ACCESS] = await house.caller(request, *admission.scopes, basic=admission.basic)
        check_parameters(request, admission.parameters)
        return await handler(request)

    ADMISSIONS[admitted] = admission
    return admitted


def check_parameters(request: web.Request, known: frozenset[str] | None) -> None:
    """Raise RequestInvalid for a parameter that the path does not take, for one given twice, and for a NUL."""
    if NUL in request.path or NUL in request.query_string or NUL in "".join(request.query.values()):
        raise RequestInvalid("a NUL character")
    if known is None:
        return
    unknown = sorted(set(request.query) - known)
    if unknown:
        names = ", ".join(f"`{name}`" for name in unknown if _NAME.fullmatch(name))
        reason = f"; {AS_OF_NOW}" if set(unknown) & set(TIMES) else ""
        taken = ", ".join(f"`{name}`" for name in sorted(known)) or "none"
        raise RequestInvalid(f"unknown parameter {names}{reason}. The parameters of this path: {taken}")
    twice = sorted({name for name in request.query if len(request.query.getall(name)) > 1})
    if twice:
        raise RequestInvalid(f"parameter `{twice[0]}` is given more than once")


def get(
    path: str, handler: Handler, *parameters: str, scopes: tuple[str, ...] = ("read",), basic: bool = False
) -> web.RouteDef:
    """Declare a path that is read with a key of one of the scopes; every parameter that it takes is named."""
    known = frozenset(parameters if basic else (*parameters, AWAIT))
    return web.get(path, _admitting(Admission(scopes, known, basic), handler))


def change(method: str, path: str, handler: Handler, *parameters: str, scope: str = "admin") -> web.RouteDef:
    """Declare a path that changes something with a key of a scope."""
    admission = Admission((scope,), frozenset((*parameters, AWAIT)))
    return web.route(method, path, _admitting(admission, handler))


def keyless(path: str, handler: Handler, *parameters: str) -> web.RouteDef:
    """Declare a path that is read without a key, or whose handler checks another credential first."""
    return web.get(path, _admitting(Admission((), frozenset(parameters)), handler))


def hook(path: str, handler: Handler) -> web.RouteDef:
    """Declare a path for deliveries. Parameters that a vendor appends to its URL are ignored: to refuse them would lose
    its events."""
    return web.post(path, _admitting(Admission((), None), handler))


ADMISSIONS: dict[Handler, Admission] = {}  # of every handler that was declared here
