"""Count and log refused deliveries, with the reason and no content: a line for each, and a sum of those beyond a limit.

Without it a wrong secret shows only at the vendor, which stops sending after some days.
"""

import asyncio
import logging
from collections import Counter

from aiohttp import web

from ledger import errors
from ledger.store.registry import InboundConnection
from service.monitoring.instruments import Instruments

LINES_MAX = 10  # of one connection within SECONDS_PER_SUMMARY, so that nobody can fill the log
SECONDS_PER_SUMMARY = 60.0
CONNECTIONS_MAX = 10_000  # with refused deliveries within one minute; only known connections are counted

_log = logging.getLogger(__name__)


class _Window:
    """The refusals of one connection within SECONDS_PER_SUMMARY."""

    def __init__(self) -> None:
        self.lines = 0
        self.unlogged: Counter[str] = Counter()


class Refusals:
    """Counts and logs refused deliveries by connection and reason."""

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._windows: dict[str, _Window] = {}

    def count(self, inbound: InboundConnection | None, error: Exception) -> None:
        """Count one refused delivery, and log it. Those beyond LINES_MAX are logged together.

        Without a known connection nothing is logged: anyone may send to any path.
        """
        reason = reason_of(error)
        self._instruments.count_refusal(reason)
        if inbound is None:
            return
        window = self._windows.get(inbound.connection_id)
        if window is None:
            if len(self._windows) >= CONNECTIONS_MAX:
                return
            window = self._windows[inbound.connection_id] = _Window()
            asyncio.get_running_loop().call_later(SECONDS_PER_SUMMARY, self._close_window, inbound.connection_id)
        if window.lines >= LINES_MAX:
            window.unlogged[reason] += 1
            return
        window.lines += 1
        fields = {"ledger": inbound.ledger.name, "source": inbound.source, "reason": reason}
        _log.warning("connection %s: a delivery was refused: %s", inbound.connection_id, reason, extra=fields)

    def _close_window(self, connection_id: str) -> None:
        unlogged = self._windows.pop(connection_id).unlogged
        if unlogged:
            summary = ", ".join(f"{reason} {count}" for reason, count in sorted(unlogged.items()))
            _log.warning("connection %s: more deliveries were refused: %s", connection_id, summary)


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
