"""The operations of the API: each states its path, its key, its parameters, its answer and its description.

One table serves three purposes: the routes, the checks before a handler runs, and the OpenAPI document.

Order of the checks:

1. The key. Nothing is read, looked up or awaited before it. It costs one look-up, which is cached for some seconds.
2. The parameters. The operation declares all that it takes, and any other is refused. A misspelt parameter must not be
   ignored: `known-at` instead of `known_at` would give a wrong figure.
"""

import inspect
import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, NamedTuple

from aiohttp import web

from ledger.errors import LedgerError, RequestInvalid
from ledger.store.api_keys import ApiAccess
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.idempotency import answer_once
from service.api.requests.parameters import MIN_POSITION, TIMES, Parameter

ACCESS = web.RequestKey("access", ApiAccess)
IS_CHANGE = web.RequestKey("is_change", bool)  # True for an operation that may change something

AS_OF_NOW = "this path is answered as of now"
NUL = "\0"  # PostgreSQL cannot store it in a text

# Unknown parameters are named in the answer only if they look like a name: a query string may hold anything.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Errors = tuple[type[LedgerError], ...]


class Operation(NamedTuple):
    """One method of one path.

    The first sentence of the handler's docstring is the summary, the rest is the description, unless they are given.
    """

    method: str
    path: str
    handler: Handler
    tag: str
    answer: Any  # type of the JSON answer; None if the answer is no JSON
    scopes: tuple[str, ...] = ()  # one of them is needed; empty: no key
    parameters: tuple[Parameter[Any], ...] = ()
    body: Any = None  # type of the JSON body; None if no body is read
    errors: Errors = ()  # beside those of every operation of its kind
    status: int = 200
    media: tuple[str, ...] = ()  # further content types of the answer
    ignores_parameters: bool = False
    is_keyed: bool = False  # it takes an Idempotency-Key
    basic: bool = False  # the key may also be the password of HTTP Basic, which fits into a URL
    summary: str = ""
    description: str = ""

    @property
    def operation_id(self) -> str:
        """The name of the handler, which is unique."""
        return self.handler.__name__

    @property
    def template(self) -> str:
        """The path without the patterns of its placeholders."""
        return re.sub(r"\{(\w+):(?:[^{}]|\{[^{}]*\})*\}", r"{\1}", self.path)

    @property
    def texts(self) -> tuple[str, str]:
        """Summary and description."""
        first, _, rest = inspect.cleandoc(self.handler.__doc__ or "").partition("\n\n")
        return self.summary or " ".join(first.split()).rstrip("."), self.description or rest

    def route(self) -> web.RouteDef:
        """Return the route, with the checks before its handler."""
        if self.method == "GET":
            return web.get(self.path, self._with_checks())
        return web.route(self.method, self.path, self._with_checks())

    def _with_checks(self) -> Handler:
        known = None if self.ignores_parameters else {parameter.name: parameter for parameter in self.parameters}

        @wraps(self.handler)
        async def checked_handler(request: web.Request) -> web.StreamResponse:
            if self.scopes:
                context = request.app[APP_CONTEXT]
                request[ACCESS] = await context.authenticate_key(request, *self.scopes, basic=self.basic)
                context.memory_limit.check()
            check_parameters(request, known)
            request[IS_CHANGE] = self.is_keyed or self.method not in ("GET", "POST")
            if self.is_keyed:
                return await answer_once(request, request[ACCESS].ledger.ledger_id, self.handler)
            return await self.handler(request)

        return checked_handler


def check_parameters(request: web.Request, known: dict[str, Parameter[Any]] | None) -> None:
    """Raise RequestInvalid for a parameter that is unknown, repeated, missing or invalid, and for a NUL character."""
    if NUL in request.path or NUL in request.query_string or NUL in "".join(request.query.values()):
        raise RequestInvalid("it contains a NUL character")
    if known is None:
        return
    unknown = sorted(set(request.query) - set(known))
    if unknown:
        names = ", ".join(f"`{name}`" for name in unknown if NAME.fullmatch(name))
        reason = f"; {AS_OF_NOW}" if set(unknown) & {parameter.name for parameter in TIMES} else ""
        accepted = ", ".join(f"`{name}`" for name in sorted(known)) or "none"
        raise RequestInvalid(f"unknown parameter {names}{reason}. The parameters of this path: {accepted}")
    repeated = sorted({name for name in request.query if len(request.query.getall(name)) > 1})
    if repeated:
        raise RequestInvalid(f"parameter `{repeated[0]}` is given more than once")
    for parameter in known.values():
        parameter.of(request)


def get(
    path: str,
    handler: Handler,
    *parameters: Parameter[Any],
    tag: str,
    answer: Any,
    scopes: tuple[str, ...] = ("read",),
    basic: bool = False,
    **more: Any,
) -> Operation:
    """Declare a path that is read with a key of one of the scopes. Every parameter that it takes is named."""
    known = parameters if basic else (*parameters, MIN_POSITION)
    return Operation("GET", path, handler, tag, answer, scopes, known, basic=basic, **more)


def change(
    method: str,
    path: str,
    handler: Handler,
    *parameters: Parameter[Any],
    tag: str,
    answer: Any,
    scope: str = "admin",
    **more: Any,
) -> Operation:
    """Declare a path that changes something. It needs a key of the scope. A POST takes an Idempotency-Key."""
    known = (*parameters, MIN_POSITION)
    return Operation(method, path, handler, tag, answer, (scope,), known, is_keyed=method == "POST", **more)


def preview(
    path: str, handler: Handler, *parameters: Parameter[Any], tag: str, answer: Any, scope: str = "admin", **more: Any
) -> Operation:
    """Declare a POST that changes nothing, so that it can be repeated without an Idempotency-Key."""
    return Operation("POST", path, handler, tag, answer, (scope,), (*parameters, MIN_POSITION), **more)


def keyless(path: str, handler: Handler, *parameters: Parameter[Any], tag: str, answer: Any, **more: Any) -> Operation:
    """Declare a path without a key. Its handler may check another credential first."""
    return Operation("GET", path, handler, tag, answer, (), parameters, **more)


def hook(path: str, handler: Handler, *, tag: str, answer: Any, **more: Any) -> Operation:
    """Declare a path for deliveries. Parameters that a vendor appends to its URL are ignored: a refusal would lose
    events.
    """
    return Operation("POST", path, handler, tag, answer, ignores_parameters=True, **more)
