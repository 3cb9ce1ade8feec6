"""Run the projector in a process of its own, so that folding does not delay deliveries.

The service and the projector signal each other by one byte over a pipe. The service signals an append. The projector
signals that rows have moved, so that waiting queries look again. The projector ends when the service's end of the pipe
closes, even if the service was killed. If the projector ends by itself, the service starts another.
"""

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial

import uvloop
from aiohttp import web

from projections.engine.worker import Projector, reduced_gc
from service.api.requests.app_context import APP_CONTEXT

RESTART_SECONDS = 1.0
STOP_SECONDS_MAX = 5.0  # an unfinished batch is rolled back, not awaited
SIGNAL = b"."
SIGNALS_PER_READ_MAX = 4096  # read at once; several unread signals mean the same as one

_log = logging.getLogger(__name__)


def projector_process(dsn: str) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a cleanup context that runs a projector process while the application runs."""

    async def project(app: web.Application) -> AsyncIterator[None]:
        supervision = asyncio.create_task(_supervise(dsn, app[APP_CONTEXT].projector))
        yield
        supervision.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervision

    return project


async def _supervise(dsn: str, watcher: Projector) -> None:
    while True:
        service_end, projector_end = socket.socketpair()
        with service_end, projector_end:
            process = multiprocessing.get_context("spawn").Process(
                target=_run_projector, args=(projector_end, dsn), daemon=True
            )
            await asyncio.to_thread(process.start)
            projector_end.close()
            service_end.setblocking(False)
            watcher.on_append = partial(_send_signal, service_end)
            try:
                await _listen(service_end, watcher.notify)
            finally:
                watcher.on_append = None
                service_end.close()
                await asyncio.shield(asyncio.to_thread(_stop_process, process))
        _log.error("the projector ended by itself with %s; another is started", process.exitcode)
        await asyncio.sleep(RESTART_SECONDS)


def _stop_process(process: multiprocessing.process.BaseProcess) -> None:
    process.join(STOP_SECONDS_MAX)
    process.kill()
    process.join()


async def _listen(pipe_end: socket.socket, on_signal: Callable[[], None]) -> None:
    """Call `on_signal` for each signal of the other side, until that side closes its end."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while await loop.sock_recv(pipe_end, SIGNALS_PER_READ_MAX):
            on_signal()


def _send_signal(pipe_end: socket.socket) -> None:
    """Send a signal. If earlier signals are still unread, they are enough. The listener notices a closed end."""
    with contextlib.suppress(OSError):
        pipe_end.send(SIGNAL)


def _run_projector(pipe_end: socket.socket, dsn: str) -> None:
    """Run the projector until the service closes its end of the pipe. Ctrl-C is left to the service."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe_end.setblocking(False)
    gc.freeze()

    async def run() -> None:
        projector = Projector(dsn)
        projector.on_advance = partial(_send_signal, pipe_end)
        task = asyncio.create_task(projector.run())
        await _listen(pipe_end, projector.notify)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    with reduced_gc():
        uvloop.run(run())
    os._exit(0)
