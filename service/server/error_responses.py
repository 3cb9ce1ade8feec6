"""Middleware that answers every error with a problem document."""

import asyncio
import logging

import asyncpg
from aiohttp import web
from aiohttp.typedefs import Handler

from ledger.background import LogThrottle
from ledger.database import CONNECTION_LOST
from ledger.errors import LedgerError, RebuildDue
from ledger.failures import describe_failure
from projections.engine import generations
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.bodies import EXPECTS_CONTINUE
from service.api.responses import problem_response, status_response
from service.server.routes import path_hint

WEBHOOKS_PREFIX = "/v1/hooks/"  # a delivery in the queue is appended even if the client leaves

_log = logging.getLogger(__name__)
_outages = LogThrottle(_log)


@web.middleware
async def explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into problem documents. They quote nothing of the request. An address with many is delayed."""
    response = await _handle_explained(request, handler)
    if response.status >= 400:
        await request.app[APP_CONTEXT].refusal_delay.wait(request, response.status)
    return response


async def _handle_explained(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        if request.get(EXPECTS_CONTINUE) is False:
            raise web.HTTPExpectationFailed(reason="Only 100-continue can be expected")
        return await _handle(request, handler)
    except LedgerError as error:
        return problem_response(error)
    except web.HTTPNotFound:
        return status_response(404, path_hint(request.path))
    except web.HTTPException as error:
        return _http_error_response(error)
    except (asyncpg.DataError, asyncpg.CharacterNotInRepertoireError, OverflowError):
        return status_response(400, "A request parameter has an invalid value.")
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        _log.error("a query needs a table that the active generation lacks: %s", request.match_info.route.resource)
        return problem_response(RebuildDue())
    except CONNECTION_LOST as error:
        return _outage_response(request, error)
    except Exception as error:
        # The text of an exception may quote a value of the request. So only its type and place are logged.
        _log.error("a request failed: %s: %s", request.match_info.route.resource, describe_failure(error))
        if await _is_rebuild_due(request):  # rows of another version lack columns that this version reads
            return problem_response(RebuildDue())
        return status_response(500, "This should not happen; the log says more.")


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
    if "Allow" not in error.headers:
        return status_response(error.status, error.reason)
    allowed = error.headers["Allow"]
    response = status_response(error.status, f"This path takes {allowed.replace(',', ', ')}.")
    response.headers["Allow"] = allowed
    return response


def _outage_response(request: web.Request, error: BaseException) -> web.Response:
    """Answer for a lost connection, of the client or of the database."""
    if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
        return status_response(400, "The client has left.")  # nobody receives it
    _outages.error("database", "the database cannot be asked now: %s", type(error).__name__)
    response = status_response(503, "The database cannot be asked now.")
    response.headers["Retry-After"] = "5"
    return response


async def _is_rebuild_due(request: web.Request) -> bool:
    try:
        async with request.app[APP_CONTEXT].service_pool.acquire() as connection:
            return bool(await generations.rebuild_due(connection))
    except (*CONNECTION_LOST, LedgerError):
        return False
