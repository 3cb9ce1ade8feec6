"""Send the feed of one ledger to one endpoint: at least once, in the order of the ledger.

Decision: one cursor for each endpoint, and one request at a time. A receiver that fails holds up all its own messages,
and nothing else. Blocking single subjects instead would need a memory of blocked subjects that grows while a receiver
is down, and a receiver that fails for one message usually fails for all. So no later message of a subject overtakes an
earlier one, and the state is two numbers. A message that a receiver never accepts is passed by a replay after it.
"""

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import NamedTuple

import asyncpg

from ledger import clock
from ledger.background import repeat
from ledger.database import CONNECTION_LOST, Connection
from ledger.failures import describe_failure
from ledger.privacy.encryption import MasterKey
from service.outgoing.addresses import Destinations
from service.outgoing.corrections import CorrectionProgress, read_corrections, read_generations, set_announced
from service.outgoing.delivery_state import Attempt, DeliveryState, StateChanged, log_attempt, move_cursor, read_states
from service.outgoing.endpoints import Endpoint, disable_endpoint
from service.outgoing.fact_feed import FeedPage, read_page
from service.outgoing.http_client import ReceiverClient
from service.outgoing.messages import FeedCursor, Message, request_id
from service.outgoing.notices import Notice, has_notices, read_notices, remember_notices
from service.outgoing.open_sinks import open_sink
from service.outgoing.retry_schedule import is_given_up, retry_seconds
from service.outgoing.sinks.message_sink import AnswerReceived

NOTICE_SECONDS = 300.0  # between two looks for notices
RETRY_SECONDS = 1.0  # after a fault of ours, such as a lost database connection
WRITE_SECONDS = 5.0  # between two writes of a cursor that passes events without messages
POSITIONS_PER_WRITE = 1_000
PAGES_PER_BATCH_MAX = 5  # read to fill one request, once there is a message
IDLE_SECONDS = 5.0  # the longest wait for a signal

_log = logging.getLogger(__name__)


class SenderContext(NamedTuple):
    """The means that all senders of a process share. `read` and `write` lend connections."""

    read: Callable[[int], AbstractAsyncContextManager[Connection]]  # confined to one ledger
    write: Callable[[], AbstractAsyncContextManager[Connection]]
    client: ReceiverClient
    destinations: Destinations
    master_key: MasterKey
    failing_days_max: float


class Batch(NamedTuple):
    """The messages of one request, and the cursor after them: None for notices, which move no cursor."""

    messages: Sequence[Message]
    after: FeedCursor | None
    notices: Sequence[Notice] = ()


