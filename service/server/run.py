"""Start and stop the service.

Order of the stop: requests, then the deliveries that they put in the queue, then the projector.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import http_parser, web

from ledger import clock
from ledger.background import cancel, cancel_all, repeat
from ledger.credentials import is_usable
from ledger.database import CONNECTION_LOST
from ledger.errors import MasterKeyWrong, SetupWrong, Unavailable
from ledger.privacy.vault import Vault
from ledger.store.ledger_share import ALL_LEDGERS, LedgerShare
from ledger.store.registry import list_connections, list_ledgers
from ledger.store.row_macs import check_row_macs
from projections.engine import generations
from projections.engine.progress import ProjectionProgress
from projections.engine.worker import Projector
from service.background.attestation_schedule import attest_on_schedule
from service.background.erased_key_scrubber import scrub_after_erasures
from service.background.sealer import Sealer
from service.distribution import check_distribution
from service.environment import Environment, service_url
from service.monitoring.instruments import Instruments
from service.server.app import make_app
from service.server.dispatcher_process import dispatch, supervise_dispatcher
from service.server.listeners import open_sockets, start_sites
from service.server.metrics_listener import metrics_listener
from service.server.projector_process import projector_process
from service.server.protocol import ConnectionLimits, LimitedRunner
from service.settings import Settings
from service.startup_checks import check_role

RETRY_SECONDS = 1.0
KEEPALIVE_SECONDS = 15.0  # the default of aiohttp's runner is an hour
LINGERING_SECONDS = 1.0  # for reading the rest of a refused body
EXIT_SECONDS_MAX = 29.0
SHUTDOWN_SECONDS_MAX = 12.0  # for running requests; more than the longest wait for `min_position`

_log = logging.getLogger(__name__)


async def check_setup(environment: Environment) -> None:
    """Check that the service may run.

    Raises SetupWrong without aiohttp's C parser; RoleTooPowerful if a role of an external database could change the
    ledger; MasterKeyWrong if the secrets of connections cannot be decrypted.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise SetupWrong("aiohttp came without its C parser; the one in Python has let requests be smuggled")
    if not environment.embedded:
        await check_role(environment.dsn)
    async with environment.connection() as connection:
        await check_distribution(connection)
        ledgers = await list_ledgers(connection)
        checked = [await check_row_macs(connection, environment.master_key, ledger.ledger_id) for ledger in ledgers]
        if any(one.wrong for one in checked) and not any(one.valid_count for one in checked):
            raise MasterKeyWrong
        for problem in (sentence for one in checked for sentence in one.wrong):
            _log.error("%s: it is refused", problem)
        for ledger in ledgers:
            for inbound in await list_connections(connection, environment.master_key, ledger):
                if inbound.disabled_at is None and not any(is_usable(inbound.scheme, one) for one in inbound.secrets):
                    _log.warning("no delivery can be authenticated over connection %s: rotate", inbound.connection_id)


@asynccontextmanager
async def running_service(environment: Environment, host: str, port: int, *, project: bool) -> AsyncIterator[str]:
    """Run the service and yield its URL. With `project`, a projector process runs too. Port 0 means a free port.

    Raises OSError if it cannot listen there.
    """
    signer = environment.signer if project and environment.settings.seal else None
    instruments = Instruments()
    app = make_app(
        environment.dsn,
        environment.settings,
        environment.master_key,
        project=False,
        signer=signer,
        instruments=instruments,
    )
    if project:
        app.cleanup_ctx.append(projector_process(environment.dsn))
    runner = make_runner(app, environment.settings)
    await runner.setup()
    tasks = [asyncio.create_task(work) for work in _work_beside_requests(environment, project=project)]
    try:
        sockets = open_sockets(host, port)
        url = service_url(host, sockets[0].getsockname()[1])
        await start_sites(runner, sockets)
        for one in sockets:
            one.close()  # the runner has copies
        with environment.write_address_file(url):
            async with metrics_listener(environment.dsn, environment.settings, instruments):
                yield url
    finally:
        for task in tasks:
            task.cancel()
        await runner.cleanup()
        await cancel_all(tasks)


def _work_beside_requests(environment: Environment, *, project: bool) -> list[Coroutine[Any, Any, None]]:
    """Return the work of the process that needs no application."""
    dsn, settings = environment.dsn, environment.settings
    work: list[Coroutine[Any, Any, None]] = []
    if environment.postgres is not None:
        work.append(environment.postgres.supervise())
    if environment.embedded:
        work.append(scrub_after_erasures(dsn, settings.data))
    if project and settings.outgoing:
        work.append(supervise_dispatcher(dsn, environment.master_key, settings))
    return work


