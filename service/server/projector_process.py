"""Run the projector in a process of its own, so that folding does not delay deliveries.

The service wakes the projector after an append. The projector wakes the service when rows have moved, so that waiting
queries look again. If the projector ends by itself, the service starts another.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from multiprocessing.connection import Connection as Pipe

import uvloop
from aiohttp import web

from ledger.background import repeat
from ledger.gc_tuning import reduced_gc
from ledger.worker_process import WorkerProcess, listen, wake
from projections.engine.progress import ProjectionProgress
from projections.engine.worker import Projector
from service.api.requests.app_context import APP_CONTEXT
from service.monitoring.logs import configure_logs
from service.monitoring.opentelemetry_tracer import install_tracer
from service.settings import Settings

RESTART_SECONDS = 1.0

_log = logging.getLogger(__name__)


def projector_process(dsn: str) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a cleanup context that runs a projector process while the application runs."""

    async def project(app: web.Application) -> AsyncIterator[None]:
        supervision = asyncio.create_task(_supervise(dsn, app[APP_CONTEXT].progress))
        yield
        supervision.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervision

    return project


async def _supervise(dsn: str, progress: ProjectionProgress) -> None:
    async def run_once() -> None:
        worker = WorkerProcess(run_projector, dsn)
        progress.on_append = partial(wake, worker.pipe)
        await worker.run(progress.notify)

    await repeat("the projector process", run_once, log=_log, retry_seconds=RESTART_SECONDS)


def run_projector(pipe: Pipe, dsn: str) -> None:
    """Run the projector in a worker process."""
    settings = Settings()
    configure_logs(settings.log)
    install_tracer(settings.traces, "projector")

    async def run() -> None:
        progress = ProjectionProgress()
        progress.on_advance = partial(wake, pipe)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen(pipe, progress.notify))
            tasks.create_task(Projector(dsn, progress).run())

    with reduced_gc():
        uvloop.run(run())
