"""Worker processes: one way to start, address and end them, for projectors, rebuilds, imports and services.

Invariants:
- No worker outlives its parent. It holds one end of a pipe, and only its parent holds the other. When the parent closes
  its end or dies, the worker ends at once, in the middle of its work. PostgreSQL then rolls back its transaction.
- Signals of the terminal and of a service manager are the parent's. The parent ends its workers.
"""

import asyncio
import gc
import logging
import multiprocessing
import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection as Pipe
from typing import Any

from ledger.errors import LedgerError, WorkerEnded
from ledger.failures import describe_failure

STOP_SECONDS_MAX = 5.0
WAKE_BYTE = b"."
WAKE_BYTES_PER_READ_MAX = 4096  # several unread ones mean the same as one

_log = logging.getLogger(__name__)


class WorkerProcess:
    """A child process that runs `main(pipe, *arguments)`, in a fresh interpreter.

    Parent and worker use the pipe either for messages or for wake-ups (`wake`, `listen`), not for both. With
    `graceful_seconds`, the worker is not ended when the pipe closes: it listens for that, and ends within that time.
    """

    def __init__(self, main: Callable[..., None], *arguments: Any, graceful_seconds: float = 0.0) -> None:
        context = multiprocessing.get_context("spawn")
        graceful = graceful_seconds > 0
        self._stop_seconds_max = graceful_seconds + STOP_SECONDS_MAX
        self.pipe, self._worker_end = context.Pipe()
        self._start_or_stop = threading.Lock()
        self._is_stopped = False
        self._process = context.Process(
            target=_run_worker, args=(self._worker_end, graceful, main, arguments), daemon=not graceful
        )

    def start(self) -> None:
        """Start the process, unless it was stopped before. Blocks for some milliseconds."""
        with self._start_or_stop:
            try:
                if not self._is_stopped:
                    self._process.start()
            finally:
                self._worker_end.close()

    def stop(self) -> None:
        """End the process: by closing the pipe, and by SIGKILL if that takes too long. Blocks.

        A start in another thread ends first, so that no process is left behind.
        """
        with self._start_or_stop:
            self._is_stopped = True
            self.pipe.close()
            self._worker_end.close()
            if self._process.pid is not None:
                self._process.join(self._stop_seconds_max)
                self._process.kill()
                self._process.join()

    async def run(self, on_wake: Callable[[], None]) -> None:
        """Run the process until it ends by itself, or until cancelled. Calls `on_wake` for its wake-ups.

        Raises WorkerEnded.
        """
        try:
            await asyncio.to_thread(self.start)
            await listen(self.pipe, on_wake)
        finally:
            await asyncio.shield(asyncio.to_thread(self.stop))
        raise WorkerEnded(f"exit code {self._process.exitcode}")

    def send(self, message: Any) -> None:
        """Send a message. An ended worker is noticed by the next `receive`."""
        with suppress(OSError):
            self.pipe.send(message)

    def receive(self) -> Any:
        """Return the worker's next message. Blocks. Raises WorkerEnded, or the error that the worker sent."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            raise WorkerEnded from None
        if isinstance(message, Exception):
            raise message
        return message

    async def call(self, message: Any) -> Any:
        """Send a message and return the answer. Raises the same errors as `receive`."""
        self.send(message)
        await wait_until_readable(self.pipe)
        return self.receive()


def _run_worker(pipe: Pipe, graceful: bool, main: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Run a worker. Its error is sent to the parent, without text that may quote a row."""
    become_worker(None if graceful else pipe)
    try:
        main(pipe, *arguments)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the parent has closed the pipe
        pass
    except LedgerError as error:
        pipe.send(error)
    except Exception as error:
        failure = describe_failure(error)
        _log.error("a worker process ends: %s", failure)
        pipe.send(WorkerEnded(failure))


def become_worker(lifeline: Pipe | None) -> None:
    """Leave signals to the parent. End the process when the other end of `lifeline` is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if lifeline is not None:
        threading.Thread(target=_exit_with_parent, args=(lifeline,), daemon=True).start()
    gc.freeze()


def _exit_with_parent(pipe: Pipe) -> None:
    hang_up = select.poll()
    hang_up.register(pipe.fileno(), 0)  # without POLLIN: only the closing is reported
    hang_up.poll()
    os._exit(1)


async def wait_until_readable(pipe: Pipe) -> None:
    """Wait until a message can be read, or the other side has closed its end."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(pipe.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(pipe.fileno())


def wake(pipe: Pipe) -> None:
    """Wake the other side. If earlier wake-ups are still unread, they are enough."""
    with suppress(OSError):
        os.set_blocking(pipe.fileno(), False)
        os.write(pipe.fileno(), WAKE_BYTE)


async def listen(pipe: Pipe, on_wake: Callable[[], None]) -> None:
    """Call `on_wake` whenever the other side wakes this one, until that side closes its end."""
    os.set_blocking(pipe.fileno(), False)
    with suppress(ConnectionError):
        while True:
            await wait_until_readable(pipe)
            if not os.read(pipe.fileno(), WAKE_BYTES_PER_READ_MAX):
                return
            on_wake()
