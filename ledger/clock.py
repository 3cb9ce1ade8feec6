"""The time by the database's clock, in case the clock of this process is wrong.

The database records the times of events and checkpoints. Times of this process are compared with them, or stored beside
them. So both must come from the same clock. With another clock, work would be due hours late, or an adjustment would be
dated before its cause. So a process compares the two clocks regularly, and `now` corrects its own.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ledger.background import keep_connected
from ledger.database import Connection

COMPARE_SECONDS = 60.0  # between two comparisons
CORRECTION_SECONDS_MIN = 5.0  # a smaller difference is ignored: it may be the round trip
WARN_SECONDS_MIN = 60.0  # a difference from here on is logged
WARN_AGAIN_SECONDS = 3600.0
ROUND_TRIP_SECONDS_MAX = 2.0  # a slower comparison is ignored

DATABASE_TIME = "SELECT clock_timestamp()"

_log = logging.getLogger(__name__)


def wall_time() -> datetime:
    return datetime.now(UTC)


class Clock:
    """The clock of this process, corrected by the last comparison. `wall` returns the uncorrected time."""

    def __init__(self, wall: Callable[[], datetime] = wall_time) -> None:
        self.wall = wall
        self._offset = timedelta()
        self._warned_at: float | None = None

    def now(self) -> datetime:
        """Return the time by the database's clock."""
        return self.wall() - self._offset

    async def compare(self, connection: Connection) -> None:
        """Compare with the database's clock. Log a difference above WARN_SECONDS_MIN, at most once an hour."""
        before = self.wall()
        began = time.monotonic()
        database_time: datetime = await connection.fetchval(DATABASE_TIME)
        round_trip_seconds = time.monotonic() - began
        if round_trip_seconds > ROUND_TRIP_SECONDS_MAX:
            return
        offset = before + timedelta(seconds=round_trip_seconds / 2) - database_time
        self._offset = offset if abs(offset.total_seconds()) >= CORRECTION_SECONDS_MIN else timedelta()
        self._warn()

    def _warn(self) -> None:
        problem = self.problem()
        if problem is None:
            self._warned_at = None
        elif self._warned_at is None or time.monotonic() - self._warned_at > WARN_AGAIN_SECONDS:
            self._warned_at = time.monotonic()
            _log.warning("%s; the database's is used, but set this machine's right", problem)

    def problem(self) -> str | None:
        """Describe the difference between the clocks; None if it is below WARN_SECONDS_MIN."""
        seconds = round(self._offset.total_seconds())
        if abs(seconds) < WARN_SECONDS_MIN:
            return None
        return f"the clock of this service is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} the database's"


CLOCK = Clock()


def now() -> datetime:
    """Return the time by the clock of the database that this process works on."""
    return CLOCK.now()


async def follow_database_clock(dsn: str) -> None:
    """Compare with the database's clock every COMPARE_SECONDS, until cancelled."""
    await keep_connected(
        "comparing clocks", dsn, CLOCK.compare, log=_log, retry_seconds=COMPARE_SECONDS, pause_seconds=COMPARE_SECONDS,
        search_path="pg_catalog",
    )  # fmt: skip
