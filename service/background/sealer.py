"""Seal all ledgers behind the appends, sign checkpoints, and hand them to witnesses and anchors.

A checkpoint is due after so many events or, if there are any, after so many seconds. When there is nothing else to do,
old tiles are hashed again from their entries, one at a time and round and round, so that an event that was changed in
the database is found sooner or later without anybody asking. What must not be signed over is told loudly, in the log
and in /v1/ledger/checkpoint, and tried again: the ledger goes on taking events in.
"""

import asyncio
import logging
import time

from ledger.background import keep_connected
from ledger.database import Connection
from ledger.errors import LedgerError, NotOurs, Unsealable
from ledger.merkle import TILE_WIDTH, Frontier
from ledger.store import read
from ledger.store.registry import Ledger, all_ledgers
from ledger.transparency import tree_heads
from ledger.transparency.signer import Signer
from ledger.transparency.tree import load_frontier, recheck, seal_block
from ledger.transparency.tree_heads import Signed
from service.background.checkpoint_publisher import Publisher
from service.settings import Settings

POLL_SECONDS = 0.5
RETRY_SECONDS = 10.0
STATEMENT_SECONDS_MAX = 30.0  # of any statement here: each reads or writes some tiles or entries
SIGNED_ELSEWHERE_SECONDS = 120.0  # so long a checkpoint may be due before nobody seems to sign
NOT_ALLOWED_SECONDS = 600.0  # until it is looked at again whether we may

MAY_SEAL = "SELECT has_table_privilege('ledger.tiles', 'INSERT')"

_log = logging.getLogger(__name__)


class Sealer:
    """Seals the ledgers of one database, on a connection of its own."""

    def __init__(self, dsn: str, signer: Signer, settings: Settings) -> None:
        self._dsn = dsn
        self._signer = signer
        self._events = settings.checkpoint_events
        self._seconds = settings.checkpoint_seconds
        self._publisher = Publisher(dsn, settings)
        self._frontiers: dict[int, Frontier] = {}
        self._rechecked: dict[int, int] = {}  # which tile of leaves is next; it stays where one is wrong
        self._wrong: set[int] = set()  # ledgers that are not signed because of that
        self._turns = 0
        self._refused: dict[int, tuple[str, float]] = {}  # what was told of a ledger, and when
        self._unsealed: dict[int, tuple[int, float]] = {}  # the checkpoint after which events were seen, and since when

    async def run(self) -> None:
        """Seal until cancelled."""
        try:
            # No rows are read here: without a generation to stay with, none is kept from being dropped.
            await keep_connected(
                "sealing",
                self._dsn,
                self._seal_connected,
                log=_log,
                retry_seconds=RETRY_SECONDS,
                search_path="pg_catalog",
                statement_seconds=STATEMENT_SECONDS_MAX,
            )
        finally:
            await self._publisher.close()

    async def _seal_connected(self, connection: Connection) -> None:
        self._frontiers.clear()
        if not await connection.fetchval(MAY_SEAL):
            _log.warning("nothing is sealed here: this role of the database may not; loyalty_service may")
            await asyncio.sleep(NOT_ALLOWED_SECONDS)
            return
        while True:
            ledgers = await all_ledgers(connection)
            busy = [await self._turn(connection, ledger) for ledger in ledgers]
            if not any(busy):
                if ledgers:
                    self._turns += 1
                    await self._recheck(connection, ledgers[self._turns % len(ledgers)])
                await asyncio.sleep(POLL_SECONDS)

    async def _turn(self, connection: Connection, ledger: Ledger) -> bool:
        """Seal some of a ledger, or sign if that is due. Say whether there is more to do at once."""
        ledger_id = ledger.ledger_id
        told = self._refused.get(ledger_id)
        if told is not None and time.monotonic() - told[1] < RETRY_SECONDS:
            return False
        try:
            frontier = self._frontiers.get(ledger_id) or await load_frontier(connection, ledger_id)
            grown = self._frontiers[ledger_id] = await seal_block(connection, ledger_id, frontier)
            if grown is not frontier:
                return True
            if ledger_id in self._wrong:
                await self._recheck(connection, ledger)
            elif await self._is_due(connection, ledger_id):
                signed = await tree_heads.sign_head(connection, self._signer, ledger, frontier=grown)
                self._refused.pop(ledger_id, None)
                self._publisher.publish(ledger, signed)
        except LedgerError as error:
            self._frontiers.pop(ledger_id, None)
            await self._tell(connection, ledger, error)
        return False

    async def _recheck(self, connection: Connection, ledger: Ledger) -> None:
        """Hash the next old tile of a ledger again. What is wrong is told, and not signed over until it is right."""
        ledger_id = ledger.ledger_id
        number = self._rechecked.get(ledger_id, 0)
        if number * TILE_WIDTH >= self._frontiers.get(ledger_id, Frontier()).size:
            self._rechecked[ledger_id] = 0
            return
        try:
            await recheck(connection, ledger_id, number)
            self._wrong.discard(ledger_id)
            self._rechecked[ledger_id] = number + 1
        except LedgerError as error:
            self._wrong.add(ledger_id)
            await self._tell(connection, ledger, error)

    async def _is_due(self, connection: Connection, ledger_id: int) -> bool:
        latest = await tree_heads.latest_checkpoint(connection, ledger_id)
        tail = await read.tail(connection, ledger_id)
        if latest is None:
            return tail > 0
        if tail < latest.size:
            return True  # not to be signed, which is found out, and told, by trying
        return tail - latest.size >= self._events or (
            tail > latest.size and await self._waited_seconds(connection, ledger_id, latest) >= self._seconds
        )

    async def _waited_seconds(self, connection: Connection, ledger_id: int, latest: Signed) -> float:
        """Return for how long events have waited to be covered: since the last checkpoint by the database's clock, or
        since this process first saw them. The second holds when the database's clock was set back."""
        checkpoint, since = self._unsealed.get(ledger_id, (0, 0.0))
        if checkpoint != latest.checkpoint:
            since = time.monotonic()
            self._unsealed[ledger_id] = (latest.checkpoint, since)
        return max(await tree_heads.age_seconds(connection, latest), time.monotonic() - since)

    async def _tell(self, connection: Connection, ledger: Ledger, error: LedgerError) -> None:
        text = str(error)
        known = self._refused.get(ledger.ledger_id)
        if known is None or known[0] != text:
            _log.error("NOT SEALED here: ledger %s: %s", ledger.name, text)
        self._refused[ledger.ledger_id] = (text, time.monotonic())
        if isinstance(error, Unsealable) and await self._concerns_us(connection, ledger, error):
            await tree_heads.note_problem(connection, ledger.ledger_id, error)

    async def _concerns_us(self, connection: Connection, ledger: Ledger, error: Unsealable) -> bool:
        """Return False if we are only not the signer of a ledger that another one signs in time."""
        latest = await tree_heads.latest_checkpoint(connection, ledger.ledger_id)
        if latest is None or not isinstance(error, NotOurs):
            return True
        due_seconds = max(SIGNED_ELSEWHERE_SECONDS, 2 * self._seconds)
        return await self._waited_seconds(connection, ledger.ledger_id, latest) > due_seconds
