"""Process large bodies on a thread, so that they do not block the event loop.

Parsing the largest body, and searching it for personal values, may take almost a second. The interpreter switches
threads every few milliseconds, so the event loop continues. Small bodies, most of all, are processed at once, which is
faster.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import ParamSpec, TypeVar

from ledger.errors import LedgerReadsTooMany, LedgerUnavailable
from service.api.requests.request_shares import RequestShares

BYTES_AT_ONCE_MAX = 32 * 1024  # the slowest body of this size takes about 25 ms
WAITING_PER_LEDGER_MAX = 32  # each may hold a body of 1 MiB
WAIT_SECONDS_MAX = 5.0

P = ParamSpec("P")
T = TypeVar("T")


class LargeBodyWorker:
    """One thread that ledgers use in turn. So large bodies of one ledger do not delay another ledger's bodies."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "large-bodies")
        self._of_ledger = RequestShares(1, WAITING_PER_LEDGER_MAX, WAIT_SECONDS_MAX)
        self._turn = asyncio.Lock()  # first come, first served; each ledger waits with at most one body

    async def work_on(
        self, ledger_id: int, body: bytes, work: Callable[P, T], *arguments: P.args, **named: P.kwargs
    ) -> T:
        """Call `work` with the arguments, on the thread if the body is large.

        Raises the errors of `work`, and LedgerUnavailable if too many large bodies of the ledger wait.
        """
        if len(body) <= BYTES_AT_ONCE_MAX:
            return work(*arguments, **named)
        async with AsyncExitStack() as places:
            try:
                await places.enter_async_context(self._of_ledger.take(ledger_id))
            except LedgerReadsTooMany:
                raise LedgerUnavailable("too many large bodies wait") from None
            await places.enter_async_context(self._turn)
            return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*arguments, **named))

    def close(self) -> None:
        """End the thread when its current call ends."""
        self._thread.shutdown(wait=False, cancel_futures=True)
