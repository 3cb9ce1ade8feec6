"""Refuse a delivery at once where it would wait too long to be stored.

The measure is how long the oldest delivery of the same ledger has waited, not how many wait: it needs no guess of what
the machine can do, lets any burst in that is stored in time, and one ledger's queue refuses nobody else's deliveries.
A vendor sends again after a 503; after a time-out it does not know, and sends twice.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from ledger.errors import LedgerUnavailable

WAIT_SECONDS_MAX = 1.0


class Overload:
    """When the deliveries that are being stored came in, ledger by ledger."""

    def __init__(self) -> None:
        self._since: dict[int, dict[int, float]] = {}  # by ledger and delivery, the oldest first
        self._numbers = count()

    @contextmanager
    def admitted(self, ledger_id: int) -> Iterator[None]:
        """Let one delivery of a ledger be stored inside. Raises LedgerUnavailable if the oldest waits too long."""
        since = self._since.setdefault(ledger_id, {})
        now = time.monotonic()
        if since and now - next(iter(since.values())) > WAIT_SECONDS_MAX:
            raise LedgerUnavailable("deliveries wait longer than they should")
        number = next(self._numbers)
        since[number] = now
        try:
            yield
        finally:
            del since[number]
            if not since:
                self._since.pop(ledger_id, None)
