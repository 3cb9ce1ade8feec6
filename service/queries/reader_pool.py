"""The connections that answers are read on: a pool that sees one generation, and changes to the next as a whole.

An answer is taken from the pool that it began with, so it is of one generation even if another is promoted meanwhile.
The pool that was left is closed when the last answer on it is given.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from ledger.database import CONNECTION_LOST, Pool, open_pool
from ledger.errors import LedgerUnavailable

CLOSE_SECONDS_MAX = 5.0
LEND_SECONDS_MAX = 4.5  # then a request is answered 503
CHECK_SECONDS = 2.0  # between two checks of a connection that is lent
CHECK_SECONDS_MAX = 1.0
TRIES_MAX = 3


class _OpenPool:
    """One pool, and how many answers are being read on it or wait to be."""

    def __init__(self, pool: Pool, generation: int) -> None:
        self.pool = pool
        self.generation = generation
        self.users = 0
        self.idle = asyncio.Event()


class ReaderPool:
    """Lends connections that see the generation last entered."""

    def __init__(self, dsn: str, size: int, *, role: str | None = None) -> None:
        self._dsn = dsn
        self._size = size
        self._role = role
        self._now: _OpenPool | None = None
        self._changed = asyncio.Condition()
        self._leaving: set[asyncio.Task[None]] = set()

    async def enter(self, generation: int) -> None:
        """Let whatever is read from now on see a generation. Raises InvalidSchemaNameError if it is gone."""
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
        """The generation that is read now."""
        assert self._now is not None
        return self._now.generation

    async def entered(self, generation: int) -> None:
        """Wait until what is read from now on sees a generation."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.generation == generation)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """Lend a connection, and wait for one if all are lent."""
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
                    await opened.pool.expire_connections()  # the others are likely to be lost as well
                raise
            finally:
                await opened.pool.release(connection)
        finally:
            opened.users -= 1
            if opened.users == 0:
                opened.idle.set()

    async def close(self) -> None:
        """Close all pools, the ones that are being left too."""
        left, self._now = self._now, None
        if left is not None:
            await _close(left)
        await asyncio.gather(*self._leaving)


async def _lend(pool: Pool) -> Any:
    """Lend a connection of a pool that has shown within CHECK_SECONDS that it works. The first that does not has all
    of them replaced. Raises LedgerUnavailable."""
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
