"""The generations that follow the ledger: a connection and a cache of subjects for each of them.

The position of every ledger is read by one statement. If it fails or takes too long, each ledger is read by itself for
a while. So a ledger that cannot be read delays no other.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

from ledger.background import LogThrottle, RetryPauses, keep_connected
from ledger.database import CONNECTION_LOST, Connection, Session, connect, enter_generation, has_several_servers
from ledger.store.ledger_rounds import is_away
from ledger.store.ledger_share import ALL_LEDGERS, LedgerShare
from ledger.store.registry import Ledger, list_ledgers
from projections.engine import advance, generations
from projections.engine.binary_codecs import register_binary_codecs
from projections.engine.cache import SubjectCache
from projections.engine.generations import FOLLOWING_STATES, Generation
from projections.engine.progress import ProjectionProgress

RETRY_SECONDS = 1.0
STATEMENT_SECONDS_MAX = 60.0  # of any statement: each reads or writes the facts or rows of one batch
POSITIONS_SECONDS_MAX = 2.0  # for the statement over all ledgers
POSITION_SECONDS_MAX = 0.5  # for the statement of one ledger
READERS = 8  # connections that read ledgers one by one
ONE_BY_ONE_SECONDS = 30.0  # after the statement over all ledgers has failed
UNREACHABLE_SECONDS_MAX = 60.0  # between two tries of a ledger that cannot be read

# The checkpoint and the tail of each ledger, in one query: most ledgers are idle and need no query of their own.
READ_POSITIONS = """
    SELECT l.ledger_id, coalesce(c.position, 0) AS position, coalesce(e.position, 0) AS tail
      FROM ledger.ledgers l
      LEFT JOIN checkpoints c ON c.ledger_id = l.ledger_id
      LEFT JOIN LATERAL (SELECT position FROM ledger.events WHERE ledger_id = l.ledger_id
                          ORDER BY position DESC LIMIT 1) e ON true
     WHERE (l.ledger_id - 1) % $2 = $1 - 1
     ORDER BY l.ledger_id
"""
# The same of ledgers with a checkpoint, for a database of several servers. Each server reads its own ledgers.
READ_POSITIONS_ON_SERVERS = """
    SELECT c.ledger_id, c.position, coalesce(e.position, 0) AS tail FROM checkpoints c
      LEFT JOIN LATERAL (SELECT position FROM ledger.events WHERE ledger_id = c.ledger_id
                          ORDER BY position DESC LIMIT 1) e ON true
     WHERE (c.ledger_id - 1) % $2 = $1 - 1
"""
READ_POSITION = """
    SELECT $1::int, coalesce((SELECT position FROM checkpoints WHERE ledger_id = $1), 0),
           coalesce((SELECT position FROM ledger.events WHERE ledger_id = $1 ORDER BY position DESC LIMIT 1), 0)
"""

_log = logging.getLogger(__name__)


class LedgerPosition(NamedTuple):
    """The checkpoint of a ledger in one generation, and the ledger's last position."""

    ledger_id: int
    position: int
    tail: int


class FollowedGeneration(NamedTuple):
    """One generation with its connection, and the subjects that this connection folded last."""

    number: int
    connection: Session
    cache: SubjectCache


