"""Compare acts of forgetting with the events that tell of them: a key that was destroyed by hand has none."""

from datetime import datetime, timedelta

import msgspec

from ledger.database import Connection
from ledger.vendors.internal import SOURCE

TIME_DIFFERENCE_MAX = timedelta(minutes=5)  # both are written in one transaction, which may have waited for another

ERASURE_EVENTS = """
    SELECT recorded_at, payload FROM ledger.events
     WHERE ledger_id = $1 AND source = $2 AND kind = 'customerErased' AND payload IS NOT NULL ORDER BY position
"""
ERASURES = "SELECT erasure, subject, erased_at FROM ledger.erasures WHERE ledger_id = $1 ORDER BY erasure"


class ErasureEvent(msgspec.Struct):
    """What such an event says that matters here."""

    customers: list[str] = []


async def unreported_erasures(connection: Connection, ledger_id: int) -> list[str]:
    """Name the erasures of which no event tells, at their time."""
    told: dict[str, list[datetime]] = {}
    for row in await connection.fetch(ERASURE_EVENTS, ledger_id, SOURCE):
        try:
            customers = msgspec.json.decode(row["payload"], type=ErasureEvent).customers
        except msgspec.DecodeError:
            continue
        for customer in customers:
            told.setdefault(customer, []).append(row["recorded_at"])
    return [
        f"erasure {row['erasure']} is told of by no event of its time"
        for row in await connection.fetch(ERASURES, ledger_id)
        if not any(abs(at - row["erased_at"]) <= TIME_DIFFERENCE_MAX for at in told.get(row["subject"], ()))
    ]
