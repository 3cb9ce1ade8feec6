"""Declare pages and actions of the console, and admit requests to them.

Order of the checks: the session and its key, the origin and the token of a form, the parameters. As in the API, an
unknown parameter is refused: a misspelt one would give a wrong figure.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any
from urllib.parse import parse_qsl

import asyncpg
from aiohttp import web
from aiohttp.typedefs import Handler

from ledger.database import CONNECTION_LOST
from ledger.errors import BadCredentials, LedgerError, RebuildDue, RequestInvalid, ScopeMissing
from ledger.failures import describe_failure
from service.api.problems import problem_of
from service.api.requests.admission import NUL
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.bodies import read_body
from service.console.cookies import PATH, is_from_another_site, is_same_origin, set_cookie
from service.console.pages import Page, console_href, render, respond
from service.console.visitors import SESSIONS, VISITOR, admit_visitor

FORM_FIELDS_MAX = 50
EVERY_PAGE = ("format", "table", "min_position")  # parameters
KEYLESS = web.AppKey("keyless", set[Any])

_log = logging.getLogger(__name__)

PageHandler = Callable[[web.Request], Awaitable[Page | web.StreamResponse]]
ActionHandler = Callable[[web.Request, dict[str, str]], Awaitable[web.StreamResponse | Page]]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def page(path: str, handler: PageHandler, *parameters: str) -> web.RouteDef:
    """Declare a page. Every parameter that it takes is named, besides those of EVERY_PAGE."""
    known = {*parameters, *EVERY_PAGE}

    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        if NUL in request.path or NUL in "".join(request.query.values()):
            raise RequestInvalid("it contains a NUL character")
        if set(request.query) - known:
            raise RequestInvalid(f"this page takes these parameters: {', '.join(sorted(known))}")
        answered = await handler(request)
        return respond(request, answered) if isinstance(answered, Page) else answered

    return web.get(path, answer)


def action(path: str, handler: ActionHandler, *scopes: str) -> web.RouteDef:
    """Declare a form's action. It needs a session with one of the scopes, a form of this origin, and its token."""

    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        visitor = request[VISITOR]
        if scopes and not visitor.access.scopes & {*scopes, *(() if scopes == ("operator",) else ("admin",))}:
            raise ScopeMissing(" or ".join(scopes))
        done = await handler(request, await read_form(request, visitor.cookie))
        return respond(request, done) if isinstance(done, Page) else done

    return web.post(path, answer)


async def read_form(request: web.Request, bound_to: str) -> dict[str, str]:
    """Return the fields of a form. Raises BadCredentials unless a page of this origin and this session sent it."""
    if not bound_to or not is_same_origin(request):
        raise BadCredentials("the form was sent by another site")
    body = await read_body(request, request.app[APP_CONTEXT].body_budget)
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX))
    except ValueError:
        raise RequestInvalid("the form cannot be read") from None
    if any(NUL in value for value in fields.values()):
        raise RequestInvalid("it contains a NUL character")
    if not request.app[SESSIONS].is_form_token(fields.pop("token", ""), bound_to):
        raise BadCredentials("the form is out of date: load the page again")
    return fields


def see_other(location: str) -> web.Response:
    """Return a redirect to a page."""
    return web.Response(status=303, headers={"Location": location})


@web.middleware
async def show_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into pages. Errors of a request for a file stay problem documents."""
    try:
        return await handler(request)
    except LedgerError as error:
        if request.query.get("format") in ("csv", "json"):
            raise
        return _error_page(request, problem_of(type(error)).status, str(error))
    except web.HTTPNotFound:
        return _error_page(request, 404, "There is no page at this address.")
    except web.HTTPMethodNotAllowed as error:
        return _error_page(request, error.status, "This address takes no such request.")
    except (asyncpg.DataError, asyncpg.CharacterNotInRepertoireError, OverflowError):
        return _error_page(request, 400, str(RequestInvalid()))
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        return _error_page(request, 503, str(RebuildDue()))
    except CONNECTION_LOST as error:
        _log.error("a page failed: the database cannot be asked now: %s", type(error).__name__)
        return _error_page(request, 503, "The database cannot be asked now. Load the page again in some seconds.")
    except web.HTTPException:
        raise
    except Exception as error:  # its text may quote a value of the request
        _log.error("a page failed: %s: %s", request.match_info.route.resource, describe_failure(error))
        return _error_page(request, 500, "This should not happen; see the log.")


def _error_page(request: web.Request, status: int, sentence: str) -> web.Response:
    titles = {400: "This cannot be shown", 401: "Signed out", 403: "Not allowed", 404: "Nothing found"}
    values = {"sentence": sentence, "status_code": int(status)}
    page = Page("error.html", titles.get(int(status), "Not possible now"), values=values)
    return web.Response(text=render(request, page), content_type="text/html", status=status)


@web.middleware
async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Admit requests with a session. Others are led to the login."""
    if request.match_info.handler in request.app[KEYLESS]:
        return await handler(request)
    try:
        await admit_visitor(request)
    except BadCredentials:
        if "Authorization" in request.headers:
            raise
        return await _ask_for_login(request)
    return await handler(request)


async def _ask_for_login(request: web.Request) -> web.StreamResponse:
    """Lead to the login, and back to the page afterwards.

    A link on another site comes without the cookie, because the cookie is strict. Then the page loads itself once more.
    """
    if is_from_another_site(request):
        return web.Response(text=render(request, Page("reload.html", "Opening")), content_type="text/html")
    wanted = str(request.rel_url) if request.method == "GET" else PATH
    response = see_other(console_href("login", next=wanted if wanted.rstrip("/") != PATH else None))
    set_cookie(request, response, "")
    return response


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
