"""Background work that lasts as long as the process: reconnect, retry, and log an outage once a minute.

Nothing here catches a cancellation, and closing a connection cannot replace it by another error (`Session.close`). So a
cancelled task always ends.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ledger.database import Connection, connected
from ledger.failures import describe_failure

REPEAT_SECONDS = 60.0  # between two log lines about one lasting fault
STOP_SECONDS_MAX = 5.0
HEALTHY_SECONDS = 5.0  # without a fault; then work counts as recovered
SUBJECTS_MAX = 10_000

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


async def keep_connected(
    subject: str,
    dsn: str,
    work: Callable[[Connection], Awaitable[None]],
    *,
    log: logging.Logger,
    retry_seconds: float,
    pause_seconds: float = 0.0,
    **options: Any,
) -> None:
    """Call `work` with a connection again and again, until cancelled.

    The pause is `pause_seconds` after a return and `retry_seconds` after an error. `options` go to `connect`. After an
    error the connection is replaced. So a lost connection or a read-only server does no lasting harm.
    """
    faults = LogThrottle(log)
    while True:
        try:
            async with connected(dsn, **options) as connection:
                healthy = asyncio.get_running_loop().call_later(HEALTHY_SECONDS, faults.recovered, subject)
                try:
                    await work(connection)
                finally:
                    healthy.cancel()
        except Exception as error:
            faults.error(subject, "%s waits: %s", subject, describe_failure(error))
            await asyncio.sleep(retry_seconds)
        else:
            faults.recovered(subject)
            await asyncio.sleep(pause_seconds)
