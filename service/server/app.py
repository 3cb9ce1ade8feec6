"""Put the house together: routes, what every answer carries, start and stop."""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator

import asyncpg
from aiohttp import web
from aiohttp.typedefs import Handler

from ledger import clock
from ledger.background import LogThrottle, cancel_all
from ledger.database import CONNECTION_LOST, connect
from ledger.errors import LedgerError, RebuildDue
from ledger.failures import failure
from ledger.parsing import BODY_BYTES_MAX
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.transparency.signer import Signer
from projections.engine import generations
from projections.engine.worker import Projector
from service.api import (
    accounts,
    adjustments,
    audit,
    claims,
    conflict_policies,
    customers,
    events,
    finance,
    health,
    lapses,
    orders,
    periods,
    programmes,
    proofs,
    reconciliation,
    subjects,
    tlog,
    webhooks,
)
from service.api import generations as generations_window
from service.api.requests.app_context import APP_CONTEXT, AppContext
from service.api.requests.bodies import EXPECTS_CONTINUE
from service.api.responses import problem_response, status_response
from service.background.appender import Appender
from service.background.attestation_schedule import attest_on_schedule
from service.background.sealer import Sealer
from service.operations.erase import erase_on_request
from service.queries.batch_loader import BatchLoader
from service.queries.reader_pool import ReaderPool
from service.settings import Settings

RETRY_SECONDS = 1.0
DRAIN_SECONDS_MAX = 4.0  # for deliveries whose senders have left
HOOKS = "/v1/hooks/"  # what was put on the queue is appended whether or not the client waits

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Server": "loyalty",
}

ROUTES = [
    *webhooks.ROUTES,
    *customers.ROUTES,
    *accounts.ROUTES,
    *programmes.ROUTES,
    *lapses.ROUTES,
    *finance.ROUTES,
    *periods.ROUTES,
    *adjustments.ROUTES,
    *claims.ROUTES,
    *events.ROUTES,
    *orders.ROUTES,
    *reconciliation.ROUTES,
    *conflict_policies.ROUTES,
    *generations_window.ROUTES,
    *audit.ROUTES,
    *health.ROUTES,
    *proofs.ROUTES,
    *tlog.ROUTES,
    *subjects.ROUTES,
]

# As README writes them, without the patterns of their parts.
PATHS = sorted({re.sub(r"\{(\w+):[^/]*\}", r"{\1}", route.path) for route in ROUTES})


_log = logging.getLogger(__name__)
_outages = LogThrottle(_log)


@web.middleware
async def explain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what goes wrong into problem documents; nothing of the request stands in them."""
    try:
        if request.get(EXPECTS_CONTINUE) is False:
            raise web.HTTPExpectationFailed(reason="Only 100-continue can be expected")
        response: web.StreamResponse = await _handled(request, handler)
    except LedgerError as error:
        response = problem_response(error)
    except web.HTTPNotFound:
        response = status_response(404, path_hint(request.path))
    except web.HTTPException as refused:
        response = status_response(refused.status, refused.reason)
        if "Allow" in refused.headers:
            allowed = refused.headers["Allow"]
            response = status_response(refused.status, f"This path takes {allowed.replace(',', ', ')}.")
            response.headers["Allow"] = allowed
    except (asyncpg.DataError, asyncpg.CharacterNotInRepertoireError, OverflowError):
        response = status_response(400, "A value in the request is none that can be asked for.")
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        _log.error("a question asks for what the active generation has not: %s", request.match_info.route.resource)
        response = problem_response(RebuildDue())
    except CONNECTION_LOST as error:
        if isinstance(error, ConnectionError) and _has_left(request):
            return status_response(400, "The client has left.")  # which nobody receives
        _outages.error("database", "the database cannot be asked now: %s", type(error).__name__)
        response = status_response(503, "The database cannot be asked now.")
        response.headers["Retry-After"] = "5"
    except Exception as error:
        # What an exception says may quote a value of the request, so only its type and where it was raised are told.
        _log.error("a request failed: %s: %s", request.match_info.route.resource, failure(error))
        response = status_response(500, "This should not happen; the log says more.")
        if await _is_rebuild_due(request):  # rows of another version lack what is asked of them
            response = problem_response(RebuildDue())
    return response


async def _handled(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handle a request. When the client leaves, a question is given up, in the database too. What changes
    something is finished."""
    if request.method in ("GET", "HEAD") or request.path.startswith(HOOKS):
        return await handler(request)
    work = asyncio.ensure_future(handler(request))
    work.add_done_callback(_take_exception)
    return await asyncio.shield(work)


