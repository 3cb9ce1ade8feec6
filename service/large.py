"""Work on large bodies on a thread of its own, so that it does not hold the event loop.

The largest body may take most of a second to be read and searched for personal values. On another thread that time is
shared: the interpreter changes threads every few milliseconds, so the loop goes on answering. Most bodies are small,
and are worked on at once, which is quicker.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from ledger.errors import LedgerUnavailable

BYTES_AT_ONCE_MAX = 32 * 1024  # the worst body of this size takes about 25 ms
WAITING_MAX = 64  # each may hold a body of 1 MiB

P = ParamSpec("P")
T = TypeVar("T")


class LargeBodies:
    """One thread, and the work that waits for it."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "large-bodies")
        self._waiting = 0

    async def work_on(self, body: bytes, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call `work` with the arguments, on the thread if the body is large.

        Raises what `work` raises, and LedgerUnavailable if too many large bodies wait.
        """
        if len(body) <= BYTES_AT_ONCE_MAX:
            return work(*arguments, **named)
        if self._waiting >= WAITING_MAX:
            raise LedgerUnavailable("too many large bodies wait")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*arguments, **named))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the thread when its work is done."""
        self._thread.shutdown(wait=False, cancel_futures=True)
