"""Our entries of one account within some days, to match with a vendor's statement.

An event without a time is placed at its recorded time. Its change may be older, so such entries are read whatever their
day.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

from ledger.database import Connection
from service.statements.match import StatementEntry

ENTRIES = """
    WITH untimed AS (
        SELECT DISTINCT f.position FROM accounts a
          JOIN subjects s ON s.ledger_id = $1 AND s.subject_kind = 'account' AND s.subject = a.subject AND s.untimed
          JOIN facts f ON f.ledger_id = $1 AND f.subject_kind = 'account' AND f.untimed
           AND f.subject IN (SELECT s.subject UNION ALL
                             SELECT l.subject FROM links l
                              WHERE l.ledger_id = $1 AND l.subject_kind = 'account' AND l.root = s.subject)
         WHERE a.ledger_id = $1 AND a.account_id = $2)
    SELECT line, occurred_at, points, reference, kind, position,
           coalesce(position IN (SELECT position FROM untimed), false) AS untimed
      FROM statement
     WHERE ledger_id = $1 AND account_id = $2 AND points <> 0 AND kind <> 'Opening'
       AND (occurred_at BETWEEN $3 AND $4 OR position IN (SELECT position FROM untimed))
     ORDER BY line
"""


async def read_entries(
    connection: Connection, ledger_id: int, account_id: str, since: datetime, until: datetime, zone: ZoneInfo
) -> list[StatementEntry]:
    """Read the lines that changed the balance of an account, with their days in a time zone. Openings are left out."""
    rows = await connection.fetch(ENTRIES, ledger_id, account_id, since, until)
    return [
        StatementEntry(
            row["line"],
            row["occurred_at"].astimezone(zone).date(),
            row["points"],
            row["reference"],
            row["kind"],
            row["position"],
            row["untimed"],
        )
        for row in rows
    ]
