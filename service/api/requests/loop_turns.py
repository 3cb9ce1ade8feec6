"""Share each turn of the event loop among the ledgers whose bodies wait to be processed.

A burst of deliveries would otherwise be processed in one turn, before any request of others goes on. The commit of a
delivery takes several turns, so a long turn delays it several times.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

BYTES_PER_TURN = 16 * 1024  # the slowest bodies of this size take about 12 ms, published ones 1 to 2 ms
BYTES_PER_BODY = 1024  # the cost of a body beside its length
SECONDS_PER_TURN = 0.002  # for published bodies of that size
TURNS_IN_ONE_MAX = 16


class LoopTurns:
    """Lets bodies of BYTES_PER_TURN in all be processed in each turn, at least one. Ledgers come in rotation.

    If other work takes longer than SECONDS_PER_TURN, it is a multiple, so that bodies take up to half of the time. Else
    they would wait while thousands of requests are refused.
    """

    def __init__(self) -> None:
        self._left = BYTES_PER_TURN
        self._begun = 0.0  # the time at which the last turn began
        self._worked = 0.0  # seconds since then that bodies took
        self._waiting: dict[int, deque[tuple[asyncio.Future[None], int]]] = {}  # by ledger, the next one first
        self._next: asyncio.Handle | None = None

    @asynccontextmanager
    async def take(self, ledger_id: int, size: int) -> AsyncIterator[None]:
        """Process a body of `size` bytes inside, without waiting there. Enters at once unless this turn is used up."""
        await self._wait(ledger_id, size + BYTES_PER_BODY)
        begun = time.monotonic()
        try:
            yield
        finally:
            self._worked += time.monotonic() - begun

    async def _wait(self, ledger_id: int, cost: int) -> None:
        if self._left > 0 and not self._waiting:
            self._left -= cost
            self._plan_next_turn()
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(ledger_id, deque()).append((future, cost))
        self._plan_next_turn()
        await future

    def _plan_next_turn(self) -> None:
        if self._next is None:
            self._next = asyncio.get_running_loop().call_soon(self._begin_turn)
            self._begun, self._worked = time.monotonic(), 0.0

    def _begin_turn(self) -> None:
        self._next = None
        others = time.monotonic() - self._begun - self._worked
        granted = self._left = int(BYTES_PER_TURN * min(max(1.0, others / SECONDS_PER_TURN), TURNS_IN_ONE_MAX))
        while self._left > 0 and self._waiting:
            ledger_id = next(iter(self._waiting))
            line = self._waiting.pop(ledger_id)
            future, cost = line.popleft()
            if line:
                self._waiting[ledger_id] = line  # behind the others
            if not future.done():  # the client is still there
                future.set_result(None)
                self._left -= cost
        if self._left < granted:
            self._plan_next_turn()
