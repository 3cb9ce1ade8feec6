"""Refuse a delivery at once if it would wait too long to be stored.

The measure is the wait of the ledger's oldest delivery, not the number of waiting deliveries. It needs no guess of the
machine's speed. It accepts any burst that is stored in time. The queue of one ledger refuses no delivery of another. A
vendor resends after a 503. After a time-out the vendor does not know, and delivers twice.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from ledger.errors import LedgerUnavailable

WAIT_SECONDS_MAX = 1.0


class Overload:
    """Arrival times of the deliveries that are being stored, by ledger."""

    def __init__(self) -> None:
        self._since: dict[int, dict[int, float]] = {}  # by ledger and delivery, the oldest first
        self._numbers = count()

    @contextmanager
    def admit(self, ledger_id: int) -> Iterator[None]:
        """Let one delivery of a ledger be stored inside. Raises LedgerUnavailable if the oldest waits too long."""
        since = self._since.setdefault(ledger_id, {})
        now = time.monotonic()
        if since and now - next(iter(since.values())) > WAIT_SECONDS_MAX:
            raise LedgerUnavailable(f"the oldest delivery has waited more than {WAIT_SECONDS_MAX:g} s")
        number = next(self._numbers)
        since[number] = now
        try:
            yield
        finally:
            del since[number]
            if not since:
                self._since.pop(ledger_id, None)
