"""Pool of database connections that see one generation. A promotion replaces the whole pool.

An answer keeps the pool that it began with. So no answer mixes two generations, even during a promotion. The old pool
is closed after its last answer.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ledger.confined_sessions import open_pool
from ledger.database import CONNECTION_LOST, Pool
from ledger.errors import LedgerUnavailable

CLOSE_SECONDS_MAX = 5.0
LEND_SECONDS_MAX = 4.5  # then the request gets 503
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
        self._current: _OpenPool | None = None
        self._generation_changed = asyncio.Condition()
        self._closing: set[asyncio.Task[None]] = set()

    async def enter(self, generation: int) -> None:
        """Switch later reads to a generation. Raises InvalidSchemaNameError if the generation is gone."""
        pool = await open_pool(self._dsn, size=self._size, generation=generation, role=self._role)
        current = _OpenPool(pool, generation)
        previous, self._current = self._current, current
        async with self._generation_changed:
            self._generation_changed.notify_all()
        if previous is not None:
            closing = asyncio.create_task(_close(previous))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    @property
    def generation(self) -> int:
        """The generation that reads see now."""
        assert self._current is not None
        return self._current.generation

    async def wait_until_entered(self, generation: int) -> None:
        """Wait until reads see a generation."""
        async with self._generation_changed:
            await self._generation_changed.wait_for(lambda: self.generation == generation)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """Lend a connection. Waits if all are lent.

        Raises LedgerUnavailable if no server can be written to, also if that is found after the read: a demoted primary
        reports itself with its answer, which is then not given.
        """
        current = self._current
        assert current is not None
        current.users += 1
        try:
            connection = await _lend_working(current.pool)
            try:
                yield connection
                if connection.is_read_only:
                    raise LedgerUnavailable("the database cannot be written to")
            except BaseException:
                if connection.is_closed() or connection.is_read_only:
                    connection.terminate()
                    await current.pool.expire_connections()  # the others are probably lost too
                raise
            finally:
                await current.pool.release(connection)
        finally:
            current.users -= 1
            if current.users == 0:
                current.idle.set()

    async def close(self) -> None:
        """Close all pools, also those that are being left."""
        previous, self._current = self._current, None
        if previous is not None:
            await _close(previous)
        await asyncio.gather(*self._closing)


async def _lend_working(pool: Pool) -> Any:
    """Lend a connection that was sound within the last seconds (`Session.is_sound`).

    The first connection that fails the check makes the pool replace all. Raises LedgerUnavailable.
    """
    try:
        async with asyncio.timeout(LEND_SECONDS_MAX):
            for _ in range(TRIES_MAX):
                connection = await pool.acquire()
                if await connection.is_sound():
                    return connection
                connection.terminate()
                await pool.release(connection)
                await pool.expire_connections()
    except CONNECTION_LOST as error:
        raise LedgerUnavailable(type(error).__name__) from None
    raise LedgerUnavailable("the database cannot be written to")


async def _close(current: _OpenPool) -> None:
    try:
        async with asyncio.timeout(CLOSE_SECONDS_MAX):
            while current.users:
                current.idle.clear()
                await current.idle.wait()
            await current.pool.close()
    except TimeoutError:
        current.pool.terminate()
