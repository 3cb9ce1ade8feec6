"""The aiohttp application: routes, response headers, start and stop of everything that runs in the process."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from ledger import clock
from ledger.background import cancel_all, repeat
from ledger.database import connect
from ledger.parsing import BODY_BYTES_MAX
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.transparency.signer import Signer
from projections.engine import generations
from projections.engine.progress import ProjectionProgress
from projections.engine.worker import Projector, watch_positions
from service.api.accounts import ACCOUNT_LOADER, ACCOUNT_NOW
from service.api.outgoing.stream import STREAMS, end_streams
from service.api.requests.app_context import APP_CONTEXT, AppContext
from service.background.appender import Appender
from service.background.attestation_schedule import attest_on_schedule
from service.background.sealer import Sealer
from service.console.app import make_console
from service.monitoring.instruments import Instruments
from service.operations.erase import erase_on_request
from service.queries.batch_loader import BatchLoader
from service.queries.reader_pool import ReaderPool
from service.server.error_responses import explain_errors
from service.server.observe_request import INSTRUMENTS, add_request_id, observe_request
from service.server.routes import ROUTES
from service.settings import Settings

RETRY_SECONDS = 1.0
DRAIN_SECONDS_MAX = 4.0  # for deliveries whose senders have left

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Server": "loyalty",
}
KEPT = ("Cache-Control", "Content-Security-Policy")

_log = logging.getLogger(__name__)


def make_app(
    dsn: str,
    settings: Settings,
    master_key: MasterKey,
    *,
    project: bool = True,
    signer: Signer | None = None,
    instruments: Instruments | None = None,
) -> web.Application:
    """Return the application over a migrated database.

    With `project`, the projector runs in this process too. With a signer, the sealer does.
    """
    app = web.Application(middlewares=[observe_request, explain_errors], client_max_size=BODY_BYTES_MAX)
    app[INSTRUMENTS] = instruments = instruments or Instruments()
    app.router.add_routes(ROUTES)
    app[STREAMS] = {}
    app.on_shutdown.append(end_streams)
    app.on_response_prepare.append(add_headers)
    app.on_response_prepare.append(add_request_id)
    console = make_console(master_key) if settings.console else None
    if console is not None:
        app.add_subapp("/console", console)

    async def run_in_background(app: web.Application) -> AsyncIterator[None]:
        context = await _open_context(dsn, settings, master_key, instruments)
        context.signer = signer
        app[APP_CONTEXT] = context
        if console is not None:
            console[APP_CONTEXT] = context
        app[ACCOUNT_LOADER] = BatchLoader(context.reader_pool, ACCOUNT_NOW, name_column="account_id")
        tasks = _start_tasks(context, project=project, signer=signer)
        yield
        await _stop(context, tasks)

    app.cleanup_ctx.append(run_in_background)
    return app


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """Add HEADERS to a response, also to a streamed one. Values of KEPT that the handler set are kept."""
    for name, value in HEADERS.items():
        if name not in KEPT or name not in response.headers:
            response.headers[name] = value


async def _open_context(dsn: str, settings: Settings, master_key: MasterKey, instruments: Instruments) -> AppContext:
    """Open the pools at the active generation."""
    service_pool = ReaderPool(dsn, settings.pool_size)
    reader_pool = ReaderPool(dsn, settings.pool_size, role="loyalty_reader")
    progress = ProjectionProgress()
    connection = await connect(dsn)
    await clock.CLOCK.compare(connection)
    await generations.ensure_active_generation(connection)
    generation = (await generations.active_generation(connection)).generation
    await service_pool.enter(generation)
    await reader_pool.enter(generation)
    await progress.set_reader_generation(generation)
    await connection.close()
    vault = Vault(master_key)
    appender = Appender(dsn, vault, progress.notify_appended, instruments)
    return AppContext(dsn, settings, service_pool, reader_pool, master_key, vault, appender, progress, instruments)


def _start_tasks(context: AppContext, *, project: bool, signer: Signer | None) -> list[asyncio.Task[None]]:
    """Start the background work of the process. Each task runs until it is cancelled."""
    dsn, settings, vault, progress = context.dsn, context.settings, context.vault, context.progress
    tasks = [asyncio.create_task(context.appender.run()), asyncio.create_task(clock.follow_database_clock(dsn))]
    if settings.erase_on_request:
        tasks.append(asyncio.create_task(erase_on_request(dsn, vault)))
    if (project or signer is not None) and settings.attest_hours:
        tasks.append(asyncio.create_task(attest_on_schedule(dsn, vault, settings.attest_hours)))
    tasks.append(asyncio.create_task(Projector(dsn, progress).run() if project else watch_positions(dsn, progress)))
    tasks.append(asyncio.create_task(follow_promotions(context)))
    tasks.append(asyncio.create_task(context.memory_limit.watch()))
    tasks.append(asyncio.create_task(context.overload.loop_lag.measure()))
    if signer is not None:
        tasks.append(asyncio.create_task(Sealer(dsn, signer, settings, context.instruments).run()))
    return tasks


async def _stop(context: AppContext, tasks: list[asyncio.Task[None]]) -> None:
    """End the background work. Deliveries in the queue are still appended, for DRAIN_SECONDS_MAX."""
    await cancel_all(tasks)
    if context.rebuild_task is not None:
        await cancel_all([context.rebuild_task])  # the next rebuild resumes it
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS_MAX):
            await context.appender.drain()
    context.large_bodies.close()
    await asyncio.gather(context.service_pool.close(), context.reader_pool.close())


async def follow_promotions(context: AppContext) -> None:
    """Switch the pools to another generation as soon as it is promoted. Runs until it is cancelled."""

    async def follow_next() -> None:
        generation = await context.progress.wait_for_promotion(context.reader_pool.generation)
        await context.service_pool.enter(generation)
        await context.reader_pool.enter(generation)
        await context.progress.set_reader_generation(generation)

    await repeat("following a promotion", follow_next, log=_log, retry_seconds=RETRY_SECONDS)
