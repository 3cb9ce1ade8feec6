"""The access log: each access to personal values is recorded before they are shown. Its table is append-only."""

from datetime import datetime
from typing import NamedTuple

from ledger.database import Connection

RECORD_ACCESS = "SELECT ledger.log_access($1, $2, $3, $4)"
ACCESSES_AFTER = """
    SELECT access, at, key_id, what, why FROM ledger.access
     WHERE ledger_id = $1 AND access > $2 ORDER BY access LIMIT $3
"""
KEY_LABELS = "SELECT key_id, label FROM ledger.key_labels()"  # not joined: the rows may stand on another server


class AccessRecord(NamedTuple):
    """One access: the API key that was used and its label, the object that was shown, and the stated reason."""

    number: int
    at: datetime
    key_id: str
    label: str | None  # of the key; None if it has no label
    object: str
    reason: str


async def record_access(connection: Connection, ledger_id: int, key_id: str, what: str, why: str) -> None:
    """Record, durably, that personal values are about to be shown."""
    await connection.execute(RECORD_ACCESS, ledger_id, key_id, what, why)


async def accesses_after(connection: Connection, ledger_id: int, after: int, limit: int) -> list[AccessRecord]:
    """List the accesses after a number, oldest first."""
    rows = await connection.fetch(ACCESSES_AFTER, ledger_id, after, limit)
    labels = {row["key_id"]: row["label"] or None for row in await connection.fetch(KEY_LABELS)} if rows else {}
    return [AccessRecord(number, at, key_id, labels.get(key_id), what, why) for number, at, key_id, what, why in rows]
