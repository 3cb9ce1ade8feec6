"""Workers of a rebuild on a Dask cluster.

Dask may run a task twice, or run the task of a dead worker elsewhere. Both are harmless, because a work item is claimed
in its own transaction (projections/rebuild/work_items.py). Without TLS, anyone who
reaches a scheduler can run programs on its workers. So an address without TLS must be on this host.
"""

import asyncio
import ssl
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from importlib import import_module
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from ledger import spans
from ledger.errors import LedgerError, SchedulerUnreachable, SetupWrong, WorkerEnded, WorkerRefused
from projections.rebuild.pipeline import MakeWorkers
from projections.rebuild.work_items import WorkItem
from projections.rebuild.workers import OnItemDone
from service.cluster.rebuild_part import process_part

CONNECT_SECONDS_MAX = 30.0
WORKERS_SECONDS_MAX = 60.0  # until the first worker must be connected to the scheduler
PARTS_SENT_MAX = 256  # at the scheduler or at work; each is one of some seconds

CERTIFICATES_MISSING = (
    "tls:// needs certificates: set DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT "
    "and DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY to files"
)


class DaskWorkers:
    """The workers of a cluster, for one fill of a generation."""

    def __init__(self, executor: Executor, killed_error: type[Exception], schema: str, fill_id: str) -> None:
        self._executor, self._killed_error = executor, killed_error
        self._schema, self._fill_id = schema, fill_id

    async def process(self, stage: str, items: Sequence[WorkItem], on_done: OnItemDone) -> None:
        """Send the items to the cluster, and wait for their results. Raises WorkerEnded, WorkerRefused, PartFailed,
        SchedulerUnreachable."""
        slots = asyncio.Semaphore(PARTS_SENT_MAX)

        async def send(item: WorkItem) -> None:
            async with slots:
                with spans.span("rebuild part", stage=stage, number=item.number, size=item.size):
                    is_done_there = await self._run(stage, item.number)
            if is_done_there:
                on_done(item)

        sending = [asyncio.create_task(send(item)) for item in items]
        try:
            await asyncio.gather(*sending)
        finally:
            for task in sending:
                task.cancel()
            await asyncio.wait(sending)

    async def stop(self) -> None:
        """Do nothing: the scheduler replaces workers."""

    async def _run(self, stage: str, number: int) -> bool:
        future = self._executor.submit(process_part, self._schema, self._fill_id, stage, number)
        result = asyncio.wrap_future(future)
        try:
            await asyncio.wait([result])
        except asyncio.CancelledError:
            future.cancel()
            raise
        if result.cancelled():  # Dask cancels all futures when it has lost the scheduler
            raise SchedulerUnreachable
        error = result.exception()
        if error is None:
            return result.result()
        if isinstance(error, LedgerError):
            raise error
        if isinstance(error, self._killed_error):
            raise WorkerEnded
        # Not from our task, so Dask could not load the task on the scheduler or on a worker.
        reason = f"{type(error).__name__}: install this version of Loyalty Ledger for the scheduler and each worker"
        raise WorkerRefused(reason)


@contextmanager
def open_cluster(address: str) -> Iterator[MakeWorkers]:
    """Connect to a scheduler, and wait until a worker is connected to it. The block makes workers of the cluster.

    Certificates are those of Dask's own configuration. Raises SetupWrong for a wrong address, missing certificates, or
    a cluster without workers, and SchedulerUnreachable.
    """
    _check_address(address)
    try:
        distributed: Any = import_module("distributed")  # an extra
    except ImportError:
        raise SetupWrong("--scheduler needs Dask. Install loyalty-ledger[dask]") from None
    try:
        security = distributed.Security()
        context = security.get_connection_args("client")["ssl_context"]
    except (OSError, ssl.SSLError) as error:
        raise SetupWrong(f"the certificates of Dask's configuration cannot be read: {error}") from None
    if context is None and address.startswith("tls:"):
        raise SetupWrong(CERTIFICATES_MISSING)
    try:
        client = distributed.Client(
            address, security=security, timeout=CONNECT_SECONDS_MAX, set_as_default=False, name="loyalty-rebuild"
        )
    except (OSError, TimeoutError):
        raise SchedulerUnreachable(address) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_SECONDS_MAX)
        except TimeoutError:
            raise SetupWrong(f"no worker is connected to {address}; start one by `dask worker {address}`") from None
        executor = client.get_executor(pure=False)  # otherwise Dask answers a repeated task from memory
        yield lambda schema, fill_id: DaskWorkers(executor, distributed.scheduler.KilledWorker, schema, fill_id)


def _check_address(address: str) -> None:
    """Raise SetupWrong unless an address is tls://HOST:PORT, or tcp:// on this host."""
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in ("tls", "tcp") or not host or not port:
        raise SetupWrong(f"{address} is no address of a scheduler, such as tls://scheduler.example.com:8786")
    if scheme == "tcp" and not _is_loopback(host):
        raise SetupWrong(f"{address} has no TLS, so that anyone could run programs on the workers; use tls://")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
