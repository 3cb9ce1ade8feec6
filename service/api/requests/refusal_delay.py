"""Delay the refusals of an address that is refused very often.

A client that sends the next request as soon as the last one is refused can keep the whole service busy. Its refusals
are answered a second later. Accepted requests are never delayed, so a proxy with many clients needs no exception. The
body of a refused request is released before the delay.
"""

import asyncio
import time
from collections import Counter
from typing import NamedTuple

from aiohttp import web

FREE_PER_SECOND = 100.0  # refusals of an address that are answered at once, on average
FREE_MAX = 400.0  # at once, after a quiet time
BYTES_PER_REFUSAL = 16 * 1024  # a refused body of this size counts as one more refusal
DELAY_SECONDS = 1.0
DELAYED_MAX = 1_024  # of an address; further refusals are answered at once
ADDRESSES_MAX = 10_000


class FreeRefusals(NamedTuple):
    """The number of refusals that an address still has free, at a time of the monotonic clock."""

    left: float
    at: float


class RefusalDelay:
    """Counts the refusals of each address."""

    def __init__(self) -> None:
        self._free: dict[str, FreeRefusals] = {}
        self._delayed: Counter[str] = Counter()

    async def wait(self, request: web.Request, status: int) -> None:
        """Wait before a refusal if its address had too many.

        A 503 counts too, although its sender is not to blame: a sender that returns at once would keep a busy service
        busy with refusals.
        """
        size = min(request.content_length or 0, request.client_max_size)
        if status < web.HTTPBadRequest.status_code:
            return
        address = request.transport.get_extra_info("peername") if request.transport else None
        name = str(address[0]) if isinstance(address, tuple) else ""
        if not self._take(name, 1 + size / BYTES_PER_REFUSAL) and self._delayed[name] < DELAYED_MAX:
            self._delayed[name] += 1
            try:
                await asyncio.sleep(DELAY_SECONDS)
            finally:
                self._delayed[name] -= 1
                if not self._delayed[name]:
                    del self._delayed[name]

    def _take(self, address: str, cost: float) -> bool:
        """Take the cost of a refusal. Return False if the address has none left."""
        now = time.monotonic()
        last = self._free.pop(address, FreeRefusals(FREE_MAX, now))
        left = min(FREE_MAX, last.left + FREE_PER_SECOND * (now - last.at))
        if len(self._free) >= ADDRESSES_MAX:
            del self._free[next(iter(self._free))]  # the address that was refused least recently
        self._free[address] = FreeRefusals(max(0.0, left - cost), now)
        return left >= cost
