"""Extend the Merkle tree of every ledger after appends, sign checkpoints, and send them to witnesses and anchors.

A checkpoint is due after a number of events. If there is any new event, a checkpoint is also due after a time. In idle
time, old tiles are hashed again from their entries, one after the other. After the last tile the first one follows. So
a changed event in the database is found eventually, without a request. A problem that forbids signing is logged, shown
by /v1/ledger/checkpoint, and retried. The ledger keeps accepting events.
"""

import asyncio
import logging
import time

from ledger.background import keep_connected
from ledger.database import Connection, Session
from ledger.errors import LedgerError, NotOurs, Unsealable
from ledger.merkle import TILE_WIDTH, Frontier
from ledger.store import read
from ledger.store.ledger_rounds import LOCK_SECONDS_MAX, LedgerRounds
from ledger.store.ledger_share import ALL_LEDGERS, LedgerShare
from ledger.store.registry import Ledger, list_ledgers
from ledger.transparency import tree_heads
from ledger.transparency.signer import Signer
from ledger.transparency.tree import load_frontier, recheck_tile, seal_block
from ledger.transparency.tree_heads import SignedCheckpoint
from service.background.checkpoint_publisher import Publisher
from service.monitoring.instruments import Instruments
from service.settings import Settings

POLL_SECONDS = 0.5
RECONNECT_SECONDS = 2.0
RETRY_SECONDS = 10.0  # of a ledger that cannot be sealed
STEP_SECONDS_MAX = 10.0  # for one ledger in a round. Then the other ledgers are sealed first
STATEMENT_SECONDS_MAX = 30.0  # for one statement, which reads or writes some tiles or entries
SIGNED_ELSEWHERE_SECONDS = 120.0  # a checkpoint overdue by this time means that nobody signs
NOT_ALLOWED_SECONDS = 600.0  # until the right to seal is checked again

MAY_SEAL = "SELECT has_table_privilege('ledger.tiles', 'INSERT')"

_log = logging.getLogger(__name__)


