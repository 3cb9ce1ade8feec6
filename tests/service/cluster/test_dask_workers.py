"""A rebuild by the workers of a Dask cluster without a cluster: what is sent, what is refused, and tasks that run
twice."""

import asyncio
import pickle
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from importlib import import_module
from typing import Any

import pytest

from ledger.database import Connection
from ledger.errors import LedgerUnknown, PartFailed, SchedulerUnreachable, SetupWrong, WorkerRefused, WorkersLost
from ledger.store.registry import Ledger
from projections.rebuild import join
from projections.rebuild.pipeline import MakeWorkers, fill_generation
from service.cluster.dask_workers import DaskWorkers, open_cluster
from service.cluster.rebuild_part import process_part
from tests.projections.rebuild.test_rebuild import digest_of, in_small_parts, new_generation, told

__all__ = ["in_small_parts"]  # a fixture
PART = ("generation_2", "00000000-0000-0000-0000-000000000000", "rows", 0)


class Killed(Exception):
    """Stands for Dask's error after a task's workers died."""


class ThreadExecutor(Executor):
    """Runs each task in a thread of this process, `times` times, and keeps what would be sent."""

    def __init__(self, times: int) -> None:
        self.threads, self.times = ThreadPoolExecutor(2), times
        self.sent: list[bytes] = []

    def submit(self, task: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        self.sent.append(pickle.dumps((task, arguments, options)))
        for _ in range(self.times - 1):
            self.threads.submit(task, *arguments)
        return self.threads.submit(task, *arguments)


class FailingExecutor(Executor):
    """Answers each task with an error, or cancels it if there is none."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def submit(self, _task: Callable[..., Any], /, *_arguments: Any, **_options: Any) -> Future[Any]:
        future = Future[Any]()
        if self.error is None:
            future.cancel()
            future.set_running_or_notify_cancel()
        else:
            future.set_exception(self.error)
        return future


def by_executor(executor: Executor) -> MakeWorkers:
    return lambda schema, fill_id: DaskWorkers(executor, Killed, schema, fill_id)


@pytest.mark.parametrize("times", [1, 2])
async def test_tasks_that_run_twice_fill_the_live_rows_and_hold_no_address_of_the_database(
    connection: Connection, dsn: str, ledger: Ledger, in_small_parts: None, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    live = await told(connection, ledger)
    schema = await new_generation(connection)
    monkeypatch.setenv("DATABASE_URL", dsn)
    executor = ThreadExecutor(times)
    seen = set[tuple[str, bool]]()

    filled = await fill_generation(
        dsn, schema, cluster=by_executor(executor), progress=lambda stage, done, of: seen.add((stage, done == of))
    )
    executor.threads.shutdown()

    assert await digest_of(dsn, schema, ledger) == live
    assert filled.facts == await connection.fetchval("SELECT count(*) FROM facts")
    assert {stage for stage, is_complete in seen if is_complete} == {stage for stage, _ in seen}
    assert len(executor.sent) > 10
    assert all(
        b"postgres" not in sent and b"DATABASE" not in sent and schema.encode() in sent for sent in executor.sent
    )


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (Killed("worker"), WorkersLost),
        (None, SchedulerUnreachable),
        (ModuleNotFoundError("No module named 'service'"), WorkerRefused),
        (LedgerUnknown("acme"), LedgerUnknown),
    ],
)
async def test_errors_of_the_cluster_end_the_rebuild_with_their_reason(
    connection: Connection, dsn: str, ledger: Ledger, error: Exception | None, raised: type[Exception]
) -> None:
    await told(connection, ledger)
    schema = await new_generation(connection)

    with pytest.raises(raised):
        await fill_generation(dsn, schema, cluster=by_executor(FailingExecutor(error)))


async def test_a_worker_without_the_address_of_the_database_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)

    with pytest.raises(WorkerRefused, match="DATABASE_URL is not set in the environment of its dask worker"):
        await asyncio.to_thread(process_part, *PART)


async def test_an_unexpected_error_of_a_worker_is_sent_without_its_text(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_part: Any) -> bool:
        raise ValueError("ann@example.com")

    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setattr(join, "process_part", fail)

    with pytest.raises(PartFailed, match="rows 0, ValueError") as failed:
        await asyncio.to_thread(process_part, *PART)

    assert "ann@example.com" not in str(failed.value)
    assert failed.value.__cause__ is failed.value.__context__ is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://10.0.0.5:8786", "no TLS"),
        ("tcp://scheduler.example.com:8786", "no TLS"),
        ("tls://scheduler.example.com", "no address of a scheduler"),
        ("http://127.0.0.1:8786", "no address of a scheduler"),
        ("127.0.0.1:8786", "no address of a scheduler"),
        ("tls://127.0.0.1:99999", "no address of a scheduler"),
        ("tls://127.0.0.1:8786", "DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
    ],
)
def test_an_address_without_tls_or_certificates_is_refused(address: str, reason: str) -> None:
    with pytest.raises(SetupWrong, match=reason), open_cluster(address):
        pass


def test_certificates_that_cannot_be_read_are_named() -> None:
    wrong = {"ca-file": "/nowhere/ca.pem", "client.cert": "/nowhere/cert.pem", "client.key": "/nowhere/key.pem"}

    import_module("distributed")  # its import sets the defaults
    with (
        import_module("dask").config.set({f"distributed.comm.tls.{name}": path for name, path in wrong.items()}),
        pytest.raises(SetupWrong, match="cannot be read"),
        open_cluster("tls://127.0.0.1:8786"),
    ):
        pass
