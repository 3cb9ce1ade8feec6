"""Pool of database connections that see one generation. A promotion replaces the whole pool.

An answer keeps the pool that it began with. So no answer mixes two generations, even during a promotion. The old pool
is closed after its last answer.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from ledger.database import CONNECTION_LOST, Pool, open_pool
from ledger.errors import LedgerUnavailable

CLOSE_SECONDS_MAX = 5.0
LEND_SECONDS_MAX = 4.5  # then the request gets 503
CHECK_SECONDS = 2.0  # between two checks of a lent connection
CHECK_SECONDS_MAX = 1.0
TRIES_MAX = 3


class _OpenPool:
    """One pool, with the number of answers that use it or wait for it."""

    def __init__(self, pool: Pool, generation: int) -> None:
        self.pool = pool
        self.generation = generation
        self.users = 0
        self.idle = asyncio.Event()


class ReaderPool:
    """Lends connections that see the generation entered last."""

    def __init__(self, dsn: str, size: int, *, role: str | None = None) -> None:
        self._dsn = dsn
        self._size = size
        self._role = role
        self._now: _OpenPool | None = None
        self._changed = asyncio.Condition()
        self._leaving: set[asyncio.Task[None]] = set()

    async def enter(self, generation: int) -> None:
        """Switch later reads to a generation. Raises InvalidSchemaNameError if the generation is gone."""
        pool = await open_pool(self._dsn, size=self._size, generation=generation, role=self._role)
        opened = _OpenPool(pool, generation)
        left, self._now = self._now, opened
        async with self._changed:
            self._changed.notify_all()
        if left is not None:
            leaving = asyncio.create_task(_close(left))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    @property
    def generation(self) -> int:
        """The generation that reads see now."""
        assert self._now is not None
        return self._now.generation

    async def entered(self, generation: int) -> None:
        """Wait until reads see a generation."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.generation == generation)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """Lend a connection. Waits if all are lent."""
        opened = self._now
        assert opened is not None
        opened.users += 1
        try:
            connection = await _lend(opened.pool)
            try:
                yield connection
            except BaseException as error:
                if connection.is_closed() or isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                    connection.terminate()
                    await opened.pool.expire_connections()  # the others are probably lost too
                raise
            finally:
                await opened.pool.release(connection)
        finally:
            opened.users -= 1
            if opened.users == 0:
                opened.idle.set()

    async def close(self) -> None:
        """Close all pools, also those that are being left."""
        left, self._now = self._now, None
        if left is not None:
            await _close(left)
        await asyncio.gather(*self._leaving)


async def _lend(pool: Pool) -> Any:
    """Lend a connection that proved to work within the last CHECK_SECONDS.

    The first connection that fails the check makes the pool replace all. Raises LedgerUnavailable.
    """
    try:
        async with asyncio.timeout(LEND_SECONDS_MAX):
            for _ in range(TRIES_MAX):
                connection = await pool.acquire()
                if await connection.is_sound(CHECK_SECONDS, CHECK_SECONDS_MAX):
                    return connection
                connection.terminate()
                await pool.release(connection)
                await pool.expire_connections()
    except CONNECTION_LOST as error:
        raise LedgerUnavailable(type(error).__name__) from None
    raise LedgerUnavailable("the database cannot be written to")


async def _close(opened: _OpenPool) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            while opened.users:
                opened.idle.clear()
                await opened.idle.wait()
            await opened.pool.close()
    except TimeoutError:
        opened.pool.terminate()