class EndpointSender:
    """Sends to one endpoint until it is cancelled, or the endpoint is disabled."""

    def __init__(self, endpoint: Endpoint, context: SenderContext) -> None:
        self.endpoint = endpoint
        self.resets: int | None = None  # of the state that was read last
        self._context = context
        self._sink = open_sink(endpoint, context.client, context.destinations)
        self._woken = asyncio.Event()
        self._state: DeliveryState | None = None
        self._pending: deque[Message] = deque()
        self._read_upto = FeedCursor(0)
        self._next_page: asyncio.Task[FeedPage] | None = None
        self._batch: Batch | None = None  # sent again until it is accepted
        self._written_at = 0.0
        self._notices: deque[Notice] = deque()
        self._corrections: deque[Notice] = deque()
        self._correcting: CorrectionProgress | None = None  # None if no corrections are to be read
        self._noticed_at = -math.inf if has_notices(endpoint) else math.inf  # monotonic time of the last look

    def wake(self) -> None:
        """Signal that the rows of the ledger have moved."""
        self._woken.set()

    async def run(self) -> None:
        """Send until the endpoint is disabled or removed. Faults of ours are logged and retried."""
        try:
            await repeat(f"endpoint {self.endpoint.endpoint_id}", self._run_once, log=_log, retry_seconds=RETRY_SECONDS)
        finally:
            self._forget_page()
            await self._sink.close()

    async def _run_once(self) -> bool:
        """Read the state, and send from there on. Return True if the endpoint is disabled or removed."""
        async with self._context.write() as connection:
            found = await read_states(connection, [self.endpoint.endpoint_id])
        if self.endpoint.endpoint_id not in found:
            return True
        self._state = state = found[self.endpoint.endpoint_id]
        self.resets = state.resets
        self._forget_page()
        self._read_upto = state.cursor
        try:
            while True:
                await self._wait_for_retry()
                batch = self._batch or await self._take_corrections()
                if batch is None and self._correcting is None:
                    batch = await self._take_notices() or await self._take_batch()
                if batch is None and self._correcting is not None:
                    continue
                if batch is None:
                    await self._wait_for_events()
                elif not await self._send(batch):
                    return True
        except StateChanged:
            return False  # it is read again

    def _forget_page(self) -> None:
        self._pending.clear()
        self._notices.clear()
        self._corrections.clear()
        self._correcting = None
        self._batch = None
        if self._next_page is not None:
            self._next_page.cancel()
            self._next_page = None

    async def _wait_for_retry(self) -> None:
        assert self._state is not None
        if self._state.retry_at is not None:
            await asyncio.sleep(max(0.0, (self._state.retry_at - clock.now()).total_seconds()))

    async def _wait_for_events(self) -> None:
        """Wait for a signal, and write the cursor meanwhile if it has passed events without messages."""
        assert self._state is not None
        passed = self._read_upto.position - self._state.cursor.position
        is_due = passed >= POSITIONS_PER_WRITE or time.monotonic() - self._written_at > WRITE_SECONDS
        if passed and is_due:
            async with self._context.write() as connection:
                self._state = await move_cursor(connection, self.endpoint, self._state, self._read_upto)
            self._written_at = time.monotonic()
        try:
            await asyncio.wait_for(self._woken.wait(), IDLE_SECONDS)
        except TimeoutError:
            return

    async def _take_corrections(self) -> Batch | None:
        """Return the next corrections, if another generation was promoted. Pages that were read before are forgotten.

        While `_correcting` is not None, there may be more.
        """
        if not self.endpoint.corrections:
            return None
        if not self._corrections:
            await self._read_corrections()
        if not self._corrections:
            return None
        count = min(len(self._corrections), self.endpoint.events_per_request)
        notices = [self._corrections.popleft() for _ in range(count)]
        self._batch = Batch([one.message for one in notices], None, notices)
        return self._batch

    async def _read_corrections(self) -> None:
        assert self._state is not None
        async with self._context.read(self.endpoint.ledger.ledger_id) as connection:
            generations = await read_generations(connection, self.endpoint)
            if generations.is_announced or generations.entered != generations.active:
                return
            if self._correcting is None:
                self._forget_page()
                self._read_upto = self._state.cursor
                self._correcting = CorrectionProgress()
            following = None
            if generations.announced is not None:
                known = self._state.cursor.position
                notices, following = await read_corrections(
                    connection, self.endpoint, generations, known, self._correcting
                )
                self._corrections.extend(notices)
        self._correcting = following
        if following is None:
            async with self._context.write() as connection:
                await set_announced(connection, self.endpoint, generations.active)

    async def _take_notices(self) -> Batch | None:
        """Return the next notices. They are read every NOTICE_SECONDS, and again until none is left.

        A fault, such as a list of a large ledger that takes too long, is logged, and delays no message of the feed.
        """
        if not self._notices and time.monotonic() - self._noticed_at >= NOTICE_SECONDS:
            try:
                async with self._context.read(self.endpoint.ledger.ledger_id) as connection:
                    self._notices.extend(await read_notices(connection, self.endpoint, clock.now()))
            except (asyncpg.PostgresError, *CONNECTION_LOST) as error:
                _log.error("notices of endpoint %s wait: %s", self.endpoint.endpoint_id, describe_failure(error))
            if not self._notices:
                self._noticed_at = time.monotonic()
        if not self._notices:
            return None
        count = min(len(self._notices), self.endpoint.events_per_request)
        notices = [self._notices.popleft() for _ in range(count)]
        self._batch = Batch([one.message for one in notices], None, notices)
        return self._batch

    async def _take_batch(self) -> Batch | None:
        """Return the next messages; None if there are none yet. Further ones are read during the request."""
        wanted = self.endpoint.events_per_request
        pages = 0
        while len(self._pending) < wanted and not (self._pending and pages >= PAGES_PER_BATCH_MAX):
            is_prefetched = self._next_page is not None
            if not is_prefetched:
                self._woken.clear()
            page = await (self._next_page or self._read())
            self._next_page = None
            if page.end != self._read_upto:
                self._read_upto = page.end
                self._pending.extend(page.messages)
                pages += 1
            elif not is_prefetched:  # one that was read earlier may be out of date
                break
        if not self._pending:
            return None
        messages = [self._pending.popleft() for _ in range(min(len(self._pending), wanted))]
        after = messages[-1].cursor if self._pending else self._read_upto
        assert after is not None
        self._batch = Batch(messages, after)
        if len(self._pending) < wanted:
            self._next_page = asyncio.create_task(self._read())
        return self._batch

    async def _read(self) -> FeedPage:
        async with self._context.read(self.endpoint.ledger.ledger_id) as connection:
            if self.endpoint.corrections and not (await read_generations(connection, self.endpoint)).is_announced:
                return FeedPage((), self._read_upto)  # corrections come first
            return await read_page(connection, self.endpoint, self._read_upto)

    async def _send(self, batch: Batch) -> bool:
        """Send one batch and log it. Return False if nothing is sent any more."""
        assert self._state is not None
        at = clock.now()
        answer = await self._sink.send(batch.messages)
        outcome, state = next_state(self._state, batch.after or self._state.cursor, answer)
        attempt = attempt_of(self.endpoint, batch.messages, answer, outcome)._replace(at=at)
        stop_reason = None
        if outcome == "gone":
            stop_reason = "gone"
        elif state.failing_since is not None:
            is_over = is_given_up(state.failing_since, clock.now(), self._context.failing_days_max)
            stop_reason = "failing" if is_over else None
        async with self._context.write() as connection, connection.transaction():
            logged = await log_attempt(connection, self.endpoint, self._state, state, attempt)
            if outcome == "delivered" and batch.notices:
                await remember_notices(connection, self.endpoint, batch.notices, at)
            if stop_reason is not None:
                await disable_endpoint(connection, self._context.master_key, self.endpoint, stop_reason)
        self._state = logged
        self._written_at = time.monotonic()
        if outcome == "delivered":
            self._batch = None
        if stop_reason is not None:
            _log.error("endpoint %s of ledger %s is disabled: %s", *self._names, stop_reason)
        return stop_reason is None

    @property
    def _names(self) -> tuple[str, str]:
        return self.endpoint.endpoint_id, self.endpoint.ledger.name


def next_state(state: DeliveryState, after: FeedCursor, answer: AnswerReceived) -> tuple[str, DeliveryState]:
    """Return the outcome of an attempt, and the state after it."""
    if answer.is_success:
        return "delivered", state._replace(
            cursor=after, succeeded=state.succeeded + 1, failures=0, failing_since=None, retry_at=None
        )
    now = clock.now()
    pause = retry_seconds(state.failures + 1, random.random(), answer.retry_after_seconds)  # noqa: S311
    return "gone" if answer.is_gone else "failed", state._replace(
        failures=state.failures + 1,
        failing_since=state.failing_since or now,
        retry_at=now + timedelta(seconds=pause),
    )


def attempt_of(endpoint: Endpoint, messages: Sequence[Message], answer: AnswerReceived, outcome: str) -> Attempt:
    """Return the attempt as it is logged."""
    ids = messages[0].identifier, messages[-1].identifier
    return Attempt(clock.now(), request_id(endpoint.endpoint_id, messages), len(messages), *ids, outcome, answer)
