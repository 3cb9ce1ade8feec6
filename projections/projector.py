"""Keep the live generation up to date: advance every ledger whenever something was appended, and tell who waits.

Woken in process by the appender, and by polling always: another process may have appended. Answers wait here too, so
that a caller reads its own writes without polling of its own.
"""

import asyncio
import contextlib
import logging
import traceback
from collections import defaultdict
from collections.abc import Awaitable, Callable

from ledger.database import Connection, connect
from ledger.read import tail
from ledger.registry import all_ledgers
from projections import advance, store
from projections.policies import follow_policies

POLL_SECONDS = 0.1
BATCHES_PER_LEDGER_MAX = 10  # then it is the next one's turn
RETRY_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Projector:
    """Advances all ledgers of one database, on a connection of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._wake = asyncio.Event()
        self._moved: dict[int, asyncio.Condition] = defaultdict(asyncio.Condition)
        self._positions: dict[int, int] = defaultdict(int)

    def wake(self) -> None:
        """Say that something was appended."""
        self._wake.set()

    async def wait_for(self, ledger_id: int, position: int, timeout_seconds: float) -> bool:
        """Wait until the rows of a ledger reflect a position; False if they do not in time."""
        moved = self._moved[ledger_id]
        try:
            async with asyncio.timeout(timeout_seconds), moved:
                await moved.wait_for(lambda: self._positions[ledger_id] >= position)
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Advance until cancelled. What goes wrong is told and tried again: others may still be served meanwhile."""
        await self._for_ever(self._advance_all)

    async def watch(self) -> None:
        """Follow what another process projects, until cancelled, so that answers can wait for it."""
        await self._for_ever(self._look_at_all)

    async def _for_ever(self, step: Callable[[Connection], Awaitable[None]]) -> None:
        while True:
            try:
                connection = await connect(self._dsn)
                try:
                    while True:
                        await step(connection)
                finally:
                    await connection.close(timeout=5)
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                _log.error("projections wait: %s in %s:%s", type(error).__name__, where.name, where.lineno)
                await asyncio.sleep(RETRY_SECONDS)

    async def _advance_all(self, connection: Connection) -> None:
        """Advance every ledger by some batches, and rest when there was nothing to do."""
        self._wake.clear()
        busy = False
        for ledger in await all_ledgers(connection):
            batches = 0
            await follow_policies(connection, ledger.ledger_id)
            async with contextlib.aclosing(advance.follow(connection, ledger.ledger_id)) as positions:
                async for position in positions:
                    await self._tell(ledger.ledger_id, position)
                    batches += 1
                    if batches == BATCHES_PER_LEDGER_MAX:
                        break
            if not batches:  # another process may have advanced it
                await self._tell(ledger.ledger_id, await store.checkpoint(connection, ledger.ledger_id))
            busy = busy or batches > 0
        if not busy:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)

    async def _look_at_all(self, connection: Connection) -> None:
        for ledger in await all_ledgers(connection):
            await self._tell(ledger.ledger_id, await store.checkpoint(connection, ledger.ledger_id))
        await asyncio.sleep(POLL_SECONDS)

    async def _tell(self, ledger_id: int, position: int) -> None:
        if position != self._positions[ledger_id]:
            self._positions[ledger_id] = position
            async with self._moved[ledger_id]:
                self._moved[ledger_id].notify_all()


async def catch_up(connection: Connection, ledger_id: int) -> int:
    """Advance one ledger until its rows reflect all of it; give the position."""
    while (position := await store.checkpoint(connection, ledger_id)) < await tail(connection, ledger_id):
        async for _ in advance.follow(connection, ledger_id):
            pass
    await follow_policies(connection, ledger_id)
    return position
