"""Rounds over all ledgers, one step for each. A ledger whose step fails waits, and the other ledgers go on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg

from ledger.background import LogThrottle, RetryPauses
from ledger.database import CONNECTION_LOST, Session
from ledger.failures import describe_failure
from ledger.store.registry import Ledger

RETRY_SECONDS_MAX = 60.0
LOCK_SECONDS_MAX = 2.0  # for a lock of one ledger: set it on the connection that runs the rounds
TIME_LIMITS = (TimeoutError, asyncpg.QueryCanceledError)

T = TypeVar("T")


def is_away(error: Exception) -> bool:
    """Return True if an error of an open session means that another server cannot be reached: the ledger's own one."""
    return isinstance(error, asyncpg.PostgresConnectionError)


class LedgerRounds:
    """Runs the steps, and pauses ledgers that fail.

    `subject` names the work in log lines. `step_seconds_max` limits one step; it does not limit a round.
    """

    def __init__(self, subject: str, log: logging.Logger, *, retry_seconds: float, step_seconds_max: float) -> None:
        self._subject = subject
        self._step_seconds_max = step_seconds_max
        self._pauses = RetryPauses(retry_seconds, RETRY_SECONDS_MAX)
        self._faults = LogThrottle(log)

    async def run(
        self, connection: Session, ledgers: Sequence[Ledger], step: Callable[[Session, Ledger], Awaitable[T]]
    ) -> list[T]:
        """Call `step` for each ledger that is not paused, and return the results.

        Raises the error if the connection is lost. A ledger that lost it by a time limit is paused first.
        """
        results = []
        for ledger in ledgers:
            if not self._pauses.is_over(ledger):
                continue
            try:
                async with asyncio.timeout(self._step_seconds_max):
                    results.append(await step(connection, ledger))
            except Exception as error:
                is_lost = connection.is_closed() or (isinstance(error, CONNECTION_LOST) and not is_away(error))
                if not is_lost or isinstance(error, TIME_LIMITS):
                    seconds = self._pauses.start(ledger)
                    subject, reason = f"{self._subject} of ledger {ledger.name}", describe_failure(error)
                    self._faults.error(subject, "%s waits %g s: %s", subject, seconds, reason)
                if is_lost:
                    raise
                continue
            self._pauses.end(ledger)
            self._faults.recovered(f"{self._subject} of ledger {ledger.name}")
        return results
