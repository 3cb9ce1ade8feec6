"""Middleware that answers every error with a problem document."""

import asyncio
import logging

import asyncpg
from aiohttp import web
from aiohttp.typedefs import Handler

from ledger.background import LogThrottle
from ledger.database import CONNECTION_LOST
from ledger.errors import LedgerError, LedgerMoved, RebuildDue, RequestInvalid
from ledger.failures import describe_failure
from projections.engine import generations
from service.api.problems import (
    BODY_TOO_SLOW,
    DATABASE_UNAVAILABLE,
    EXPECTATION_UNKNOWN,
    INTERNAL_ERROR,
    METHOD_UNKNOWN,
    PATH_UNKNOWN,
    problem_of_status,
)
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.bodies import EXPECTS_CONTINUE
from service.api.responses import error_response, problem_response
from service.server.routes import path_hint

WEBHOOKS_PREFIX = "/v1/hooks/"  # a delivery in the queue is appended even if the client leaves

_log = logging.getLogger(__name__)
_outages = LogThrottle(_log)


@web.middleware
async def explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into problem documents. They quote nothing of the request. An address with many is delayed."""
    response = await _handle_explained(request, handler)
    context = request.app.get(APP_CONTEXT)  # the witness has none
    if response.status >= 400 and context is not None:
        await context.refusal_delay.wait(request, response.status)
    return response


async def _handle_explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if request.get(EXPECTS_CONTINUE) is False:
            return problem_response(EXPECTATION_UNKNOWN)
        return await _handle(request, handler)
    except LedgerMoved as error:
        response = error_response(error)
        response.headers["Location"] = f"{error.url}{request.path_qs}"
        return response
    except LedgerError as error:
        return error_response(error)
    except web.HTTPNotFound:
        return problem_response(PATH_UNKNOWN, path_hint(request.path))
    except web.HTTPException as error:
        return _http_error_response(error)
    except (asyncpg.DataError, asyncpg.CharacterNotInRepertoireError, OverflowError):
        return error_response(RequestInvalid())
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        _log.error("a query needs a table that the active generation lacks: %s", request.match_info.route.resource)
        return error_response(RebuildDue())
    except CONNECTION_LOST as error:
        return _outage_response(request, error)
    except Exception as error:
        # The text of an exception may quote a value of the request. So only its type and place are logged.
        _log.error("a request failed: %s: %s", request.match_info.route.resource, describe_failure(error))
        if await _is_rebuild_due(request):  # rows of another version lack columns that this version reads
            return error_response(RebuildDue())
        return problem_response(INTERNAL_ERROR)


async def _handle(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handle a request. When the client leaves, a query is cancelled, in the database too. A change is completed."""
    if request.method in ("GET", "HEAD") or request.path.startswith(WEBHOOKS_PREFIX):
        return await handler(request)
    change = asyncio.ensure_future(handler(request))
    change.add_done_callback(_retrieve_exception)
    return await asyncio.shield(change)


def _retrieve_exception(change: "asyncio.Future[web.StreamResponse]") -> None:
    """Mark an exception as retrieved, so that asyncio does not log its text after the client has left."""
    if not change.cancelled():
        change.exception()


def _http_error_response(error: web.HTTPException) -> web.Response:
    """Answer an error that aiohttp raises. Its own text may quote the request."""
    if "Allow" not in error.headers:
        return problem_response(problem_of_status(error.status))
    allowed = error.headers["Allow"]
    response = problem_response(METHOD_UNKNOWN, f"This path takes {allowed.replace(',', ', ')}.")
    response.headers["Allow"] = allowed
    return response


def _outage_response(request: web.Request, error: BaseException) -> web.Response:
    """Answer for a lost connection, of the client or of the database."""
    if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
        return problem_response(BODY_TOO_SLOW)  # the client has left, so nobody receives it
    _outages.error("database", "the database cannot be asked now: %s", type(error).__name__)
    return problem_response(DATABASE_UNAVAILABLE)


async def _is_rebuild_due(request: web.Request) -> bool:
    try:
        async with request.app[APP_CONTEXT].service_pool.acquire() as connection:
            return bool(await generations.rebuild_due(connection))
    except (*CONNECTION_LOST, LedgerError):
        return False