def make_runner(app: web.Application, settings: Settings) -> LimitedRunner:
    """Return a runner of the application with its limits."""
    return LimitedRunner(
        app,
        connections=ConnectionLimits(settings.connections_per_address, settings.proxy_networks()),
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=LINGERING_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS_MAX,
        auto_decompress=False,  # signatures cover the bytes as sent
    )


def stop_event() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets. Call it before the service is announced as up."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def run_projector(
    environment: Environment, ready: Callable[[], Awaitable[None]], share: LedgerShare = ALL_LEDGERS
) -> None:
    """Run the projector and the sealer of a share, and the dispatcher, alone until SIGTERM or SIGINT.

    Waits for a database that is not up yet. Calls `ready` when the work starts.
    """
    await _run_alone(environment, ready, lambda instruments: _projector_work(environment, instruments, share))


async def run_dispatcher(environment: Environment, ready: Callable[[], Awaitable[None]]) -> None:
    """Send outgoing webhooks alone until SIGTERM or SIGINT. Waits for a database that is not up yet."""
    await _run_alone(environment, ready, lambda _: _dispatcher_work(environment))


async def _run_alone(
    environment: Environment,
    ready: Callable[[], Awaitable[None]],
    work: Callable[[Instruments], list[Coroutine[Any, Any, None]]],
) -> None:
    stop_wait = asyncio.create_task(stop_event().wait())
    preparation = asyncio.create_task(_wait_until_prepared(environment))
    await asyncio.wait((preparation, stop_wait), return_when=asyncio.FIRST_COMPLETED)
    if stop_wait.done():
        await cancel(preparation)
        return
    preparation.result()
    await ready()
    instruments = Instruments()
    async with metrics_listener(environment.dsn, environment.settings, instruments):
        await _run_until(stop_wait, work(instruments))


def _projector_work(
    environment: Environment, instruments: Instruments, share: LedgerShare
) -> list[Coroutine[Any, Any, None]]:
    dsn, settings = environment.dsn, environment.settings
    work = [Projector(dsn, ProjectionProgress(), share).run(), clock.follow_database_clock(dsn)]
    if settings.seal:
        work.append(Sealer(dsn, environment.signer, settings, instruments, share).run())
    if settings.attest_hours:
        work.append(attest_on_schedule(dsn, Vault(environment.master_key), settings.attest_hours, share))
    if settings.outgoing:
        work.append(supervise_dispatcher(dsn, environment.master_key, settings))
    return work


def _dispatcher_work(environment: Environment) -> list[Coroutine[Any, Any, None]]:
    dsn, settings = environment.dsn, environment.settings
    return [dispatch(dsn, environment.master_key, settings), clock.follow_database_clock(dsn)]


async def _run_until(stop_wait: "asyncio.Task[Any]", work: list[Coroutine[Any, Any, None]]) -> None:
    """Run background work until `stop_wait` is done. Raises the error of a task that failed."""
    tasks = [asyncio.create_task(one) for one in work]
    await asyncio.wait((*tasks, stop_wait), return_when=asyncio.FIRST_COMPLETED)
    exit_timer = exit_at_last()
    failed = [task for task in tasks if task.done()]  # these tasks never return, so a finished task has failed
    stop_wait.cancel()
    await cancel_all([task for task in tasks if not task.done()])
    exit_timer.cancel()
    for task in failed:
        task.result()


def exit_at_last() -> threading.Timer:
    """Start a timer that ends the process after EXIT_SECONDS_MAX, even if something hangs. The caller cancels it."""

    def end() -> None:
        _log.error("stopping takes longer than %g s: the process is ended as it is", EXIT_SECONDS_MAX)
        os._exit(1)

    timer = threading.Timer(EXIT_SECONDS_MAX, end)
    timer.daemon = True
    timer.start()
    return timer


async def _wait_until_prepared(environment: Environment) -> None:
    """Wait until the database is up and has a generation. Raises SetupWrong if waiting would not help."""

    async def prepare() -> bool:
        async with environment.connection() as connection:
            await check_distribution(connection)
            await generations.ensure_active_generation(connection)
        return True

    errors = (Unavailable, *CONNECTION_LOST)
    await repeat("the start", prepare, log=_log, retry_seconds=RETRY_SECONDS, errors=errors)