class FollowedGenerations:
    """Opens a connection for each generation when it is first used, and closes those of dropped generations."""

    def __init__(self, dsn: str, progress: ProjectionProgress, share: LedgerShare = ALL_LEDGERS) -> None:
        self._dsn, self._progress, self._share = dsn, progress, share
        self._opened: dict[int, FollowedGeneration] = {}
        self._left: list[Session] = []  # still used by ledgers that stalled
        self._one_by_one_until = 0.0  # of time.monotonic()
        self._unreachable = RetryPauses(RETRY_SECONDS, UNREACHABLE_SECONDS_MAX)
        self._faults = LogThrottle(_log)

    async def follow(self, step: Callable[[Connection], Awaitable[None]]) -> None:
        """Call `step` with a sound connection again and again, until cancelled. Errors are logged and retried."""

        async def close_all(_: Connection) -> None:
            for session in self._left:  # its server may have been replaced, and would never answer
                session.terminate()
            await self.close(*self._opened)

        try:
            await keep_connected(
                "projecting",
                self._dsn,
                step,
                log=_log,
                retry_seconds=RETRY_SECONDS,
                on_connect=close_all,
                search_path="pg_catalog",
                statement_seconds=STATEMENT_SECONDS_MAX,
            )
        finally:
            await self.close(*self._opened)

    async def list_kept(self, connection: Connection) -> list[Generation]:
        """List the kept generations, the active one first. Publish the active one, and close all others."""
        listed = await generations.list_generations(connection)
        kept = [generation for generation in listed if generation.state in FOLLOWING_STATES]
        kept.sort(key=lambda generation: FOLLOWING_STATES.index(generation.state))
        await self.close(*(self._opened.keys() - {generation.generation for generation in kept}))
        if kept and kept[0].state == "active":
            await self._progress.set_active_generation(kept[0].generation)
        return kept

    async def open(self, number: int) -> FollowedGeneration | None:
        """Return a generation with its connection; None if it has just been dropped."""
        if number in self._opened and self._opened[number].connection.is_closed():
            await self.close(number)
        if number not in self._opened:
            session = await self._open_session(number)
            if session is None:
                return None
            self._opened[number] = FollowedGeneration(number, session, SubjectCache())
        return self._opened[number]

    async def _open_session(self, number: int) -> Session | None:
        session = await connect(self._dsn, search_path="pg_catalog", statement_seconds=STATEMENT_SECONDS_MAX)
        try:
            entered = await enter_generation(session, number)
            if entered is not None:
                await advance.set_idle_in_transaction_timeout(session)
                await register_binary_codecs(session)
        except BaseException:
            session.terminate()
            raise
        if entered is None:
            await session.close()
            return None
        return session

    def leave(self, number: int) -> None:
        """Leave a generation's connection and cache to the caller. The next `open` opens others.

        The connection ends when that of `follow` is replaced.
        """
        self._left = [session for session in self._left if not session.is_closed()]
        self._left.append(self._opened.pop(number).connection)

    async def read_positions(self, number: int) -> list[LedgerPosition]:
        """Read and publish the position of each ledger of the share in an opened generation.

        Another process may have advanced it. Ledgers that cannot be read are left out.
        """
        if time.monotonic() < self._one_by_one_until:
            positions = await self._read_one_by_one(number)
        else:
            try:
                async with asyncio.timeout(POSITIONS_SECONDS_MAX):
                    positions = await self._read_together(self._opened[number].connection)
            except CONNECTION_LOST as error:
                if not isinstance(error, TimeoutError) and not is_away(error):
                    raise
                self._faults.error(number, "each ledger is read by itself: %s", type(error).__name__)
                self._one_by_one_until = time.monotonic() + ONE_BY_ONE_SECONDS
                positions = await self._read_one_by_one(number)
        for ledger_id, position, _ in positions:
            await self._progress.publish(number, ledger_id, position)
        return positions

    async def _read_together(self, connection: Session) -> list[LedgerPosition]:
        """Read the position of each ledger of the share by one statement."""
        if not await has_several_servers(connection):
            return [LedgerPosition(*row) for row in await connection.fetch(READ_POSITIONS, *self._share)]
        found = {
            row[0]: LedgerPosition(*row) for row in await connection.fetch(READ_POSITIONS_ON_SERVERS, *self._share)
        }
        for ledger in self._share.select(await list_ledgers(connection)):
            if ledger.ledger_id not in found:
                row = await connection.fetchrow(READ_POSITION, ledger.ledger_id)
                assert row is not None
                found[ledger.ledger_id] = LedgerPosition(*row)
        return [found[ledger_id] for ledger_id in sorted(found)]

    async def _read_one_by_one(self, number: int) -> list[LedgerPosition]:
        """Read the position of each ledger by itself. A ledger that cannot be read is tried again after a pause."""
        followed = await self.open(number)
        ledgers = [] if followed is None else self._share.select(await list_ledgers(followed.connection))
        due = iter([ledger for ledger in ledgers if self._unreachable.is_over(ledger)])
        readers = [self._read_next(number, due) for _ in range(min(READERS, len(ledgers)))]
        return sorted(position for positions in await asyncio.gather(*readers) for position in positions)

    async def _read_next(self, number: int, due: Iterator[Ledger]) -> list[LedgerPosition]:
        """Read the positions of ledgers until none is due, on a connection of its own."""
        positions: list[LedgerPosition] = []
        session: Session | None = None
        try:
            for ledger in due:
                if session is None or session.is_closed():
                    session = await self._open_session(number)
                if session is None:
                    break
                try:
                    async with asyncio.timeout(POSITION_SECONDS_MAX):
                        row = await session.fetchrow(READ_POSITION, ledger.ledger_id)
                except CONNECTION_LOST as error:
                    if not isinstance(error, TimeoutError) and not is_away(error):
                        raise
                    self._unreachable.start(ledger)
                    self._faults.error(ledger, "ledger %s cannot be reached: %s", ledger.name, type(error).__name__)
                    continue
                assert row is not None
                positions.append(LedgerPosition(*row))
                self._unreachable.end(ledger)
                self._faults.recovered(ledger)
        finally:
            if session is not None:
                await session.close()
        return positions

    async def close(self, *numbers: int) -> None:
        """Close the connections of generations, and drop their caches."""
        for number in numbers:
            self._progress.forget(number)
            await self._opened.pop(number).connection.close()
