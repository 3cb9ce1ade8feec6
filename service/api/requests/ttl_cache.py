"""Cache of look-ups by key, for some seconds."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

CALLER_CACHE_SECONDS = 5.0  # a revoked key or a dropped secret is accepted for at most so long

CACHED_CALLERS_MAX = 10_000

LOOK_UP_SECONDS_MAX = 5.0  # then the caller gets 503

V = TypeVar("V")


class TtlCache(Generic[V]):
    """Caches results of a look-up for CALLER_CACHE_SECONDS. Failures are not cached."""

    def __init__(self, look_up: Callable[[str], Awaitable[V]]) -> None:
        self._look_up = look_up
        self._known: dict[str, tuple[float, V]] = {}

    async def get(self, key: str) -> V:
        """Return the value of a key. Raises the errors of the look-up."""
        known = self._known.get(key)
        now = time.monotonic()
        if known is not None and now < known[0]:
            return known[1]
        async with asyncio.timeout(LOOK_UP_SECONDS_MAX):
            value = await self._look_up(key)
        if len(self._known) >= CACHED_CALLERS_MAX:
            self._known.clear()
        self._known[key] = (now + CALLER_CACHE_SECONDS, value)
        return value
