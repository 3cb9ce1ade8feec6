"""Refuse a delivery at once if it would wait too long to be stored.

The measure is the wait of the ledger's oldest delivery and the lag of the event loop, not the number of waiting
deliveries. It needs no guess of the machine's speed. It accepts any burst that is stored in time. The queue of one
ledger refuses no delivery of another. A vendor resends after a 503. After a time-out the vendor does not know, and
delivers twice.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from ledger.errors import LedgerUnavailable

WAIT_SECONDS_MAX = 0.75
LAG_CHECK_SECONDS = 0.05


class LoopLag:
    """Measures the time that a request which has arrived waits for its turn of the event loop."""

    def __init__(self) -> None:
        self._due = 0.0  # of the next measurement; 0 before the first
        self._last = 0.0

    async def measure(self) -> None:
        """Measure until cancelled."""
        while True:
            self._due = time.monotonic() + LAG_CHECK_SECONDS
            await asyncio.sleep(LAG_CHECK_SECONDS)
            self._last = max(0.0, time.monotonic() - self._due)

    @property
    def seconds(self) -> float:
        """The last lag, or the current one if it is longer."""
        return max(self._last, time.monotonic() - self._due) if self._due else 0.0


class Overload:
    """Arrival times of the deliveries that are being stored, by ledger."""

    def __init__(self) -> None:
        self.loop_lag = LoopLag()
        self._since: dict[int, dict[int, float]] = {}  # by ledger and delivery, the oldest first
        self._numbers = count()

    @contextmanager
    def admit(self, ledger_id: int) -> Iterator[None]:
        """Let one delivery of a ledger be stored inside. Raises LedgerUnavailable if the oldest waits too long."""
        since = self._since.setdefault(ledger_id, {})
        now = time.monotonic()
        if since and now - next(iter(since.values())) + self.loop_lag.seconds > WAIT_SECONDS_MAX:
            raise LedgerUnavailable(f"the oldest delivery has waited more than {WAIT_SECONDS_MAX:g} s")
        number = next(self._numbers)
        since[number] = now
        try:
            yield
        finally:
            del since[number]
            if not since:
                self._since.pop(ledger_id, None)
