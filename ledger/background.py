"""Background work that lasts as long as the process: reconnect, retry, and log an outage once a minute.

All lasting work runs in `repeat`, and all lasting connections are a `KeptConnection` or in a pool. Both replace a
session that is not sound any more (`Session.is_sound`). So a failover or a promotion needs no code of its own anywhere.

A cancelled task always ends. Nothing here catches a cancellation, and closing a connection cannot replace it by another
error (`Session.close`). Where something else has replaced it, `repeat` notices.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ledger.database import CONNECTION_LOST, Session, connect
from ledger.errors import LedgerError
from ledger.failures import describe_failure

REPEAT_SECONDS = 60.0  # between two log lines about one lasting fault
STOP_SECONDS_MAX = 5.0
HEALTHY_SECONDS = 5.0  # without a fault; then work counts as recovered
IDLE_SECONDS_MAX = 5.0  # a longer pause closes the connection: it would keep a generation from being removed
SUBJECTS_MAX = 10_000
GIVE_WAY_SECONDS = 0.002
FAILOVER_CHECK_SECONDS = 5.0  # after the begin of a step, and between two checks

IDENTIFY_SERVER = "SELECT pg_postmaster_start_time()"

_log = logging.getLogger(__name__)


class LogThrottle:
    """Logs a fault when it begins, again every REPEAT_SECONDS while it lasts, and once when it is over."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._faults: dict[object, tuple[str, float]] = {}  # by subject: the line, and when it may be logged again

    def error(self, subject: object, message: str, *arguments: object) -> None:
        """Log `message` about `subject`, unless the same line was logged within the last REPEAT_SECONDS."""
        line = message % arguments
        last, repeat_at = self._faults.get(subject, ("", 0.0))
        if last != line or repeat_at < time.monotonic():
            if len(self._faults) >= SUBJECTS_MAX:
                self._faults.clear()
            self._faults[subject] = line, time.monotonic() + REPEAT_SECONDS
            self._log.error("%s", line)

    def recovered(self, subject: object) -> None:
        """Log that `subject` works again, if a fault of it was logged."""
        if self._faults.pop(subject, None) is not None:
            self._log.info("%s works again", subject)


async def give_way() -> None:
    """Let other tasks run for a while, between two steps of a long answer.

    A request takes several turns of the event loop. With `sleep(0)` it would wait for one step of ours at each turn.
    """
    await asyncio.sleep(GIVE_WAY_SECONDS)


class RetryPauses:
    """Pauses of work that failed. A pause is twice as long as the one before, up to a limit."""

    def __init__(self, seconds: float, seconds_max: float) -> None:
        self._seconds, self._seconds_max = seconds, seconds_max
        self._pauses: dict[object, tuple[float, float]] = {}  # by subject: the end, and the length in seconds

    def is_over(self, subject: object) -> bool:
        """Return True if the work may be tried."""
        return time.monotonic() >= self._pauses.get(subject, (0.0, 0.0))[0]

    def start(self, subject: object, seconds: float | None = None) -> float:
        """Pause the work, by default twice as long as before. Return the seconds."""
        if seconds is None:
            last = self._pauses.get(subject, (0.0, self._seconds / 2))[1]
            seconds = min(2 * last, self._seconds_max)
        self._pauses[subject] = time.monotonic() + seconds, seconds
        return seconds

    def is_due(self, subject: object) -> bool:
        """Return True if the work may be tried, and pause it for the shortest time from now on."""
        due = self.is_over(subject)
        if due:
            self.start(subject, self._seconds)
        return due

    def end(self, subject: object) -> None:
        """Forget the pauses of work that succeeded."""
        self._pauses.pop(subject, None)


