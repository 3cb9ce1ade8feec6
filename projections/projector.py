"""Keep every generation up to date: advance every ledger whenever something was appended, and tell who waits.

The generation that readers see comes first. The others that are kept, one that was rebuilt and waits to be promoted and
one that was retired, follow by a batch at a time, so that they cost readers nothing but a little lag. Woken in process
by the appender, and by polling always: another process may have appended. Answers wait here too, so that a caller reads
its own writes without polling of its own.
"""

import asyncio
import contextlib
import logging
import time
import traceback
from collections import defaultdict
from collections.abc import Awaitable, Callable

import asyncpg

from ledger.database import Connection, connect, enter_generation
from ledger.errors import RebuildDue
from ledger.read import tail
from ledger.registry import Ledger, all_ledgers
from projections import advance, generations, promotion, store
from projections.generations import KEPT, Generation
from projections.policies import follow_policies
from projections.retrying import resume

POLL_SECONDS = 0.1
BATCHES_PER_LEDGER_MAX = 10  # then it is the next one's turn
RETRY_SECONDS = 1.0
CARE_SECONDS = 5.0  # how often it looks for generations to remove and for subjects that wait no more

_log = logging.getLogger(__name__)


class Projector:
    """Advances all ledgers in all kept generations of one database, on connections of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._wake = asyncio.Event()
        self._moved: dict[int, asyncio.Condition] = defaultdict(asyncio.Condition)
        self._positions: dict[tuple[int, int], int] = defaultdict(int)  # by generation and ledger
        self._connections: dict[int, asyncpg.Connection[asyncpg.Record]] = {}
        self._resting: dict[int, float] = {}  # until when a generation that could not be advanced is left alone
        self._cared_at = 0.0
        self._active = 0
        self._promoted = asyncio.Condition()
        self._read = 0  # the generation that the readers of this process see

    def wake(self) -> None:
        """Say that something was appended."""
        self._wake.set()

    async def wait_for(self, ledger_id: int, position: int, timeout_seconds: float) -> bool:
        """Wait until the rows that readers of this process see reflect a position; False if they do not in time."""
        moved = self._moved[ledger_id]
        try:
            async with asyncio.timeout(timeout_seconds), moved:
                await moved.wait_for(lambda: self._positions[self._read, ledger_id] >= position)
        except TimeoutError:
            return False
        return True

    async def promoted(self, read: int) -> int:
        """Wait until another generation than the one read is active, and give it."""
        async with self._promoted:
            await self._promoted.wait_for(lambda: self._active not in (0, read))
            return self._active

    async def readers_see(self, generation: int) -> None:
        """Say which generation the readers of this process see, so that waits are for that one."""
        self._read = generation
        for moved in list(self._moved.values()):
            async with moved:
                moved.notify_all()

    async def run(self) -> None:
        """Advance until cancelled. What goes wrong is told and tried again: others may still be served meanwhile."""
        await self._for_ever(self._advance_all)

    async def watch(self) -> None:
        """Follow what another process projects, until cancelled, so that answers can wait for it."""
        await self._for_ever(self._look_at_all)

    async def _for_ever(self, step: Callable[[Connection], Awaitable[None]]) -> None:
        while True:
            try:
                connection = await connect(self._dsn, search_path="pg_catalog")
                try:
                    while True:
                        await step(connection)
                finally:
                    await self._leave(*self._connections)
                    await connection.close(timeout=5)
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                _log.error("projections wait: %s in %s:%s", type(error).__name__, where.name, where.lineno)
                await asyncio.sleep(RETRY_SECONDS)

    async def _advance_all(self, connection: Connection) -> None:
        """Advance every ledger of every kept generation by some batches, and rest when there was nothing to do."""
        self._wake.clear()
        kept = await self._look_for_generations(connection)
        ledgers = await all_ledgers(connection)
        busy = False
        for one in kept:
            if self._resting.get(one.generation, 0) > time.monotonic():
                continue
            try:
                busy = await self._advance_generation(one, ledgers) or busy
            except RebuildDue:
                _log.error("generation %s stays as it is: another version made it; rebuild", one.generation)
                self._resting[one.generation] = time.monotonic() + 60 * CARE_SECONDS
            except Exception as error:
                if one.state == "active":
                    raise
                _log.error("generation %s waits: %s", one.generation, type(error).__name__)
                self._resting[one.generation] = time.monotonic() + CARE_SECONDS
                await self._leave(one.generation)
        if not busy:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)

    async def _advance_generation(self, generation: Generation, ledgers: list[Ledger]) -> bool:
        """Advance one generation by some batches of every ledger; say whether there was something to do."""
        connection = await self._enter(generation)
        if connection is None:
            return False
        batches_max = BATCHES_PER_LEDGER_MAX if generation.state == "active" else 1
        busy = False
        for ledger in ledgers:
            batches = 0
            await follow_policies(connection, ledger.ledger_id)
            async with contextlib.aclosing(advance.follow(connection, ledger.ledger_id)) as positions:
                async for position in positions:
                    await self._tell(generation.generation, ledger.ledger_id, position)
                    batches += 1
                    if batches == batches_max:
                        break
            if not batches:  # another process may have advanced it
                position = await store.checkpoint(connection, ledger.ledger_id)
                await self._tell(generation.generation, ledger.ledger_id, position)
            busy = busy or batches > 0
        return busy

    async def _look_for_generations(self, connection: Connection) -> list[Generation]:
        """List the kept generations, the active one first; leave those that are kept no more."""
        listed = await generations.listed(connection)
        kept = sorted((one for one in listed if one.state in KEPT), key=lambda one: KEPT.index(one.state))
        await self._leave(*(self._connections.keys() - {one.generation for one in kept}))
        if kept and kept[0].state == "active" and kept[0].generation != self._active:
            async with self._promoted:
                self._active = kept[0].generation
                self._promoted.notify_all()
        if time.monotonic() > self._cared_at + CARE_SECONDS:
            self._cared_at = time.monotonic()
            await promotion.sweep(connection)
            for one in self._connections.values():
                for ledger in await all_ledgers(connection):
                    await resume(one, ledger.ledger_id)
        return kept

    async def _enter(self, generation: Generation) -> "Connection | None":
        """Give the connection of a generation; None if it was dropped in this moment."""
        number = generation.generation
        if number not in self._connections:
            connection = self._connections[number] = await connect(self._dsn, search_path="pg_catalog")
            if await enter_generation(connection, number) is None:
                await self._leave(number)
                return None
            for ledger in await all_ledgers(connection):
                await resume(connection, ledger.ledger_id)
        return self._connections[number]

    async def _leave(self, *numbers: int) -> None:
        for number in numbers:
            await self._connections.pop(number).close(timeout=5)
            self._positions = defaultdict(int, {at: here for at, here in self._positions.items() if at[0] != number})

    async def _look_at_all(self, connection: Connection) -> None:
        await self._look_for_generations(connection)
        generation = await generations.find(connection, self._read or self._active)
        watched = await self._enter(generation)
        if watched is not None:
            for ledger in await all_ledgers(connection):
                position = await store.checkpoint(watched, ledger.ledger_id)
                await self._tell(generation.generation, ledger.ledger_id, position)
        await asyncio.sleep(POLL_SECONDS)

    async def _tell(self, generation: int, ledger_id: int, position: int) -> None:
        if position != self._positions[generation, ledger_id]:
            self._positions[generation, ledger_id] = position
            async with self._moved[ledger_id]:
                self._moved[ledger_id].notify_all()


async def catch_up(connection: Connection, ledger_id: int) -> int:
    """Advance one ledger until its rows reflect all of it; give the position. Raises RebuildDue."""
    while (position := await store.checkpoint(connection, ledger_id)) < await tail(connection, ledger_id):
        async for _ in advance.follow(connection, ledger_id):
            pass
    await follow_policies(connection, ledger_id)
    return position
