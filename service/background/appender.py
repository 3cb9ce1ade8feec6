"""Group commit: requests put deliveries in queues, and a few lanes append them, one transaction for each batch.

Each ledger has its own queue. A lane takes the next batch of a ledger, appends it, and puts the ledger at the end of
the queue. Two lanes never serve one ledger at once. A ledger may wait for its lock, for a large commit or for a server
that hangs. Two rules keep such ledgers from delaying others:

- If a commit takes over SLOW_SECONDS, another lane takes the place of its lane.
- A ledger whose last commit took that long is served by lanes for slow ledgers, until a commit is fast again.

A request is answered only after the commit of its events (invariant 1). During one commit the next batch gathers by
itself. No timer delays a commit: it would leave the database idle while deliveries arrive, and the reader idle while
the database writes.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import asyncpg

from ledger import spans
from ledger.background import KeptConnection
from ledger.database import Session, connect
from ledger.errors import LedgerBusy, LedgerError, LedgerMoved, LedgerUnavailable
from ledger.events import Delivery
from ledger.privacy.vault import Vault
from ledger.spans import SpanLink
from ledger.store.append import AppendResult, append_replicated
from service.monitoring.instruments import Instruments

LANES = 4  # that serve at once, each on a database connection. As many serve slow ledgers
SLOW_SECONDS = 0.5  # of a commit
REPLACED_LANES_MAX = 12  # that still wait for a slow commit
EVENTS_PER_COMMIT_MAX = 500
BYTES_PER_COMMIT_MAX = 8 * 1024 * 1024
PERSONS_PER_COMMIT_MAX = 1_000  # a delivery with more is committed alone, so that no other fails with it
WAITING_DELIVERIES_MAX = 10_000
WAITING_BYTES_MAX = 64 * 1024 * 1024  # of bodies, in the whole process
LEDGER_SHARE = 2  # one ledger may use half of each limit
COMMIT_SECONDS_MAX = 4.5  # then its deliveries are answered 503
LOCK_SECONDS_MAX = 4.0  # less than COMMIT_SECONDS_MAX: PostgreSQL stops waiting first, and the connection stays usable

_log = logging.getLogger(__name__)


class WaitingDelivery(NamedTuple):
    """One delivery in a queue, with the future of its outcome."""

    delivery: Delivery
    outcome: "asyncio.Future[list[AppendResult]]"
    span: SpanLink | None = None  # of its request


class DeliveryQueue:
    """The waiting deliveries of one ledger."""

    def __init__(self) -> None:
        self.waiting: deque[WaitingDelivery] = deque()
        self.size = 0  # in bytes

    def put(self, waiting: WaitingDelivery) -> None:
        """Put a delivery at the end."""
        self.waiting.append(waiting)
        self.size += len(waiting.delivery.payload)

    def take_batch(self) -> list[WaitingDelivery]:
        """Take the next delivery, and following ones up to the limits of a commit."""
        batch: list[WaitingDelivery] = []
        events = size = persons = 0
        while self.waiting:
            delivery = self.waiting[0].delivery
            if batch and persons + len(delivery.parts) > PERSONS_PER_COMMIT_MAX:
                break
            batch.append(self.waiting.popleft())
            events += len(delivery.events)
            size += len(delivery.payload)
            persons += len(delivery.parts)
            if events >= EVENTS_PER_COMMIT_MAX or size >= BYTES_PER_COMMIT_MAX or persons >= PERSONS_PER_COMMIT_MAX:
                break
        self.size -= size
        return batch


class Lane:
    """One connection for appending, opened on first use. An idle lane serves the next batch of any ledger."""

    def __init__(self, dsn: str, vault: Vault) -> None:
        self._dsn = dsn
        self._vault = vault
        self._kept = KeptConnection(self._open_session)

    async def append(self, ledger_id: int, deliveries: list[Delivery]) -> list[list[AppendResult]]:
        """Append. If the connection was lost, append again on a new one: event keys make the second try harmless."""
        async with asyncio.timeout(COMMIT_SECONDS_MAX):
            for attempt in (1, 2):
                try:
                    return await append_replicated(await self._kept.get(), self._vault, ledger_id, deliveries)
                except (LedgerBusy, LedgerMoved):
                    raise
                except (LedgerUnavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    self._kept.drop()
                    if attempt == 2:
                        raise
                except BaseException:
                    self._kept.drop()
                    raise
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close the connection, if it is open."""
        await self._kept.close()

    def drop(self) -> None:
        """End the connection at once, if it is open."""
        self._kept.drop()

    async def _open_session(self) -> Session:
        """Connect, and drop the cached keys of persons: after a failover the database may lack the newest of them."""
        session = await connect(self._dsn, role="loyalty_ingest", lock_seconds_max=LOCK_SECONDS_MAX)
        self._vault.clear_caches()
        return session


