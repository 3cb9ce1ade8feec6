"""Accounts whose balance differs from the vendor's claim, each with the cause that its rows support."""

from typing import Any

from ledger.background import give_way
from ledger.database import Connection
from service.reconciliation.drift_causes import cause_of_drift
from service.reconciliation.drift_evidence import read_evidence
from service.reconciliation.drift_steps import Evidence
from service.reconciliation.lists import Key, ListQuery, OpenItem, OpenList, count_by_statement, next_key

ACCOUNTS_PER_TURN = 20  # then other tasks of the event loop run

DRIFTING = """
    SELECT account_id, subject, programme, unit, customer, available, claimed, claimed_at, drift, missing, unseen,
           drift_since, drift_position, agreed_at, agreed_position
      FROM accounts
     WHERE ledger_id = $1 AND (drift <> 0 OR missing <> 0) AND drift_since <= $2 AND account_id > $4
     ORDER BY account_id LIMIT $3
"""
DRIFTING_IN_ALL = """
    SELECT unit, count(*) AS items, sum(abs(missing)) AS points FROM (
        SELECT unit, missing FROM accounts
         WHERE ledger_id = $1 AND (drift <> 0 OR missing <> 0) AND drift_since <= $2 LIMIT $3) counted
     GROUP BY unit
"""


async def read_drift(connection: Connection, query: ListQuery) -> tuple[list[OpenItem], Key | None]:
    """Read one page of accounts in drift."""
    rows = await connection.fetch(DRIFTING, query.ledger_id, query.opened_by, query.limit + 1, *query.after)
    found: list[OpenItem] = []
    for first in range(0, min(len(rows), query.limit), ACCOUNTS_PER_TURN):
        some = rows[first : min(first + ACCOUNTS_PER_TURN, query.limit)]
        evidence = await read_evidence(connection, query.ledger_id, some)
        found += [drift_item(row, account_evidence) for row, account_evidence in zip(some, evidence, strict=True)]
        await give_way()
    return found, next_key(rows, query.limit, ("account_id",))


def drift_item(row: Any, evidence: Evidence) -> OpenItem:
    """Build the item of one account. Its amount is the points of the missing events."""
    names = ("programme", "customer", "available", "claimed", "claimed_at", "drift", "unseen")
    return OpenItem(
        id=row["account_id"],
        amount=row["missing"],
        unit=row["unit"],
        position=row["drift_position"],
        since=row["drift_since"],
        cause=cause_of_drift(evidence),
        details={name: row[name] for name in (*names, "agreed_at", "agreed_position")},
    )


DRIFT = OpenList(
    name="drift",
    title="Accounts whose balance differs from the vendor's claim, or whose history proves missing events",
    read=read_drift,
    count=count_by_statement(DRIFTING_IN_ALL),
    columns=("programme", "customer", "available", "claimed", "claimed_at", "drift", "unseen", "agreed_at"),
    details=("agreed_position",),
    start=("",),
    statements=(DRIFTING, DRIFTING_IN_ALL),
)
