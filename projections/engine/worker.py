"""Keep every generation up to date: advance every ledger whenever something was appended, and tell who waits.

The generation that readers see comes first. The others that are kept, one that was rebuilt and waits to be promoted and
one that was retired, follow by a batch at a time, so that they cost readers nothing but a little lag. Woken in process
by the appender, and by polling always: another process may have appended. Answers wait here too, so that a caller reads
its own writes without polling of its own.
"""

import asyncio
import contextlib
import gc
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

import asyncpg

from ledger.background import LogThrottle, keep_connected
from ledger.database import CONNECTION_LOST, Connection, connect, enter_generation
from ledger.errors import RebuildDue
from ledger.failures import describe_failure
from ledger.store.read import tail
from ledger.store.registry import Ledger, list_ledgers
from projections.engine import advance, generations, promotion, store
from projections.engine.binary_codecs import register_binary_codecs
from projections.engine.cache import SubjectCache
from projections.engine.conflict_policies import follow_policies
from projections.engine.generations import FOLLOWING_STATES, Generation
from projections.engine.retry import retry_after_upgrade

POLL_SECONDS = 0.1
BATCHES_PER_LEDGER_MAX = 10  # then it is the next one's turn
RETRY_SECONDS = 1.0
RETRY_SECONDS_MAX = 60.0  # of a ledger that fails again and again
STATEMENT_SECONDS_MAX = 60.0  # of any statement here: each reads or writes the facts or rows of one batch
GC_THRESHOLDS = (50_000, 10, 10)  # objects, and rounds, between two looks for garbage
HOUSEKEEPING_SECONDS = (
    5.0  # how often it looks for generations to remove, subjects that wait no more and other policies
)

# Where each ledger's rows are, and where the ledger is: most ledgers rest, and cost no question of their own.
READ_POSITIONS = """
    SELECT l.ledger_id, coalesce(c.position, 0) AS position, coalesce(e.position, 0) AS tail
      FROM ledger.ledgers l
      LEFT JOIN checkpoints c ON c.ledger_id = l.ledger_id
      LEFT JOIN LATERAL (SELECT position FROM ledger.events WHERE ledger_id = l.ledger_id
                          ORDER BY position DESC LIMIT 1) e ON true
     ORDER BY l.ledger_id
"""

_log = logging.getLogger(__name__)


class RetryPause(NamedTuple):
    """How long something that failed is left alone."""

    until: float  # of time.monotonic()
    seconds: float


