"""Cache of look-ups by key, for some seconds."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

CALLER_CACHE_SECONDS = 5.0  # how long a revoked key or a dropped secret may still open the door

CACHED_CALLERS_MAX = 10_000

LOOK_UP_SECONDS_MAX = 5.0  # then a caller is answered 503

V = TypeVar("V")


class TtlCache(Generic[V]):
    """Remembers what was looked up for CALLER_SECONDS; failures are not remembered."""

    def __init__(self, look_up: Callable[[str], Awaitable[V]]) -> None:
        self._look_up = look_up
        self._known: dict[str, tuple[float, V]] = {}

    async def get(self, key: str) -> V:
        """Give what stands for a key. Raises what the look-up raises."""
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