class Appender:
    """Appends the deliveries of one process. Calls `on_append` after each commit."""

    def __init__(
        self, dsn: str, vault: Vault, on_append: Callable[[], None], instruments: Instruments | None = None
    ) -> None:
        self._on_append = on_append
        self._instruments = instruments or Instruments()
        self._instruments.append_waiting.set_function(lambda: self._count)
        self._dsn, self._vault = dsn, vault
        self._idle_lanes: list[Lane] = []
        self._replaced_lanes = 0
        self._queues: dict[int, DeliveryQueue] = {}  # of ledgers with deliveries that wait or are being appended
        self._ledgers_due: asyncio.Queue[int] = asyncio.Queue()  # ledgers that wait for a lane
        self._slow_ledgers_due: asyncio.Queue[int] = asyncio.Queue()
        self._slow_ledgers: set[int] = set()
        self._count = self._size = 0  # of all queues
        self.is_in_doubt = False  # True if the last commit failed: the database may not be able to commit

    async def append(self, ledger_id: int, delivery: Delivery) -> list[AppendResult]:
        """Append one delivery. Return one outcome for each event once they are durable. Raises LedgerUnavailable."""
        outcome: asyncio.Future[list[AppendResult]] = asyncio.get_running_loop().create_future()
        self._put(ledger_id, WaitingDelivery(delivery, outcome, spans.current_span()))
        return await outcome

    def _put(self, ledger_id: int, waiting: WaitingDelivery) -> None:
        size = len(waiting.delivery.payload)
        queue = self._queues.get(ledger_id)
        ledger_load = (0, 0) if queue is None else (len(queue.waiting), queue.size)
        for current, added, limit in (
            (self._count, 1, WAITING_DELIVERIES_MAX),
            (self._size, size, WAITING_BYTES_MAX),
            (ledger_load[0], 1, WAITING_DELIVERIES_MAX // LEDGER_SHARE),
            (ledger_load[1], size, WAITING_BYTES_MAX // LEDGER_SHARE),
        ):
            if current and current + added > limit:
                raise LedgerUnavailable("too many deliveries wait")
        if queue is None:
            queue = self._queues[ledger_id] = DeliveryQueue()
            self._await_lane(ledger_id)
        queue.put(waiting)
        self._count += 1
        self._size += size

    async def run(self) -> None:
        """Append until cancelled. Deliveries that wait then are appended by `drain`."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(LANES):
                tasks.create_task(self._serve_ledgers(tasks))
                tasks.create_task(self._serve_slow_ledgers())

    async def drain(self) -> None:
        """Append the waiting deliveries and close the connections. It is the last step before the process ends."""
        ledgers = deque(self._queues)  # a cancelled task may have taken a ledger and appended nothing
        async with asyncio.TaskGroup() as tasks:
            for _ in range(LANES):
                tasks.create_task(self._drain(ledgers))
        for lane in self._idle_lanes:
            await lane.close()

    async def _drain(self, ledgers: deque[int]) -> None:
        while ledgers:
            ledger_id = ledgers.popleft()
            while ledger_id in self._queues:
                await self._serve_next(ledger_id)

    async def _serve_ledgers(self, tasks: asyncio.TaskGroup) -> None:
        """Serve one ledger after the other. A commit that is slow goes on beside the next ones."""
        while True:
            ledger_id = await self._ledgers_due.get()
            serving = tasks.create_task(self._serve_next(ledger_id))
            ended, _ = await asyncio.wait([serving], timeout=SLOW_SECONDS)
            if ended:
                continue
            if self._replaced_lanes < REPLACED_LANES_MAX:
                self._replaced_lanes += 1
                serving.add_done_callback(self._end_replaced_lane)
            else:
                await asyncio.wait([serving])

    def _end_replaced_lane(self, _: "asyncio.Task[None]") -> None:
        self._replaced_lanes -= 1

    async def _serve_slow_ledgers(self) -> None:
        while True:
            await self._serve_next(await self._slow_ledgers_due.get())

    def _await_lane(self, ledger_id: int) -> None:
        """Let a ledger wait for the next lane of its kind."""
        due = self._slow_ledgers_due if ledger_id in self._slow_ledgers else self._ledgers_due
        due.put_nowait(ledger_id)

    async def _serve_next(self, ledger_id: int) -> None:
        """Append the next batch of a ledger. The ledger's other deliveries follow, whatever happens to this batch."""
        begun = time.monotonic()
        lane = self._idle_lanes.pop() if self._idle_lanes else Lane(self._dsn, self._vault)
        queue = self._queues[ledger_id]
        batch = queue.take_batch()
        self._count -= len(batch)
        self._size -= sum(len(waiting.delivery.payload) for waiting in batch)
        try:
            await self._commit(lane, ledger_id, batch)
        finally:
            if len(self._idle_lanes) < LANES:
                self._idle_lanes.append(lane)
            else:
                lane.drop()
            if time.monotonic() - begun > SLOW_SECONDS:
                self._slow_ledgers.add(ledger_id)
            else:
                self._slow_ledgers.discard(ledger_id)
            if queue.waiting:
                self._await_lane(ledger_id)
            else:
                del self._queues[ledger_id]

    async def _commit(self, lane: Lane, ledger_id: int, batch: list[WaitingDelivery]) -> None:
        begun = time.perf_counter()
        try:
            links = [waiting.span for waiting in batch if waiting.span is not None]
            with spans.span("append", links, ledger_id=ledger_id, deliveries=len(batch)):
                outcomes = await lane.append(ledger_id, [waiting.delivery for waiting in batch])
        except BaseException as error:
            failure = error if isinstance(error, LedgerError) else LedgerUnavailable(type(error).__name__)
            _log.warning("%d deliveries could not be stored: %s", len(batch), type(error).__name__)
            self.is_in_doubt = isinstance(failure, LedgerUnavailable) and not isinstance(failure, LedgerBusy)
            for waiting in batch:
                if not waiting.outcome.done():
                    waiting.outcome.set_exception(failure)
            if not isinstance(error, Exception):
                raise  # cancelled: `drain` appends the waiting deliveries
            return
        self.is_in_doubt = False
        self._instruments.observe_commit(time.perf_counter() - begun, sum(map(len, outcomes)))
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if not waiting.outcome.done():
                waiting.outcome.set_result(outcome)
        self._on_append()
