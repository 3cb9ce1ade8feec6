"""The projector: keep every generation up to date, and notify callers that wait for a position.

- It advances the active generation first. The ready and the retired generation follow one batch at a time. So readers
  notice at most a little lag.
- The appender of the same process wakes it. It also polls, because another process may have appended.
- Requests wait here for a position, so a caller reads its own writes without polling.
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
BATCHES_PER_LEDGER_MAX = 10  # before the next ledger is advanced
RETRY_SECONDS = 1.0
RETRY_SECONDS_MAX = 60.0  # of a ledger that fails repeatedly
STATEMENT_SECONDS_MAX = 60.0  # of any statement: each reads or writes the facts or rows of one batch
GC_THRESHOLDS = (50_000, 10, 10)  # for gc.set_threshold
HOUSEKEEPING_SECONDS = 5.0  # between two runs of housekeeping: dropped generations, parked subjects, changed policies

# The checkpoint and the tail of each ledger, in one query: most ledgers are idle and need no query of their own.
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
    """The pause of a ledger after a failure."""

    until: float  # on the clock of time.monotonic()
    seconds: float


@contextlib.contextmanager
def reduced_gc() -> Iterator[None]:
    """Make Python's garbage collector run rarely.

    Facts and rows are created by the thousand and freed without it. A frequent scan of all cached objects would cost as
    much as the folding.
    """
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class Projector:
    """Advances all ledgers in all kept generations of one database, on connections of its own.

    A process either projects (`run`) or watches another process that does (`watch`).
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._notified = asyncio.Event()
        self._position_changed: dict[int, asyncio.Condition] = defaultdict(asyncio.Condition)
        self._positions: dict[tuple[int, int], int] = defaultdict(int)  # by generation and ledger
        self._connections: dict[int, asyncpg.Connection[asyncpg.Record]] = {}
        self._caches: dict[int, SubjectCache] = defaultdict(SubjectCache)  # by generation
        self._retry_at: dict[int, float] = {}  # by generation: not before this time, after a failure
        self._housekeeping_at = 0.0
        self._projects = False  # False if it only watches; it writes nothing then
        self._active_generation = 0
        self._active_changed = asyncio.Condition()
        self._reader_generation = 0  # the generation that readers of this process see
        self._pauses: dict[tuple[int, int], RetryPause] = {}  # by generation and ledger
        self._faults = LogThrottle(_log)
        self.on_append: Callable[[], None] | None = None  # signals an append to the projecting process
        self.on_advance: Callable[[], None] | None = None  # signals new positions to the serving process

    def notify_appended(self) -> None:
        """Signal that events were appended. Wakes this process if it projects, and calls `on_append`."""
        if self._projects:
            self.notify()
        if self.on_append is not None:
            self.on_append()

    def notify(self) -> None:
        """Wake this process: events were appended, or another process has moved rows."""
        self._notified.set()

    async def wait_for(self, ledger_id: int, position: int, timeout_seconds: float) -> bool:
        """Wait until rows that readers of this process see reflect a position. Return False at the time limit."""
        position_changed = self._position_changed[ledger_id]
        try:
            async with asyncio.timeout(timeout_seconds), position_changed:
                await position_changed.wait_for(lambda: self._positions[self._reader_generation, ledger_id] >= position)
        except TimeoutError:
            return False
        return True

    async def wait_for_promotion(self, reader_generation: int) -> int:
        """Wait until another generation than `reader_generation` is active, and return its number."""
        async with self._active_changed:
            await self._active_changed.wait_for(lambda: self._active_generation not in (0, reader_generation))
            return self._active_generation

    async def set_reader_generation(self, generation: int) -> None:
        """Set the generation that readers of this process see. `wait_for` waits for the rows of this generation."""
        self._reader_generation = generation
        for position_changed in list(self._position_changed.values()):
            async with position_changed:
                position_changed.notify_all()

    async def run(self) -> None:
        """Advance until cancelled. Errors are logged and retried."""
        self._projects = True
        await self._run_connected(self._advance_all)

    async def watch(self) -> None:
        """Follow the positions that another process reaches, until cancelled, so that `wait_for` works."""
        await self._run_connected(self._watch_positions)

    async def _run_connected(self, step: Callable[[Connection], Awaitable[None]]) -> None:
        async def close_generations(_: Connection) -> None:
            await self._close(*self._connections)

        try:
            await keep_connected(
                "projecting",
                self._dsn,
                step,
                log=_log,
                retry_seconds=RETRY_SECONDS,
                on_connect=close_generations,
                search_path="pg_catalog",
                statement_seconds=STATEMENT_SECONDS_MAX,
            )
        finally:
            await self._close(*self._connections)

    async def _advance_all(self, connection: Connection) -> None:
        """Advance every ledger of every kept generation by some batches. Without new events, wait for a signal."""
        self._notified.clear()
        kept = await self._refresh_generations(connection)
        busy = False
        for generation in kept:
            if self._retry_at.get(generation.generation, 0) > time.monotonic():
                continue
            try:
                busy = await self._advance_generation(generation) or busy
                self._faults.recovered(f"generation {generation.generation}")
            except RebuildDue:
                self._mark_outdated(generation.generation)
            except Exception as error:
                if generation.state == "active":
                    raise
                self._faults.error(
                    f"generation {generation.generation}",
                    "generation %s waits: %s",
                    generation.generation,
                    type(error).__name__,
                )
                self._retry_at[generation.generation] = time.monotonic() + HOUSEKEEPING_SECONDS
                await self._close(generation.generation)
        if not busy:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._notified.wait(), POLL_SECONDS)

    async def _advance_generation(self, generation: Generation) -> bool:
        """Advance one generation by some batches of every ledger. Return True if there were new events."""
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
        """Advance one ledger by some batches. Return True if there were any.

        A ledger that fails is retried after a pause, which doubles with each failure. Other ledgers continue.
        """
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
        """List the kept generations, the active one first. Close the connections of all others."""
        listed = await generations.list_generations(connection)
        kept = sorted(
            (generation for generation in listed if generation.state in FOLLOWING_STATES),
            key=lambda generation: FOLLOWING_STATES.index(generation.state),
        )
        await self._close(*(self._connections.keys() - {generation.generation for generation in kept}))
        if kept and kept[0].state == "active" and kept[0].generation != self._active_generation:
            async with self._active_changed:
                self._active_generation = kept[0].generation
                self._active_changed.notify_all()
        if self._projects and time.monotonic() > self._housekeeping_at + HOUSEKEEPING_SECONDS:
            self._housekeeping_at = time.monotonic()
            await promotion.drop_unused(connection)
            for number, generation_connection in self._connections.items():
                if self._retry_at.get(number, 0) < time.monotonic():
                    await self._housekeeping(number, generation_connection, await list_ledgers(connection))
        return kept

    async def _housekeeping(self, generation: int, connection: Connection, ledgers: Sequence[Ledger]) -> None:
        """Retry subjects that waited for this version, and apply changed policies, in one generation."""
        try:
            for ledger in ledgers:
                await retry_after_upgrade(connection, ledger.ledger_id)
                await follow_policies(connection, ledger.ledger_id)
        except RebuildDue:
            self._mark_outdated(generation)

    def _mark_outdated(self, generation: int) -> None:
        """Log that another version made a generation, and do not try it again for five minutes."""
        about = f"generation {generation}"
        self._faults.error(about, "%s stays as it is: another version made it; rebuild", about)
        self._retry_at[generation] = time.monotonic() + 60 * HOUSEKEEPING_SECONDS

    async def _connection_of(self, generation: Generation) -> "Connection | None":
        """Return the connection of a generation; None if the generation has just been dropped."""
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
            self._positions = defaultdict(
                int, {key: position for key, position in self._positions.items() if key[0] != number}
            )

    async def _watch_positions(self, connection: Connection) -> None:
        await self._refresh_generations(connection)
        generation = await generations.find_generation(connection, self._reader_generation or self._active_generation)
        watched_connection = await self._connection_of(generation)
        self._notified.clear()
        if watched_connection is not None:
            for ledger_id, position, _ in await watched_connection.fetch(READ_POSITIONS):
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
    """Advance one ledger until its rows reflect all of it. Return the position. Raises RebuildDue."""
    await register_binary_codecs(connection)
    cache = SubjectCache()
    with reduced_gc():
        while (position := await store.read_checkpoint(connection, ledger_id)) < await tail(connection, ledger_id):
            async for _ in advance.advance_until_current(connection, ledger_id, cache):
                pass
    await follow_policies(connection, ledger_id)
    return position
