"""Compare erasures with their events. An erasure without an event means that a key was destroyed by hand."""

from datetime import datetime, timedelta

import msgspec

from ledger.database import Connection
from ledger.vendors.internal import SOURCE

TIME_DIFFERENCE_MAX = timedelta(minutes=5)  # one transaction writes both, but may have waited for another

ERASURE_EVENTS = """
    SELECT recorded_at, payload FROM ledger.events
     WHERE ledger_id = $1 AND source = $2 AND kind = 'customerErased' AND payload IS NOT NULL ORDER BY position
"""
ERASURES = "SELECT erasure, subject, erased_at FROM ledger.erasures WHERE ledger_id = $1 ORDER BY erasure"


class ErasureEvent(msgspec.Struct):
    """The part of an erasure event that is compared."""

    customers: list[str] = []


async def unreported_erasures(connection: Connection, ledger_id: int) -> list[str]:
    """Name the erasures without an event at about the same time."""
    recorded_times: dict[str, list[datetime]] = {}
    for row in await connection.fetch(ERASURE_EVENTS, ledger_id, SOURCE):
        try:
            customers = msgspec.json.decode(row["payload"], type=ErasureEvent).customers
        except msgspec.DecodeError:
            continue
        for customer in customers:
            recorded_times.setdefault(customer, []).append(row["recorded_at"])
    return [
        f"erasure {row['erasure']} has no event at its time"
        for row in await connection.fetch(ERASURES, ledger_id)
        if not any(abs(at - row["erased_at"]) <= TIME_DIFFERENCE_MAX for at in recorded_times.get(row["subject"], ()))
    ]
