"""The projector: keep the rows of every kept generation up to date.

- It advances the active generation first. The ready and the retired generation follow one batch at a time. So readers
  notice at most a little lag.
- A ledger that fails waits, and all other ledgers continue. So does a generation that is not active.
- A ledger whose batch takes long, for example because its server hangs, is left to a task and a connection of its own.
- The appender of the same process wakes it (progress.py). It also polls, because another process may have appended.

Its state stands elsewhere: connections and caches in followed_generations.py, reached positions in progress.py.
"""

import asyncio
import contextlib
import logging

import asyncpg

from ledger.background import LogThrottle, RetryPauses, cancel, cancel_all
from ledger.database import CONNECTION_LOST, Connection
from ledger.errors import RebuildDue
from ledger.failures import describe_failure
from ledger.gc_tuning import reduced_gc
from ledger.store.ledger_rounds import is_away
from ledger.store.ledger_share import ALL_LEDGERS, LedgerShare
from ledger.store.read import tail
from projections.engine import advance, promotion, store
from projections.engine.binary_codecs import register_binary_codecs
from projections.engine.cache import SubjectCache
from projections.engine.followed_generations import FollowedGeneration, FollowedGenerations
from projections.engine.generations import Generation
from projections.engine.progress import ProjectionProgress

POLL_SECONDS = 0.1
BATCHES_PER_LEDGER_MAX = 10  # before the next ledger is advanced
SUBJECTS_PER_ROUND = 200  # parked subjects of a ledger, folded again before its next batches
RETRY_SECONDS = 1.0
RETRY_SECONDS_MAX = 60.0  # of a ledger that fails repeatedly
GENERATION_RETRY_SECONDS = 5.0  # of a generation that is not active, after a failure
REBUILD_DUE_SECONDS = 300.0  # between two looks at a generation that another version made
STALL_SECONDS = 2.0  # without a batch; then the next ledgers are advanced beside the ledger
STALLED_LEDGERS_MAX = 4  # at once
HOUSEKEEPING_SECONDS = 5.0  # between two runs of housekeeping: dropped generations, parked subjects, changed policies

_log = logging.getLogger(__name__)


