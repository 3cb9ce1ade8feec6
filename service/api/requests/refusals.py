"""Count and log refused deliveries: one line a minute for each connection, with the reasons but no content.

Without it a wrong secret shows only at the vendor, which stops sending after some days.
"""

import asyncio
import logging
from collections import Counter

from aiohttp import web

from ledger import errors
from service.monitoring.instruments import Instruments

SECONDS_PER_LINE = 60.0
CONNECTIONS_MAX = 10_000  # with refused deliveries within one minute; only known connections are counted

_log = logging.getLogger(__name__)


class Refusals:
    """Counts refused deliveries by connection and reason until they are logged."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._counts: dict[str, Counter[str]] = {}

    def count(self, connection_id: str | None, error: Exception) -> None:
        """Count one refused delivery. The first is logged at once. Those of the minute after it are logged together.

        Without a known connection nothing is logged: anyone may send to any path.
        """
        reason = reason_of(error)
        self._instruments.count_refusal(reason)
        if connection_id is None:
            return
        counts = self._counts.get(connection_id)
        if counts is not None:
            counts[reason] += 1
        elif len(self._counts) < CONNECTIONS_MAX:
            _log.warning("connection %s: a delivery was refused: %s", connection_id, reason)
            self._counts[connection_id] = Counter()
            asyncio.get_running_loop().call_later(SECONDS_PER_LINE, self._log_counts, connection_id)

    def _log_counts(self, connection_id: str) -> None:
        counts = self._counts.pop(connection_id)
        if not counts:
            return
        summary = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
        _log.warning("connection %s: deliveries refused within %.0f s: %s", connection_id, SECONDS_PER_LINE, summary)
        self._counts[connection_id] = Counter()
        asyncio.get_running_loop().call_later(SECONDS_PER_LINE, self._log_counts, connection_id)


def reason_of(error: Exception) -> str:
    """Return the reason of a refusal in one word."""
    for kind, reason in REASONS.items():
        if isinstance(error, kind):
            return reason
    return "unavailable"


REASONS: dict[type[Exception], str] = {
    errors.BadCredentials: "credentials",
    errors.ConnectionUnknown: "unknown_connection",
    errors.DeliveryTooLarge: "too_large",
    errors.CodingUnknown: "coding",
    errors.RequestInvalid: "invalid",
    web.HTTPRequestTimeout: "slow",
}
