"""Append the blocks of an import, and go on by itself after the database was away, for example during a failover."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TypeVar

from ledger.background import KeptConnection, repeat
from ledger.database import CONNECTION_LOST, Connection, Session, connect
from ledger.errors import LedgerUnavailable
from ledger.events import Delivery
from ledger.privacy.vault import Vault
from ledger.store.append import AppendBatch, AppendResult, append_batch, prepare_append

AWAY_SECONDS_MAX = 120.0
RETRY_SECONDS = 1.0
AWAY = (LedgerUnavailable, *CONNECTION_LOST)

T = TypeVar("T")

_log = logging.getLogger(__name__)


class BlockAppender:
    """Appends blocks of deliveries to one ledger. Entering it raises an error of CONNECTION_LOST.

    A block whose result was lost is appended again. Events that were stored the first time then count as duplicates.
    Methods raise LedgerUnavailable if the database is away for AWAY_SECONDS_MAX.
    """

    def __init__(self, dsn: str, vault: Vault, ledger_id: int) -> None:
        self.vault = vault
        self._ledger_id = ledger_id
        self._dsn = dsn
        self._kept = KeptConnection(self._open_session)

    async def __aenter__(self) -> "BlockAppender":
        await self._kept.get()  # a wrong address fails at once
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._kept.close()

    async def prepare(self, block: Sequence[Delivery]) -> AppendBatch:
        """Encrypt the personal parts of a block."""
        return await self._retry(lambda connection: prepare_append(connection, self.vault, self._ledger_id, block))

    async def append(self, batch: AppendBatch) -> list[list[AppendResult]]:
        """Append a prepared block. Return a list per delivery with one result per event."""
        return await self._retry(lambda connection: append_batch(connection, self.vault, batch))

    async def _open_session(self) -> Session:
        """Connect, and drop what is cached: after a failover the database may lack the newest keys of persons."""
        session = await connect(self._dsn)
        self.vault.clear_caches()
        return session

    async def _retry(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        results: list[T] = []

        async def try_once() -> bool:
            try:
                results.append(await work(await self._kept.get()))
            except AWAY:
                self._kept.drop()
                if limit.when() is None:
                    limit.reschedule(asyncio.get_running_loop().time() + AWAY_SECONDS_MAX)
                raise
            return True

        try:
            async with asyncio.timeout(None) as limit:
                await repeat("the import", try_once, log=_log, retry_seconds=RETRY_SECONDS, errors=AWAY)
        except TimeoutError:
            raise LedgerUnavailable(f"the database was away for {AWAY_SECONDS_MAX:g} s") from None
        return results[0]
