"""The dispatcher: sends the messages of all ledgers to their endpoints, one task for each endpoint.

One dispatcher of a database works at a time: the holder of an advisory lock. Others wait, and take over when its
session ends. Two that overlap for a moment send messages twice, and lose none: cursors move by compare-and-swap.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from ledger.background import KeptConnection, cancel_all, keep_connected
from ledger.confined_sessions import ConfinedSession, open_confined
from ledger.database import Connection, Session, connect
from ledger.locks import DISPATCHER
from ledger.privacy.encryption import MasterKey
from service.outgoing.addresses import Destinations
from service.outgoing.delivery_state import read_states
from service.outgoing.endpoint_sender import EndpointSender, SenderContext
from service.outgoing.endpoints import list_enabled_endpoints
from service.outgoing.http_client import ReceiverClient

POLL_SECONDS = 0.1  # between two looks for new rows
REFRESH_SECONDS = 1.0  # between two looks for changed endpoints
WAIT_SECONDS = 1.0  # while another dispatcher works
RETRY_SECONDS = 1.0
READERS = 4
STATEMENT_SECONDS_MAX = 60.0

TRY_LOCK = "SELECT pg_try_advisory_lock($1)"
READ_POSITIONS = "SELECT ledger_id, position FROM checkpoints WHERE ledger_id = ANY ($1)"

_log = logging.getLogger(__name__)


class RunningSender:
    """One sender with its task."""

    def __init__(self, sender: EndpointSender) -> None:
        self.sender = sender
        self.task = asyncio.create_task(sender.run(), name=f"endpoint {sender.endpoint.endpoint_id}")


class Dispatcher:
    """Sends until cancelled. Errors are logged and retried."""

    def __init__(
        self, dsn: str, master_key: MasterKey, *, destinations: Destinations, failing_days_max: float = 5.0
    ) -> None:
        self._dsn, self._master_key = dsn, master_key
        self._destinations, self._failing_days_max = destinations, failing_days_max
        self._is_leader = False
        self._refreshed_at = 0.0
        self._senders: dict[str, RunningSender] = {}  # by the id of the endpoint
        self._positions: dict[int, int] = {}  # by ledger, as seen last
        self._write_lock = asyncio.Lock()
        self._writer = KeptConnection(partial(connect, dsn, search_path="pg_catalog"))
        self._watcher = KeptConnection(partial(connect, dsn, statement_seconds=STATEMENT_SECONDS_MAX))
        self._readers: asyncio.Queue[KeptConnection] = asyncio.Queue()
        for _ in range(READERS):
            open_reader = partial(open_confined, dsn, role="loyalty_reader", statement_seconds=STATEMENT_SECONDS_MAX)
            self._readers.put_nowait(KeptConnection(open_reader))

    async def run(self) -> None:
        """Send until cancelled."""
        try:
            async with ReceiverClient(self._destinations.networks) as client:
                context = SenderContext(
                    self._read, self._write, client, self._destinations, self._master_key, self._failing_days_max
                )

                async def step(session: Session) -> None:
                    await self._step(session, context)

                await keep_connected(
                    "outgoing webhooks",
                    self._dsn,
                    step,
                    log=_log,
                    retry_seconds=RETRY_SECONDS,
                    on_connect=self._begin,
                    search_path="pg_catalog",
                )
        finally:
            await self._stop_senders(list(self._senders))
            await self._writer.close()
            await self._watcher.close()
            while not self._readers.empty():
                await self._readers.get_nowait().close()

    async def _begin(self, _: Session) -> None:
        """Begin on a new session: it does not hold the lock yet."""
        self._is_leader = False
        self._refreshed_at = 0.0
        await self._stop_senders(list(self._senders))

    async def _step(self, session: Session, context: SenderContext) -> None:
        if not self._is_leader:
            self._is_leader = await session.fetchval(TRY_LOCK, DISPATCHER)
            if not self._is_leader:
                await asyncio.sleep(WAIT_SECONDS)
                return
        if time.monotonic() - self._refreshed_at >= REFRESH_SECONDS:
            await self._refresh(session, context)
            self._refreshed_at = time.monotonic()
        await self._wake_senders()
        await asyncio.sleep(POLL_SECONDS)

    async def _refresh(self, session: Session, context: SenderContext) -> None:
        """Start, stop and restart senders, as endpoints and their states ask."""
        endpoints = {one.endpoint_id: one for one in await list_enabled_endpoints(session, self._master_key)}
        states = await read_states(session, list(endpoints))
        stale = [
            identifier
            for identifier, running in self._senders.items()
            if running.task.done()
            or running.sender.endpoint != endpoints.get(identifier)
            or identifier not in states
            or running.sender.resets not in (None, states[identifier].resets)
        ]
        await self._stop_senders(stale)
        for identifier, endpoint in endpoints.items():
            if identifier not in self._senders and identifier in states:
                self._senders[identifier] = RunningSender(EndpointSender(endpoint, context))

    async def _wake_senders(self) -> None:
        """Wake the senders of ledgers with new rows."""
        ledgers = {running.sender.endpoint.ledger.ledger_id for running in self._senders.values()}
        if not ledgers:
            return
        try:
            watcher = await self._watcher.get()
            found = dict(await watcher.fetch(READ_POSITIONS, sorted(ledgers)))
        except Exception:
            self._watcher.drop()
            raise
        moved = {ledger_id for ledger_id, position in found.items() if self._positions.get(ledger_id) != position}
        self._positions = found
        for running in self._senders.values():
            if running.sender.endpoint.ledger.ledger_id in moved:
                running.sender.wake()

    async def _stop_senders(self, identifiers: Sequence[str]) -> None:
        await cancel_all([self._senders.pop(identifier).task for identifier in identifiers])

    @asynccontextmanager
    async def _read(self, ledger_id: int) -> AsyncIterator[Connection]:
        """Lend a connection that PostgreSQL confines to one ledger, on the active generation."""
        kept = await self._readers.get()
        try:
            session = await kept.get()
            assert isinstance(session, ConfinedSession)
            await session.confine(ledger_id)
            yield session
        except BaseException:
            kept.drop()
            raise
        finally:
            self._readers.put_nowait(kept)

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[Connection]:
        """Lend the connection that writes states and attempts."""
        async with self._write_lock:
            try:
                yield await self._writer.get()
            except BaseException:
                self._writer.drop()
                raise
