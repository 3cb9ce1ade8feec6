"""The access log: each access to personal values is recorded before they are shown. Its table is append-only."""

from datetime import datetime
from typing import NamedTuple

from ledger.database import Connection

RECORD_ACCESS = "SELECT ledger.log_access($1, $2, $3, $4)"
ACCESSES_AFTER = """
    SELECT a.access, a.at, a.key_id, nullif(k.label, '') AS label, a.what, a.why
      FROM ledger.access a LEFT JOIN ledger.key_labels() k USING (key_id)
     WHERE a.ledger_id = $1 AND a.access > $2 ORDER BY a.access LIMIT $3
"""


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
    return [AccessRecord(*row) for row in await connection.fetch(ACCESSES_AFTER, ledger_id, after, limit)]