class Projector:
    """Advances the ledgers of a share in all kept generations of one database, on connections of its own."""

    def __init__(self, dsn: str, progress: ProjectionProgress, share: LedgerShare = ALL_LEDGERS) -> None:
        self._progress = progress
        self._generations = FollowedGenerations(dsn, progress, share)
        self._pauses = RetryPauses(RETRY_SECONDS, RETRY_SECONDS_MAX)
        self._housekeeping = RetryPauses(HOUSEKEEPING_SECONDS, HOUSEKEEPING_SECONDS)
        self._refolding = dict[int, set[int]]()  # by generation: ledgers with parked subjects that may be folded
        self._faults = LogThrottle(_log)
        self._batches = 0  # written so far
        self._stalled: dict[tuple[int, int], asyncio.Task[None]] = {}  # by generation and ledger

    async def run(self) -> None:
        """Advance until cancelled. Errors are logged and retried."""
        self._progress.on_append = self._progress.notify
        try:
            await self._generations.follow(self._advance_all)
        finally:
            await cancel_all(list(self._stalled.values()))

    async def _advance_all(self, connection: Connection) -> None:
        """Advance every ledger of every kept generation by some batches. Without new events, wait for a signal."""
        self._progress.begin_round()
        busy = False
        for generation in await self._generations.list_kept(connection):
            if self._pauses.is_over(generation.generation):
                busy = await self._try_advance(generation) or busy
        if self._housekeeping.is_due("dropped generations"):
            await promotion.drop_unused(connection)
        if not busy:
            await self._progress.wait_for_signal(POLL_SECONDS)

    async def _try_advance(self, generation: Generation) -> bool:
        """Advance one generation. Return True if there were new events. After a failure it is paused."""
        number, name = generation.generation, f"generation {generation.generation}"
        try:
            busy = await self._advance_generation(generation)
        except RebuildDue:
            self._faults.error(name, "%s stays as it is: another version made it; rebuild", name)
            self._pauses.start(number, REBUILD_DUE_SECONDS)
            return False
        except Exception as error:
            if generation.state == "active":
                raise
            self._faults.error(name, "%s waits: %s", name, type(error).__name__)
            self._pauses.start(number, GENERATION_RETRY_SECONDS)
            await self._generations.close(number)
            return False
        self._faults.recovered(name)
        return busy

    async def _advance_generation(self, generation: Generation) -> bool:
        """Advance one generation by some batches of every ledger. Return True if there were new events."""
        number = generation.generation
        followed = await self._generations.open(number)
        if followed is None:
            return False
        busy = False
        batches_max = BATCHES_PER_LEDGER_MAX if generation.state == "active" else 1
        positions = await self._generations.read_positions(number)
        if self._housekeeping.is_due(number):
            self._refolding[number] = {ledger_id for ledger_id, _, _ in positions}
        waiting = self._refolding.setdefault(number, set())
        for ledger_id, position, end in positions:
            key = (number, ledger_id)
            if key in self._stalled or not self._pauses.is_over(key):
                continue
            if ledger_id in waiting:
                if await self._work_on_ledger(number, ledger_id, 0):
                    busy = True
                else:
                    waiting.discard(ledger_id)
            if position < end and key not in self._stalled:
                busy = await self._work_on_ledger(number, ledger_id, batches_max) or busy
        return busy

    async def _work_on_ledger(self, number: int, ledger_id: int, batches_max: int) -> bool:
        """Advance one ledger by some batches. Return True if there were any. A ledger that stalls is left to a task.

        With 0 batches, apply the changes of its rows that no batch writes, a few subjects. Return True if more wait.
        """
        followed = await self._generations.open(number)
        if followed is None:
            return False
        advancing = asyncio.create_task(self._advance_batches(followed, ledger_id, batches_max))
        try:
            while True:
                batches = self._batches
                await asyncio.wait([advancing], timeout=STALL_SECONDS)
                if advancing.done():
                    return advancing.result()
                if batches == self._batches and len(self._stalled) < STALLED_LEDGERS_MAX:
                    break
        except BaseException:
            await cancel(advancing)
            raise
        self._faults.error((number, ledger_id), "projections of ledger %s take long: others go on", ledger_id)
        self._generations.leave(number)
        self._stalled[number, ledger_id] = asyncio.create_task(self._finish(followed, ledger_id, advancing))
        return True

    async def _finish(self, followed: FollowedGeneration, ledger_id: int, advancing: "asyncio.Task[bool]") -> None:
        """Wait for the batch of a ledger that stalled, and close its connection."""
        key = (followed.number, ledger_id)
        try:
            await advancing
        except Exception as error:
            self._pauses.start(key)
            self._faults.error(key, "projections of ledger %s wait: %s", ledger_id, describe_failure(error))
        finally:
            advancing.cancel()
            await followed.connection.close()
            del self._stalled[key]

    async def _advance_batches(self, followed: FollowedGeneration, ledger_id: int, batches_max: int) -> bool:
        """Advance one ledger by some batches, see `_work_on_ledger`. Return True if there were any.

        A ledger that fails is retried after a pause, which doubles with each failure. Other ledgers continue.
        """
        batches = 0
        try:
            if not batches_max:
                return await promotion.follow_changes(followed.connection, ledger_id, SUBJECTS_PER_ROUND)
            async with contextlib.aclosing(
                advance.advance_until_current(followed.connection, ledger_id, followed.cache)
            ) as positions:
                async for position in positions:
                    await self._progress.publish(followed.number, ledger_id, position)
                    batches += 1
                    self._batches += 1
                    if batches == batches_max:
                        break
        except Exception as error:
            is_lost = followed.connection.is_closed() or (
                isinstance(error, (RebuildDue, *CONNECTION_LOST)) and not is_away(error)
            )
            if not is_lost or isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
                seconds = self._pauses.start((followed.number, ledger_id))
                _log.error("projections of ledger %s wait %g s: %s", ledger_id, seconds, describe_failure(error))
            if is_lost:
                raise
            return False
        self._pauses.end((followed.number, ledger_id))
        return batches > 0


async def watch_positions(dsn: str, progress: ProjectionProgress) -> None:
    """Follow the positions that another process reaches, until cancelled, so that callers can wait for them."""
    generations = FollowedGenerations(dsn, progress)

    async def look(connection: Connection) -> None:
        progress.begin_round()
        await generations.list_kept(connection)
        followed = await generations.open(progress.reader_generation or progress.active_generation)
        if followed is not None:
            await generations.read_positions(followed.number)
        await progress.wait_for_signal(POLL_SECONDS)

    await generations.follow(look)


async def catch_up(connection: Connection, ledger_id: int) -> int:
    """Advance one ledger until its rows reflect all of it. Return the position. Raises RebuildDue."""
    await register_binary_codecs(connection)
    cache = SubjectCache()
    with reduced_gc():
        while (position := await store.read_checkpoint(connection, ledger_id)) < await tail(connection, ledger_id):
            async for _ in advance.advance_until_current(connection, ledger_id, cache):
                pass
    await promotion.follow_changes(connection, ledger_id)
    return position
