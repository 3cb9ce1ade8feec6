"""Group commit: requests put deliveries on a queue, one task appends whatever is there in one transaction.

A request is answered only after the commit that holds its events (law 1). While one commit is under way the next batch
gathers by itself, and nothing waits beyond that: to wait for more would leave the database idle while deliveries are
read, and the reading idle while the database writes.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import asyncpg

from ledger.append import Appended, append
from ledger.database import connect
from ledger.errors import LedgerError, LedgerUnavailable
from ledger.identify import Delivery
from ledger.vault import Vault

EVENTS_PER_COMMIT_MAX = 500
BYTES_PER_COMMIT_MAX = 8 * 1024 * 1024
WAITING_DELIVERIES_MAX = 10_000
COMMIT_SECONDS_MAX = 5.0

_log = logging.getLogger(__name__)


class Waiting(NamedTuple):
    """One delivery on the queue, and who waits for its outcome."""

    ledger_id: int
    delivery: Delivery
    outcome: "asyncio.Future[list[Appended]]"


class Appender:
    """Appends for one process; `appended` is called after each commit."""

    def __init__(self, dsn: str, vault: Vault, appended: Callable[[], None]) -> None:
        self._dsn = dsn
        self._vault = vault
        self._appended = appended
        self._queue: asyncio.Queue[Waiting] = asyncio.Queue(WAITING_DELIVERIES_MAX)
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def append(self, ledger_id: int, delivery: Delivery) -> list[Appended]:
        """Append one delivery; answer with one outcome an event once they are durable. Raises LedgerUnavailable."""
        outcome: asyncio.Future[list[Appended]] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(Waiting(ledger_id, delivery, outcome))
        except asyncio.QueueFull:
            raise LedgerUnavailable("too many deliveries wait") from None
        return await outcome

    async def run(self) -> None:
        """Append until cancelled; what is on the queue then is appended first, see `drain`."""
        while True:
            await self._commit(await self._gather())

    async def drain(self) -> None:
        """Append what is on the queue and close the connection: the last thing before the process ends."""
        while not self._queue.empty():
            await self._commit(await self._gather())
        if self._connection is not None:
            await self._connection.close(timeout=5)

    async def _gather(self) -> list[Waiting]:
        """Take the next delivery, and all that wait behind it up to the limit of a commit."""
        batch = [await self._queue.get()]
        events, size = len(batch[0].delivery.drafts), len(batch[0].delivery.payload)
        while events < EVENTS_PER_COMMIT_MAX and size < BYTES_PER_COMMIT_MAX and not self._queue.empty():
            batch.append(self._queue.get_nowait())
            events += len(batch[-1].delivery.drafts)
            size += len(batch[-1].delivery.payload)
        return batch

    async def _commit(self, batch: list[Waiting]) -> None:
        by_ledger: dict[int, list[Waiting]] = defaultdict(list)
        for waiting in batch:
            by_ledger[waiting.ledger_id].append(waiting)
        for ledger_id, waitings in by_ledger.items():
            try:
                outcomes = await self._append(ledger_id, [waiting.delivery for waiting in waitings])
            except Exception as error:
                failure = error if isinstance(error, LedgerError) else LedgerUnavailable(type(error).__name__)
                _log.warning("%d deliveries could not be stored: %s", len(waitings), type(error).__name__)
                for waiting in waitings:
                    if not waiting.outcome.done():
                        waiting.outcome.set_exception(failure)
                continue
            for waiting, outcome in zip(waitings, outcomes, strict=True):
                if not waiting.outcome.done():
                    waiting.outcome.set_result(outcome)
        self._appended()

    async def _append(self, ledger_id: int, deliveries: list[Delivery]) -> list[list[Appended]]:
        """Append, and once more on a fresh connection if the first was lost: appending twice is appending once."""
        for attempt in (1, 2):
            try:
                async with asyncio.timeout(COMMIT_SECONDS_MAX):
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await connect(self._dsn, role="loyalty_ingest")
                    return await append(self._connection, self._vault, ledger_id, deliveries)
            except (LedgerUnavailable, TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if self._connection is not None:
                    self._connection.terminate()
                    self._connection = None
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")