async def cancel_all(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel tasks and wait for their end, at most STOP_SECONDS_MAX. Log tasks that do not end or that failed."""
    for task in tasks:
        task.cancel()
    if tasks:
        ended, running = await asyncio.wait(tasks, timeout=STOP_SECONDS_MAX)
        for task in running:
            _log.error("a task does not stop: %s", task.get_name())
        for task in ended:
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("a task ended by itself: %s", describe_failure(error))


async def cancel(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and wait for its end, however it ends: its connection may be closed before it can roll back."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def repeat(
    subject: str,
    work: Callable[[], Awaitable[bool | None]],
    *,
    log: logging.Logger,
    retry_seconds: float,
    pause_seconds: float = 0.0,
    errors: type[Exception] | tuple[type[Exception], ...] = Exception,
) -> None:
    """Call `work` again and again, until it returns True or the task is cancelled.

    The pause is `pause_seconds` after a return and `retry_seconds` after one of `errors`. Others are raised.
    """
    faults = LogThrottle(log)
    failed_at = -math.inf
    task = asyncio.current_task()
    while True:
        try:
            is_done = await work()
        except errors as error:
            if task is not None and task.cancelling():  # a ROLLBACK on the ended connection has replaced it
                raise asyncio.CancelledError from error
            reason = str(error) if isinstance(error, LedgerError) else describe_failure(error)
            faults.error(subject, "%s waits: %s", subject, reason)
            failed_at = time.monotonic()
            await asyncio.sleep(retry_seconds)
            continue
        if is_done or time.monotonic() - failed_at > HEALTHY_SECONDS:
            faults.recovered(subject)
        if is_done:
            return
        await asyncio.sleep(pause_seconds)


class KeptConnection:
    """One connection that is opened when it is needed, and replaced when it is not sound any more.

    `open_session` opens it and prepares its user, for example by dropping what was cached from the previous session.
    """

    def __init__(self, open_session: Callable[[], Awaitable[Session]]) -> None:
        self._open_session = open_session
        self._session: Session | None = None

    async def get(self) -> Session:
        """Return a session that was sound within the last seconds. Raises an error of CONNECTION_LOST."""
        if self._session is not None and not await self._session.is_sound():
            self.drop()
        if self._session is None:
            self._session = await self._open_session()
        return self._session

    def drop(self) -> None:
        """End the session at once, after an error. The next `get` opens another."""
        session, self._session = self._session, None
        if session is not None:
            session.terminate()

    async def close(self) -> None:
        """Close the session, if one is open."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def keep_connected(
    subject: str,
    dsn: str,
    step: Callable[[Session], Awaitable[None]],
    *,
    log: logging.Logger,
    retry_seconds: float,
    pause_seconds: float = 0.0,
    on_connect: Callable[[Session], Awaitable[None]] | None = None,
    **options: Any,
) -> None:
    """Call `step` with a sound connection again and again, until cancelled; see `repeat`.

    After an error the connection is replaced. `on_connect` is called with each new one, `options` go to `connect`. A
    step that waits for a server which has been replaced is cancelled, and the next one uses the other server.
    """
    server: object = None

    async def open_session() -> Session:
        nonlocal server
        session = await connect(dsn, **options)
        try:
            server = await session.fetchval(IDENTIFY_SERVER)
            if on_connect is not None:
                await on_connect(session)
        except BaseException:
            session.terminate()
            raise
        return session

    async def work() -> None:
        session = await kept.get()
        try:
            async with asyncio.timeout(None) as limit:
                watch = asyncio.create_task(_end_after_failover(dsn, server, session, limit))
                try:
                    await step(session)
                finally:
                    watch.cancel()
        except Exception:
            kept.drop()
            raise
        if pause_seconds > IDLE_SECONDS_MAX:
            await kept.close()

    kept = KeptConnection(open_session)
    try:
        await repeat(subject, work, log=log, retry_seconds=retry_seconds, pause_seconds=pause_seconds)
    finally:
        await kept.close()


async def _end_after_failover(dsn: str, server: object, session: Session, limit: asyncio.Timeout) -> None:
    """End a session and its work when a new connection leads to another server.

    Only another connection can distinguish a long statement from a server that answers nothing any more. The session
    ends before the work is cancelled. Otherwise the work would wait for the answer to its ROLLBACK.
    """
    while True:
        await asyncio.sleep(FAILOVER_CHECK_SECONDS)
        with contextlib.suppress(*CONNECTION_LOST):
            other = await connect(dsn, search_path="pg_catalog")
            try:
                if await other.fetchval(IDENTIFY_SERVER) != server:
                    session.terminate()
                    limit.reschedule(0)
                    return
            finally:
                await other.close()
