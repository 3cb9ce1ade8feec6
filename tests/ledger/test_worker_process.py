"""Worker processes end with their parent, and report their errors without text that may quote a row."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import LedgerUnknown, WorkerEnded
from ledger.worker_process import WorkerProcess, wake

ROOT = Path(__file__).parents[2]
PARENT = """
import time
from ledger.worker_process import WorkerProcess
from tests.ledger.test_worker_process import sleep_for_ever

if __name__ == "__main__":
    worker = WorkerProcess(sleep_for_ever)
    worker.start()
    print(worker.receive(), flush=True)
    time.sleep(60)
"""


def sleep_for_ever(pipe: Pipe) -> None:
    pipe.send(os.getpid())
    time.sleep(3600)


def divide(pipe: Pipe, dividend: int) -> None:
    while True:
        pipe.send(dividend / pipe.recv())


def look_for_a_ledger(_pipe: Pipe) -> None:
    raise LedgerUnknown("acme")


def wake_three_times(pipe: Pipe) -> None:
    for _ in range(3):
        wake(pipe)


def is_alive(pid: int) -> bool:
    """Return True if a process runs. A zombie has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert is_alive(worker)

        parent.kill()

    while is_alive(worker):
        time.sleep(0.01)


def test_a_worker_ends_in_the_middle_of_its_work_when_it_is_stopped() -> None:
    worker = WorkerProcess(sleep_for_ever)
    worker.start()
    pid = worker.receive()

    worker.stop()

    assert not is_alive(pid)


def test_a_worker_ignores_the_signals_that_its_parent_handles() -> None:
    worker = WorkerProcess(divide, 6)
    worker.start()
    worker.send(3)
    assert worker.receive() == 2
    [child] = multiprocessing.active_children()
    assert child.pid is not None

    os.kill(child.pid, signal.SIGINT)
    os.kill(child.pid, signal.SIGTERM)
    worker.send(2)

    assert worker.receive() == 3
    worker.stop()


async def test_an_unforeseen_error_reaches_the_parent_without_its_text() -> None:
    worker = WorkerProcess(divide, 6)
    worker.start()

    with pytest.raises(WorkerEnded, match="ZeroDivisionError"):
        await worker.call(0)
    with pytest.raises(WorkerEnded):
        await worker.call(1)
    worker.stop()


async def test_an_error_of_ours_reaches_the_parent_as_it_is() -> None:
    worker = WorkerProcess(look_for_a_ledger)
    worker.start()

    with pytest.raises(LedgerUnknown, match="acme"):
        await worker.call(1)
    worker.stop()


async def test_a_worker_that_is_woken_ends_with_its_exit_code() -> None:
    woken = asyncio.Event()

    with pytest.raises(WorkerEnded, match="exit code 0"):
        await WorkerProcess(wake_three_times).run(woken.set)

    assert woken.is_set()


def test_wake_ups_that_nobody_reads_block_nobody() -> None:
    worker = WorkerProcess(sleep_for_ever)
    worker.start()
    worker.receive()

    for _ in range(300_000):
        wake(worker.pipe)
    worker.stop()

    assert worker.pipe.closed


async def test_a_worker_whose_start_is_cancelled_is_not_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = WorkerProcess(sleep_for_ever)
    begun, may_go_on, started = threading.Event(), threading.Event(), threading.Event()
    process_type = type(worker._process)
    start = process_type.start

    def start_slowly(process: Any) -> None:
        begun.set()
        may_go_on.wait(60)
        start(process)
        started.set()

    monkeypatch.setattr(process_type, "start", start_slowly)
    running = asyncio.create_task(worker.run(lambda: None))
    await asyncio.to_thread(begun.wait, 60)

    running.cancel()
    await asyncio.sleep(0)
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert started.wait(60)
    assert not worker._process.is_alive()


def test_a_worker_that_was_stopped_is_not_started_afterwards() -> None:
    worker = WorkerProcess(sleep_for_ever)

    worker.stop()
    worker.start()

    assert worker._process.pid is None
