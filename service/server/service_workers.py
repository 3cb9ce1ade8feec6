"""Several service processes behind one address: `loyalty serve --workers`.

The parent opens the listening sockets, and hands them to every worker. It serves nothing itself. It runs what is needed
once: the projector process, the dispatcher process, the sealer, erasures, and metrics of the database.

Invariant: the sockets are open as long as the parent runs. A connection that nobody has accepted yet is accepted by
another worker, so a worker is replaced without a refused connection.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, NamedTuple

import uvloop
from aiohttp import web

from ledger import clock
from ledger.background import cancel, cancel_all, repeat
from ledger.gc_tuning import freeze_loaded_objects
from ledger.privacy.vault import Vault
from ledger.worker_process import WorkerProcess, listen, wake
from service.api.requests.app_context import APP_CONTEXT
from service.background.attestation_schedule import attest_on_schedule
from service.background.erased_key_scrubber import scrub_after_erasures
from service.background.sealer import Sealer
from service.environment import Environment, load_settings, open_environment, service_url
from service.monitoring.instruments import Instruments
from service.monitoring.logs import configure_logs
from service.monitoring.opentelemetry_tracer import install_tracer
from service.operations.erase import erase_on_request
from service.server.app import make_app
from service.server.dispatcher_process import supervise_dispatcher
from service.server.listeners import open_sockets, start_sites
from service.server.metrics_listener import metrics_listener
from service.server.projector_process import run_projector
from service.server.run import EXIT_SECONDS_MAX, exit_at_last, make_runner

RESTART_SECONDS = 1.0
DRAIN_SECONDS = 1.0  # for requests on connections that were accepted just before, or are kept alive
START_SECONDS_MAX = 60.0  # for a worker that replaces another one

_log = logging.getLogger(__name__)


class WorkerSlot(NamedTuple):
    """One place for a worker. Its task starts another worker whenever one ends by itself."""

    task: "asyncio.Task[None]"
    ready: asyncio.Event


class ServiceWorkers:
    """Runs the workers, wakes them and the projector for each other, and replaces them one by one."""

    def __init__(self, data: Path | None, sockets: list[socket.socket], count: int) -> None:
        self._data, self._sockets, self._count = data, sockets, count
        self._slots: list[WorkerSlot] = []
        self._pipes: set[Pipe] = set()
        self._projector: Pipe | None = None

    async def start(self) -> None:
        """Start all workers, and wait until each accepts connections."""
        self._slots = [self._start_slot(number) for number in range(1, self._count + 1)]
        await asyncio.gather(*(slot.ready.wait() for slot in self._slots))

    async def reload(self) -> None:
        """Replace the workers, one after the other. An old worker finishes its requests when the new one is ready.

        If a new worker does not get ready, the old ones go on.
        """
        for index, old in enumerate(self._slots):
            fresh = self._start_slot(index + 1)
            try:
                async with asyncio.timeout(START_SECONDS_MAX):
                    await fresh.ready.wait()
            except BaseException as error:
                await cancel(fresh.task)
                if not isinstance(error, TimeoutError):
                    raise
                _log.error("a new worker does not get ready: the others stay as they are")
                return
            self._slots[index] = fresh
            await cancel(old.task)

    async def stop(self) -> None:
        """Let all workers finish their requests, and end them."""
        await asyncio.gather(*(cancel(slot.task) for slot in self._slots))

    def _start_slot(self, number: int) -> WorkerSlot:
        ready = asyncio.Event()

        def on_wake() -> None:
            ready.set()  # the first time
            if self._projector is not None:
                wake(self._projector)

        async def run_once() -> None:
            worker = WorkerProcess(serve_sockets, self._data, number, self._sockets, graceful_seconds=EXIT_SECONDS_MAX)
            self._pipes.add(worker.pipe)
            try:
                await worker.run(on_wake)
            finally:
                self._pipes.discard(worker.pipe)

        name = f"service worker {number}"
        return WorkerSlot(asyncio.create_task(repeat(name, run_once, log=_log, retry_seconds=RESTART_SECONDS)), ready)

    async def run_projector(self, dsn: str) -> None:
        """Run a projector process until cancelled. It is woken by appends, and wakes the workers."""

        def wake_workers() -> None:
            for pipe in self._pipes:
                wake(pipe)

        async def run_once() -> None:
            worker = WorkerProcess(run_projector, dsn)
            self._projector = worker.pipe
            await worker.run(wake_workers)

        await repeat("the projector process", run_once, log=_log, retry_seconds=RESTART_SECONDS)


@contextlib.asynccontextmanager
async def running_workers(
    environment: Environment, host: str, port: int, *, data: Path | None, project: bool, count: int
) -> AsyncIterator[tuple[str, Callable[[], Awaitable[None]]]]:
    """Run `count` workers. Yield the URL, and the function that replaces the workers. Port 0 means a free port.

    With `data`, the workers read the settings as `load_settings` does. Raises OSError if it cannot listen there.
    """
    sockets = open_sockets(host, port)
    workers = ServiceWorkers(data, sockets, count)
    instruments = Instruments()
    tasks = [asyncio.create_task(one) for one in _work_of_parent(environment, workers, instruments, project=project)]
    try:
        async with metrics_listener(environment.dsn, environment.settings, instruments):
            await workers.start()
            url = service_url(host, sockets[0].getsockname()[1])
            with environment.write_address_file(url):
                yield url, workers.reload
    finally:
        await workers.stop()
        await cancel_all(tasks)
        for one in sockets:
            one.close()


def _work_of_parent(
    environment: Environment, workers: ServiceWorkers, instruments: Instruments, *, project: bool
) -> list[Coroutine[Any, Any, None]]:
    """Return the work that is needed once, however many workers there are."""
    dsn, settings, vault = environment.dsn, environment.settings, Vault(environment.master_key)
    work: list[Coroutine[Any, Any, None]] = [clock.follow_database_clock(dsn)]
    if environment.postgres is not None:
        work += [environment.postgres.supervise(), scrub_after_erasures(dsn, settings.data)]
    if settings.erase_on_request:
        work.append(erase_on_request(dsn, vault))
    if project:
        work.append(workers.run_projector(dsn))
        if settings.seal:
            work.append(Sealer(dsn, environment.signer, settings, instruments).run())
        if settings.attest_hours:
            work.append(attest_on_schedule(dsn, vault, settings.attest_hours))
        if settings.outgoing:
            work.append(supervise_dispatcher(dsn, environment.master_key, settings))
    return work


def serve_sockets(pipe: Pipe, data: Path | None, number: int, sockets: list[socket.socket]) -> None:
    """Serve in a worker process until the parent closes the pipe. Then finish the requests that run."""
    settings = load_settings(data)
    configure_logs(settings.log, access=settings.access_log)
    provider = install_tracer(settings.traces, "serve")
    with open_environment(settings) as environment:
        uvloop.run(_serve(pipe, environment, number, sockets))
    if provider is not None:
        provider.shutdown()


async def _serve(pipe: Pipe, environment: Environment, number: int, sockets: list[socket.socket]) -> None:
    settings = environment.settings.model_copy(update={"erase_on_request": False})  # the parent does
    instruments = Instruments()
    app = make_app(environment.dsn, settings, environment.master_key, project=False, instruments=instruments)
    draining = asyncio.Event()

    async def close_if_draining(_request: web.Request, response: web.StreamResponse) -> None:
        if draining.is_set():
            response.force_close()

    app.on_response_prepare.append(close_if_draining)
    runner = make_runner(app, settings)
    await runner.setup()
    progress = app[APP_CONTEXT].progress
    progress.on_append = partial(wake, pipe)
    try:
        await start_sites(runner, sockets)
        async with metrics_listener(environment.dsn, settings, instruments, worker=number):
            freeze_loaded_objects()
            wake(pipe)
            await listen(pipe, progress.notify)
    finally:
        exit_timer = exit_at_last()
        draining.set()
        for site in list(runner.sites):
            await site.stop()
        await asyncio.sleep(DRAIN_SECONDS)
        await runner.cleanup()
        exit_timer.cancel()
