"""Run the dispatcher of outgoing webhooks in a process of its own, so that a slow receiver delays no delivery.

The process starts when a first endpoint exists: a service without endpoints pays nothing for them.
"""

import asyncio
import logging
from multiprocessing.connection import Connection as Pipe

import uvloop

from ledger import clock
from ledger.background import cancel, keep_connected, repeat
from ledger.database import Connection
from ledger.privacy.encryption import MasterKey
from ledger.worker_process import WorkerProcess, listen
from service.monitoring.logs import configure_logs
from service.outgoing.dispatcher import Dispatcher
from service.settings import Settings

RESTART_SECONDS = 1.0
LOOK_SECONDS = 1.0
HAS_ENDPOINTS = "SELECT EXISTS (SELECT FROM outgoing.endpoints WHERE disabled_at IS NULL)"

_log = logging.getLogger(__name__)


async def supervise_dispatcher(dsn: str, master_key: MasterKey, settings: Settings) -> None:
    """Run a dispatcher process as soon as there is an endpoint, until cancelled. One that ends is replaced."""
    await _wait_for_endpoint(dsn)

    async def run_once() -> None:
        worker = WorkerProcess(run_dispatcher, dsn, master_key, settings)
        await worker.run(lambda: None)

    await repeat("the dispatcher process", run_once, log=_log, retry_seconds=RESTART_SECONDS)


async def _wait_for_endpoint(dsn: str) -> None:
    found = asyncio.Event()

    async def look(connection: Connection) -> None:
        if await connection.fetchval(HAS_ENDPOINTS):
            found.set()

    looking = asyncio.create_task(
        keep_connected(
            "outgoing webhooks",
            dsn,
            look,
            log=_log,
            retry_seconds=LOOK_SECONDS,
            pause_seconds=LOOK_SECONDS,
            search_path="pg_catalog",
        )
    )
    try:
        await found.wait()
    finally:
        await cancel(looking)


def run_dispatcher(pipe: Pipe, dsn: str, master_key: MasterKey, settings: Settings) -> None:
    """Run the dispatcher in a worker process."""
    configure_logs(settings.log)

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen(pipe, lambda: None))
            tasks.create_task(clock.follow_database_clock(dsn))
            tasks.create_task(dispatch(dsn, master_key, settings))

    uvloop.run(run())


async def dispatch(dsn: str, master_key: MasterKey, settings: Settings) -> None:
    """Send outgoing webhooks until cancelled."""
    dispatcher = Dispatcher(
        dsn, master_key, destinations=settings.allowed_destinations(), failing_days_max=settings.outgoing_days
    )
    await dispatcher.run()