@contextlib.contextmanager
def reduced_gc() -> Iterator[None]:
    """Let Python look for garbage but seldom: facts and rows come by the thousands and go without being collected, and
    to look through all that is remembered each time costs as much again as the folding."""
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Projector:
    """Advances all ledgers in all kept generations of one database, on connections of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._notified = asyncio.Event()
        self._position_changed: dict[int, asyncio.Condition] = defaultdict(asyncio.Condition)
        self._positions: dict[tuple[int, int], int] = defaultdict(int)  # by generation and ledger
        self._connections: dict[int, asyncpg.Connection[asyncpg.Record]] = {}
        self._caches: dict[int, SubjectCache] = defaultdict(SubjectCache)  # what each of those has folded
        self._retry_at: dict[int, float] = {}  # until when a generation that could not be advanced is left alone
        self._housekeeping_at = 0.0
        self._projects = False  # who only watches writes nothing
        self._active_generation = 0
        self._active_changed = asyncio.Condition()
        self._reader_generation = 0  # the generation that the readers of this process see
        self._pauses: dict[tuple[int, int], RetryPause] = {}  # by generation and ledger
        self._faults = LogThrottle(_log)
        self.on_append: Callable[[], None] | None = None  # tells the process that projects of what was appended
        self.on_advance: Callable[[], None] | None = None  # tells the process that answers that rows have moved

    def notify_appended(self) -> None:
        """Say that something was appended, to who projects: that alone moves no rows, so who only watches looks on."""
        if self._projects:
            self.notify()
        if self.on_append is not None:
            self.on_append()

    def notify(self) -> None:
        """Say that there may be something to see, here or in the process that projects."""
        self._notified.set()

    async def wait_for(self, ledger_id: int, position: int, timeout_seconds: float) -> bool:
        """Wait until the rows that readers of this process see reflect a position; False if they do not in time."""
        moved = self._position_changed[ledger_id]
        try:
            async with asyncio.timeout(timeout_seconds), moved:
                await moved.wait_for(lambda: self._positions[self._reader_generation, ledger_id] >= position)
        except TimeoutError:
            return False
        return True

    async def wait_for_promotion(self, read: int) -> int:
        """Wait until another generation than the one read is active, and give it."""
        async with self._active_changed:
            await self._active_changed.wait_for(lambda: self._active_generation not in (0, read))
            return self._active_generation

    async def set_reader_generation(self, generation: int) -> None:
        """Say which generation the readers of this process see, so that waits are for that one."""
        self._reader_generation = generation
        for moved in list(self._position_changed.values()):
            async with moved:
                moved.notify_all()

    async def run(self) -> None:
        """Advance until cancelled. What goes wrong is told and tried again: others may still be served meanwhile."""
        self._projects = True
        await self._run_connected(self._advance_all)

    async def watch(self) -> None:
        """Follow what another process projects, until cancelled, so that answers can wait for it."""
        await self._run_connected(self._watch_positions)

    async def _run_connected(self, step: Callable[[Connection], Awaitable[None]]) -> None:
        async def work(connection: Connection) -> None:
            try:
                while True:
                    await step(connection)
            finally:
                await self._close(*self._connections)

        await keep_connected(
            "projecting",
            self._dsn,
            work,
            log=_log,
            retry_seconds=RETRY_SECONDS,
            search_path="pg_catalog",
            statement_seconds=STATEMENT_SECONDS_MAX,
        )

    async def _advance_all(self, connection: Connection) -> None:
        """Advance every ledger of every kept generation by some batches, and rest when there was nothing to do."""
        self._notified.clear()
        kept = await self._refresh_generations(connection)
        busy = False
        for one in kept:
            if self._retry_at.get(one.generation, 0) > time.monotonic():
                continue
            try:
                busy = await self._advance_generation(one) or busy
                self._faults.recovered(f"generation {one.generation}")
            except RebuildDue:
                self._mark_outdated(one.generation)
            except Exception as error:
                if one.state == "active":
                    raise
                self._faults.error(
                    f"generation {one.generation}", "generation %s waits: %s", one.generation, type(error).__name__
                )
                self._retry_at[one.generation] = time.monotonic() + HOUSEKEEPING_SECONDS
                await self._close(one.generation)
        if not busy:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._notified.wait(), POLL_SECONDS)

    async def _advance_generation(self, generation: Generation) -> bool:
        """Advance one generation by some batches of every ledger; say whether there was something to do."""
        connection = await self._connection_of(generation)
        if connection is None:
            return False
        busy = False
        for ledger_id, position, end in await connection.fetch(READ_POSITIONS):
            await self._publish_position(
                generation.generation, ledger_id, position
            )  # another process may have advanced it
            pause = self._pauses.get((generation.generation, ledger_id))
            if position < end and (pause is None or pause.until < time.monotonic()):
                busy = await self._advance_ledger(connection, generation, ledger_id) or busy
        return busy

    async def _advance_ledger(self, connection: Connection, generation: Generation, ledger_id: int) -> bool:
        """Advance one ledger by some batches. One that fails is left alone for a while, ever longer, and holds no other
        one up."""
        key = (generation.generation, ledger_id)
        batches, batches_max = 0, BATCHES_PER_LEDGER_MAX if generation.state == "active" else 1
        try:
            async with contextlib.aclosing(
                advance.advance_until_current(connection, ledger_id, self._caches[generation.generation])
            ) as positions:
                async for position in positions:
                    await self._publish_position(*key, position)
                    batches += 1
                    if batches == batches_max:
                        break
        except Exception as error:
            is_lost = connection.is_closed() or isinstance(error, (RebuildDue, *CONNECTION_LOST))
            if is_lost and not isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
                raise
            seconds = min(RETRY_SECONDS_MAX, 2 * self._pauses[key].seconds if key in self._pauses else RETRY_SECONDS)
            self._pauses[key] = RetryPause(time.monotonic() + seconds, seconds)
            _log.error("projections of ledger %s wait %g s: %s", ledger_id, seconds, describe_failure(error))
            if is_lost:
                raise
            return False
        self._pauses.pop(key, None)
        return batches > 0

    async def _refresh_generations(self, connection: Connection) -> list[Generation]:
        """List the kept generations, the active one first; leave those that are kept no more."""
        listed = await generations.list_generations(connection)
        kept = sorted(
            (one for one in listed if one.state in FOLLOWING_STATES), key=lambda one: FOLLOWING_STATES.index(one.state)
        )
        await self._close(*(self._connections.keys() - {one.generation for one in kept}))
        if kept and kept[0].state == "active" and kept[0].generation != self._active_generation:
            async with self._active_changed:
                self._active_generation = kept[0].generation
                self._active_changed.notify_all()
        if self._projects and time.monotonic() > self._housekeeping_at + HOUSEKEEPING_SECONDS:
            self._housekeeping_at = time.monotonic()
            await promotion.drop_unused(connection)
            for number, one in self._connections.items():
                if self._retry_at.get(number, 0) < time.monotonic():
                    await self._housekeeping(number, one, await list_ledgers(connection))
        return kept

    async def _housekeeping(self, generation: int, connection: Connection, ledgers: Sequence[Ledger]) -> None:
        """Fold what waits no more, and follow other policies, in one generation."""
        try:
            for ledger in ledgers:
                await retry_after_upgrade(connection, ledger.ledger_id)
                await follow_policies(connection, ledger.ledger_id)
        except RebuildDue:
            self._mark_outdated(generation)

    def _mark_outdated(self, generation: int) -> None:
        """Leave a generation that another version made alone for a while."""
        about = f"generation {generation}"
        self._faults.error(about, "%s stays as it is: another version made it; rebuild", about)
        self._retry_at[generation] = time.monotonic() + 60 * HOUSEKEEPING_SECONDS

    async def _connection_of(self, generation: Generation) -> "Connection | None":
        """Give the connection of a generation; None if it was dropped in this moment."""
        number = generation.generation
        if number not in self._connections:
            connection = self._connections[number] = await connect(
                self._dsn, search_path="pg_catalog", statement_seconds=STATEMENT_SECONDS_MAX
            )
            if await enter_generation(connection, number) is None:
                await self._close(number)
                return None
            await advance.set_idle_in_transaction_timeout(connection)
            await register_binary_codecs(connection)
            if self._projects:
                await self._housekeeping(number, connection, await list_ledgers(connection))
        return self._connections[number]

    async def _close(self, *numbers: int) -> None:
        for number in numbers:
            self._caches.pop(number, None)
            await self._connections.pop(number).close()
            self._positions = defaultdict(int, {at: here for at, here in self._positions.items() if at[0] != number})

    async def _watch_positions(self, connection: Connection) -> None:
        await self._refresh_generations(connection)
        generation = await generations.find_generation(connection, self._reader_generation or self._active_generation)
        watched = await self._connection_of(generation)
        self._notified.clear()
        if watched is not None:
            for ledger_id, position, _ in await watched.fetch(READ_POSITIONS):
                await self._publish_position(generation.generation, ledger_id, position)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._notified.wait(), POLL_SECONDS)

    async def _publish_position(self, generation: int, ledger_id: int, position: int) -> None:
        if position != self._positions[generation, ledger_id]:
            self._positions[generation, ledger_id] = position
            async with self._position_changed[ledger_id]:
                self._position_changed[ledger_id].notify_all()
            if self.on_advance is not None:
                self.on_advance()


async def catch_up(connection: Connection, ledger_id: int) -> int:
    """Advance one ledger until its rows reflect all of it; give the position. Raises RebuildDue."""
    await register_binary_codecs(connection)
    memory = SubjectCache()
    with reduced_gc():
        while (position := await store.read_checkpoint(connection, ledger_id)) < await tail(connection, ledger_id):
            async for _ in advance.advance_until_current(connection, ledger_id, memory):
                pass
    await follow_policies(connection, ledger_id)
    return position
