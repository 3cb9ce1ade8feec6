"""The projector beside the door: in a process of its own, so that deliveries are taken in while rows are worked out.

The two tell each other by one byte over a pipe: we, that something was appended; it, that rows have moved, so that
answers that wait for them look. The pipe is also its life: it ends when our end is closed, by stopping or by being
killed. Should it end by itself, another is started.
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
STOP_SECONDS_MAX = 5.0  # a batch under way is undone, not waited for
SIGN = b"."
SIGNS_MAX = 4096  # that were sent while nobody read: one would do

_log = logging.getLogger(__name__)


def projector_process(dsn: str) -> Callable[[web.Application], AsyncIterator[None]]:
    """Give what an application starts and stops its projector with."""

    async def project(app: web.Application) -> AsyncIterator[None]:
        supervising = asyncio.create_task(_supervise(dsn, app[APP_CONTEXT].projector))
        yield
        supervising.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervising

    return project


async def _supervise(dsn: str, watcher: Projector) -> None:
    while True:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = multiprocessing.get_context("spawn").Process(target=_project, args=(theirs, dsn), daemon=True)
            await asyncio.to_thread(process.start)
            theirs.close()
            ours.setblocking(False)
            watcher.on_append = partial(_sign, ours)
            try:
                await _listen(ours, watcher.notify)
            finally:
                watcher.on_append = None
                ours.close()
                await asyncio.shield(asyncio.to_thread(_end, process))
        _log.error("the projector ended by itself with %s; another is started", process.exitcode)
        await asyncio.sleep(RESTART_SECONDS)


def _end(process: multiprocessing.process.BaseProcess) -> None:
    process.join(STOP_SECONDS_MAX)
    process.kill()
    process.join()


async def _listen(end: socket.socket, heard: Callable[[], None]) -> None:
    """Call what was asked for whenever the other side gives a sign, until its end is closed."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while await loop.sock_recv(end, SIGNS_MAX):
            heard()


def _sign(end: socket.socket) -> None:
    """Give a sign; where nobody has read the last ones, they will do. A closed end is noticed by who listens."""
    with contextlib.suppress(OSError):
        end.send(SIGN)


def _project(end: socket.socket, dsn: str) -> None:
    """Run the projector of one process until the other side closes its end; Ctrl-C is for that side."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end.setblocking(False)
    gc.freeze()

    async def work() -> None:
        projector = Projector(dsn)
        projector.on_advance = partial(_sign, end)
        running = asyncio.create_task(projector.run())
        await _listen(end, projector.notify)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    with reduced_gc():
        uvloop.run(work())
    os._exit(0)
