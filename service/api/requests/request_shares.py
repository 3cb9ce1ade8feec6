"""Limit the requests of one ledger that run at once. So no ledger takes all connections and all CPU time.

A request beyond its ledger's share waits. It is answered 429 with Retry-After if too many wait, or after too long.
Answers that add up a whole ledger and large pages have a share of their own: one at a time for each ledger.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ledger.errors import LedgerReadsTooMany

WAITING_MAX = 100
HEAVY_MAX = 1
HEAVY_WAITING_MAX = 15
WAIT_SECONDS_MAX = 10.0


class _Share:
    def __init__(self, running_max: int) -> None:
        self.running = asyncio.Semaphore(running_max)
        self.users = 0  # running and waiting requests


class RequestShares:
    """Limits the running and the waiting requests of each ledger."""

    def __init__(self, running_max: int, waiting_max: int, wait_seconds_max: float = WAIT_SECONDS_MAX) -> None:
        self._running_max = running_max
        self._users_max = running_max + waiting_max
        self._wait_seconds_max = wait_seconds_max
        self._shares: dict[int, _Share] = {}  # of ledgers with requests

    @asynccontextmanager
    async def take(self, ledger_id: int) -> AsyncIterator[None]:
        """Run the block as one request of the ledger. Waits if its share is used up. Raises LedgerReadsTooMany."""
        share = self._shares.get(ledger_id)
        if share is None:
            share = self._shares[ledger_id] = _Share(self._running_max)
        if share.users >= self._users_max:
            raise LedgerReadsTooMany
        share.users += 1
        try:
            try:
                async with asyncio.timeout(self._wait_seconds_max):
                    await share.running.acquire()
            except TimeoutError:
                raise LedgerReadsTooMany from None
            try:
                yield
            finally:
                share.running.release()
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[ledger_id]
