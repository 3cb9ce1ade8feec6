"""Measure how long requests and background tasks hold the event loop, and record the stack of any that exceeds the
limit.

The measure is the processor time of the thread, so a busy machine fails no test. The garbage collector's time is not
counted, because the heap of a test run is larger than that of a service.
"""

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

HOLD_SECONDS_MAX = 0.05  # limit for a request, on an idle machine
LOAD_FACTOR = 2  # a shared processor is slower: caches, and threads that share a core
LOOK_SECONDS = 0.01  # interval of the other thread's checks
STACK_FRAMES_MAX = 12
WATCHED_PATHS = (
    "/service/",
    "/projections/",
    "/aiohttp/web_",
)  # tasks of these paths are watched, those of tests are not


class Watchdog:
    """The callbacks that held the loop too long, each with its stack."""

    def __init__(self, seconds_max: float) -> None:
        self.seconds_max = seconds_max
        self.held: list[str] = []
        self._thread = threading.get_ident()
        self._begun: float | None = None  # in processor time of the watched thread
        self._collecting = 0.0
        self._stack = ""

    def run(self, run: Callable[[Any], None], handle: Any) -> None:
        """Run one callback of the loop, and record it if it took too long."""
        name = _watched(handle)
        if name is None:
            run(handle)
            return
        self._collecting, self._stack = 0.0, ""
        begun = self._begun = time.thread_time()
        try:
            run(handle)
        finally:
            self._begun = None
            seconds = time.thread_time() - begun - self._collecting
            if seconds > self.seconds_max:
                self.held.append(f"{name} held the event loop for {seconds * 1000:.0f} ms\n{self._stack}")

    def collect(self, phase: str, _info: dict[str, int]) -> None:
        """Subtract the time of the garbage collector, if it runs in the watched thread: clocks of threads differ."""
        if threading.get_ident() != self._thread:
            return
        now = time.thread_time()
        self._collecting += now if phase == "stop" else -now

    def look(self, thread: int, stop: threading.Event) -> None:
        """Record the stack of a callback that takes too long. Runs in another thread."""
        clock = time.pthread_getcpuclockid(thread)
        while not stop.wait(LOOK_SECONDS):
            begun = self._begun
            if begun is not None and not self._stack and time.clock_gettime(clock) - begun > self.seconds_max:
                self._stack = _describe_stack(sys._current_frames().get(thread))


def _describe_stack(frame: FrameType | None) -> str:
    """Return the innermost frames of a stack, without lines of source: to read those takes longer than most holds."""
    lines: list[str] = []
    while frame is not None and len(lines) < STACK_FRAMES_MAX:
        code = frame.f_code
        lines.append(f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}\n')
        frame = frame.f_back
    return "".join(reversed(lines))


def _watched(handle: Any) -> str | None:
    """Return the name of the service's task to which a callback belongs. None if it is not of the service."""
    task = getattr(handle._callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return None
    code = getattr(task.get_coro(), "cr_code", None)
    if code is None or not any(part in code.co_filename for part in WATCHED_PATHS) or "/tests/" in code.co_filename:
        return None
    return str(code.co_qualname)


@contextmanager
def watching(seconds_max: float = HOLD_SECONDS_MAX * LOAD_FACTOR) -> Iterator[Watchdog]:
    """Watch the loops that run in this thread."""
    watchdog = Watchdog(seconds_max)
    handles: Any = asyncio.Handle
    run = handles._run
    stop = threading.Event()
    looking = threading.Thread(target=watchdog.look, args=(threading.get_ident(), stop), daemon=True)
    handles._run = lambda handle: watchdog.run(run, handle)
    gc.callbacks.append(watchdog.collect)
    looking.start()
    try:
        yield watchdog
    finally:
        stop.set()
        looking.join()
        gc.callbacks.remove(watchdog.collect)
        handles._run = run