class Sealer:
    """Seals the ledgers of a share of one database, on its own connection."""

    def __init__(
        self,
        dsn: str,
        signer: Signer,
        settings: Settings,
        instruments: Instruments | None = None,
        share: LedgerShare = ALL_LEDGERS,
    ) -> None:
        self._share = share
        self._dsn = dsn
        self._signer = signer
        self._events = settings.checkpoint_events
        self._seconds = settings.checkpoint_seconds
        self._publisher = Publisher(dsn, settings, instruments or Instruments())
        self._frontiers: dict[int, Frontier] = {}
        self._next_tile: dict[int, int] = {}  # number of the next tile of leaves; it does not advance over a wrong tile
        self._wrong_ledgers: set[int] = set()  # ledgers with a wrong tile; they are not signed
        self._idle_rounds = 0
        self._may_seal = False
        self._rounds = LedgerRounds("sealing", _log, retry_seconds=RETRY_SECONDS, step_seconds_max=STEP_SECONDS_MAX)
        self._refusals: dict[int, tuple[str, float]] = {}  # the last reported problem of a ledger, and its time
        self._unsealed: dict[int, tuple[int, float]] = {}  # last checkpoint, and when this process first saw it

    async def run(self) -> None:
        """Seal until cancelled."""
        try:
            # No projection rows are read here. So no generation is locked, and any can be removed.
            await keep_connected(
                "sealing",
                self._dsn,
                self._seal_all,
                log=_log,
                retry_seconds=RECONNECT_SECONDS,
                on_connect=self._begin,
                search_path="pg_catalog",
                statement_seconds=STATEMENT_SECONDS_MAX,
                lock_seconds_max=LOCK_SECONDS_MAX,
            )
        finally:
            await self._publisher.close()

    async def _begin(self, connection: Connection) -> None:
        """Drop what was read on another connection. After a failover the other server may know more, or less."""
        self._frontiers.clear()
        self._may_seal = bool(await connection.fetchval(MAY_SEAL))

    async def _seal_all(self, connection: Session) -> None:
        """Seal the next block of every ledger. If there is none, hash an old tile again, and pause."""
        if not self._may_seal:
            _log.warning("nothing is sealed here: this role of the database may not; loyalty_service may")
            await asyncio.sleep(NOT_ALLOWED_SECONDS)
            await self._begin(connection)
            return
        ledgers = self._share.select(await list_ledgers(connection))
        busy = await self._rounds.run(connection, ledgers, self._seal_next)
        if not any(busy):
            if ledgers:
                self._idle_rounds += 1
                await self._rounds.run(connection, [ledgers[self._idle_rounds % len(ledgers)]], self._recheck)
            await asyncio.sleep(POLL_SECONDS)

    async def _seal_next(self, connection: Connection, ledger: Ledger) -> bool:
        """Seal a block of a ledger, or sign if a checkpoint is due. Return True if more can be sealed at once."""
        ledger_id = ledger.ledger_id
        refusal = self._refusals.get(ledger_id)
        if refusal is not None and time.monotonic() - refusal[1] < RETRY_SECONDS:
            return False
        try:
            frontier = self._frontiers.get(ledger_id) or await load_frontier(connection, ledger_id)
            new_frontier = self._frontiers[ledger_id] = await seal_block(connection, ledger_id, frontier)
            if new_frontier is not frontier:
                return True
            if ledger_id in self._wrong_ledgers:
                await self._recheck(connection, ledger)
            elif await self._is_due(connection, ledger_id):
                signed = await tree_heads.sign_head(connection, self._signer, ledger, frontier=new_frontier)
                self._refusals.pop(ledger_id, None)
                self._publisher.publish(ledger, signed)
        except LedgerError as error:
            self._frontiers.pop(ledger_id, None)
            await self._report_problem(connection, ledger, error)
        return False

    async def _recheck(self, connection: Connection, ledger: Ledger) -> None:
        """Hash the next old tile of a ledger again. A wrong tile is reported. The ledger is not signed until the tile
        is correct.
        """
        ledger_id = ledger.ledger_id
        number = self._next_tile.get(ledger_id, 0)
        if number * TILE_WIDTH >= self._frontiers.get(ledger_id, Frontier()).size:
            self._next_tile[ledger_id] = 0
            return
        try:
            await recheck_tile(connection, ledger_id, number)
            self._wrong_ledgers.discard(ledger_id)
            self._next_tile[ledger_id] = number + 1
        except LedgerError as error:
            self._wrong_ledgers.add(ledger_id)
            await self._report_problem(connection, ledger, error)

    async def _is_due(self, connection: Connection, ledger_id: int) -> bool:
        latest = await tree_heads.latest_checkpoint(connection, ledger_id)
        tail = await read.tail(connection, ledger_id)
        if latest is None:
            return tail > 0
        if tail < latest.size:
            return True  # it cannot be signed; the attempt finds the problem and reports it
        return tail - latest.size >= self._events or (
            tail > latest.size and await self._waited_seconds(connection, ledger_id, latest) >= self._seconds
        )

    async def _waited_seconds(self, connection: Connection, ledger_id: int, latest: SignedCheckpoint) -> float:
        """Return the time that events have waited to be covered by a checkpoint.

        It is the larger of two figures: the age of the last checkpoint by the database's clock, and the time since this
        process first read it. The second is right if the database's clock was set back.
        """
        checkpoint, since = self._unsealed.get(ledger_id, (0, 0.0))
        if checkpoint != latest.checkpoint:
            since = time.monotonic()
            self._unsealed[ledger_id] = (latest.checkpoint, since)
        return max(await tree_heads.checkpoint_age_seconds(connection, latest), time.monotonic() - since)

    async def _report_problem(self, connection: Connection, ledger: Ledger, error: LedgerError) -> None:
        text = str(error)
        known = self._refusals.get(ledger.ledger_id)
        if known is None or known[0] != text:
            _log.error("NOT SEALED here: ledger %s: %s", ledger.name, text)
        self._refusals[ledger.ledger_id] = (text, time.monotonic())
        if isinstance(error, Unsealable) and await self._must_report(connection, ledger, error):
            await tree_heads.record_seal_problem(connection, ledger.ledger_id, error)

    async def _must_report(self, connection: Connection, ledger: Ledger, error: Unsealable) -> bool:
        """Return False if another signer signs the ledger in time."""
        latest = await tree_heads.latest_checkpoint(connection, ledger.ledger_id)
        if latest is None or not isinstance(error, NotOurs):
            return True
        due_seconds = max(SIGNED_ELSEWHERE_SECONDS, 2 * self._seconds)
        return await self._waited_seconds(connection, ledger.ledger_id, latest) > due_seconds
