"""Memory limit of the service process: above it, answers and large bodies are refused until memory is free again.

Caches, queues, batches and unfinished bodies each have a limit of their own. This limit covers their sum and everything
without a limit: unfinished answers, the driver's buffers, fragmentation of the heap.

1. The resident memory of the process is read twice a second.
2. Above the limit, the caches are cleared, and free memory is returned to the system.
3. While it stays above the limit, requests are refused with 503 and `Retry-After`. Two kinds are still accepted: health
   checks, and deliveries of at most `bodies.BYTES_FREE` bytes. Their memory is bounded by the number of connections. A
   vendor that is refused too long gives up.
"""

import asyncio
import ctypes
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ledger.errors import MemoryExhausted

SAMPLE_SECONDS = 0.5
MIB = 1024 * 1024
STATM = Path("/proc/self/statm")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

_log = logging.getLogger(__name__)


class MemoryLimit:
    """Watches the resident memory of the process. 0 MiB is no limit. Each of `caches` is a function that clears one."""

    def __init__(self, limit_mib: int, *caches: Callable[[], None], resident: Callable[[], int] | None = None) -> None:
        self._limit = limit_mib * MIB
        self._caches = caches
        self._resident = resident or resident_bytes
        self._exceeded = False

    def check(self) -> None:
        """Raise MemoryExhausted while the process is above its limit."""
        if self._exceeded:
            raise MemoryExhausted

    async def watch(self) -> None:
        """Sample the memory until cancelled."""
        while self._limit:
            await self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def sample(self) -> None:
        """Compare the memory with the limit once. Clears the caches if it is above."""
        exceeded = self._resident() > self._limit
        if exceeded:
            for clear in self._caches:
                clear()
            await asyncio.to_thread(release_free_memory)
            exceeded = self._resident() > self._limit
        if exceeded != self._exceeded:
            _log.log(
                logging.ERROR if exceeded else logging.INFO,
                "memory is %s LOYALTY_MEMORY_MIB (%d MiB): %s",
                "above" if exceeded else "below",
                self._limit // MIB,
                "answers and large deliveries are refused" if exceeded else "all requests are answered again",
            )
        self._exceeded = exceeded


def resident_bytes() -> int:
    """Return the resident memory of this process; 0 where the system does not publish it (only Linux does)."""
    with suppress(OSError):
        return int(STATM.read_bytes().split()[1]) * PAGE_BYTES
    return 0


def release_free_memory() -> None:
    """Return freed memory of the heap to the system. Does nothing where the C library has no malloc_trim."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