def _take_exception(work: "asyncio.Future[web.StreamResponse]") -> None:
    """Note that an exception was seen, so that asyncio does not log what it says when the client has left."""
    if not work.cancelled():
        work.exception()


def _has_left(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def path_hint(path: str) -> str:
    """Return a hint for a path that there is not: the paths that begin alike, told by our own names only."""
    begin = path.split("/")[1:3]
    near = [one for one in PATHS if begin[1:] and one.split("/")[1:3] == begin]
    if near:
        return f"There is nothing at this path. There is: {', '.join(near)}."
    first = sorted({"/".join(one.split("/")[:3]) for one in PATHS})
    return f"There is nothing at this path. Paths begin with one of: {', '.join(first)}."


async def _is_rebuild_due(request: web.Request) -> bool:
    try:
        async with request.app[APP_CONTEXT].pool.acquire() as connection:
            return bool(await generations.rebuild_due(connection))
    except (*CONNECTION_LOST, LedgerError):
        return False


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Send HEADERS with every answer, also with one that is sent while it is made."""
    kept = response.headers.get("Cache-Control")
    response.headers.update(HEADERS)
    if kept is not None:  # what is immutable may be kept by caches, and says so
        response.headers["Cache-Control"] = kept


async def follow_promotions(house: AppContext) -> None:
    """Let readers see another generation as soon as it is promoted, for as long as the service runs."""
    while True:
        generation = await house.projector.wait_for_promotion(house.reading.generation)
        try:
            await house.pool.enter(generation)
            await house.reading.enter(generation)
        except (*CONNECTION_LOST, asyncpg.InvalidSchemaNameError) as error:
            _log.warning("readers stay with their generation: %s", type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            await house.projector.set_reader_generation(generation)


def make_app(
    dsn: str, settings: Settings, master_key: MasterKey, *, project: bool = True, signer: Signer | None = None
) -> web.Application:
    """Make the application over a migrated database; with `project`, the projector runs in it too, and with a signer
    the sealer."""
    app = web.Application(middlewares=[explain_errors], client_max_size=BODY_BYTES_MAX)
    app.router.add_routes(ROUTES)
    app.on_response_prepare.append(add_headers)

    async def live_in(app: web.Application) -> AsyncIterator[None]:
        pool = ReaderPool(dsn, settings.pool_size)
        reading = ReaderPool(dsn, settings.pool_size, role="loyalty_reader")
        projector = Projector(dsn)
        connection = await connect(dsn)
        await clock.CLOCK.compare(connection)
        await generations.ensure_active_generation(connection)
        generation = (await generations.active_generation(connection)).generation
        await pool.enter(generation)
        await reading.enter(generation)
        await projector.set_reader_generation(generation)
        await connection.close()
        vault = Vault(master_key)
        appender = Appender(dsn, vault, projector.notify_appended)
        app[APP_CONTEXT] = AppContext(dsn, settings, pool, reading, master_key, vault, appender, projector)
        app[accounts.NOW] = BatchLoader(reading, accounts.ACCOUNT_NOW, named="account_id")
        tasks = [asyncio.create_task(appender.run()), asyncio.create_task(clock.follow(dsn))]
        if settings.erase_on_request:
            tasks.append(asyncio.create_task(erase_on_request(dsn, vault)))
        if (project or signer is not None) and settings.attest_hours:
            tasks.append(asyncio.create_task(attest_on_schedule(dsn, vault, settings.attest_hours)))
        tasks.append(asyncio.create_task(projector.run() if project else projector.watch()))
        tasks.append(asyncio.create_task(follow_promotions(app[APP_CONTEXT])))
        if signer is not None:
            tasks.append(asyncio.create_task(Sealer(dsn, signer, settings).run()))
        yield
        await cancel_all(tasks)
        rebuilding = app[APP_CONTEXT].rebuilding
        if rebuilding is not None:
            await cancel_all([rebuilding])  # what it has filled is kept, and gone on with by the next one
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS_MAX):
                await appender.drain()
        app[APP_CONTEXT].large.close()
        await asyncio.gather(pool.close(), reading.close())

    app.cleanup_ctx.append(live_in)
    return app
