"""Temporary storage for the lines of a statement during a comparison, sorted by account.

It spills to disk, so a statement may be larger than memory and in any order. It is deleted when it is closed.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from service.statements.columns import StatementRecord

NAMES_PER_READ = 500

CREATE = """
    CREATE TABLE records (line INTEGER PRIMARY KEY, account TEXT, customer TEXT, programme TEXT, unit TEXT, points TEXT,
                          at TEXT, day TEXT, reference TEXT, account_id TEXT);
    CREATE INDEX by_name ON records (account, customer, programme, unit);
    CREATE INDEX by_account ON records (account_id, line);
"""
INSERT_LINE = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)"
ACCOUNT_NAMES = "SELECT DISTINCT account, customer, programme, unit FROM records"
SET_ACCOUNT = """
    UPDATE records SET account_id = ? WHERE account IS ? AND customer IS ? AND programme IS ? AND unit IS ?
"""
UNRESOLVED = "SELECT line FROM records WHERE account_id IS NULL ORDER BY line"
RESOLVED = """
    SELECT account_id, line, points, at, day, reference FROM records WHERE account_id IS NOT NULL
     ORDER BY account_id, line
"""
HAS_ACCOUNT = "SELECT 1 FROM records WHERE account_id = ? LIMIT 1"
DAY_RANGE = "SELECT min(day), max(day) FROM records WHERE account_id IS NOT NULL"


class AccountName(NamedTuple):
    """The values by which a statement names an account."""

    account: str | None
    customer: str | None
    programme: str | None
    unit: str


class StagedLine(NamedTuple):
    """One stored line."""

    line: int
    points: Decimal
    at: datetime | None
    day: date | None
    reference: str | None


class StagedStatement:
    """Holds the lines of one statement. Use it as a context manager."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary file, deleted on close
        self._database.executescript(CREATE)

    def __enter__(self) -> "StagedStatement":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def put(self, record: StatementRecord) -> None:
        """Store a line."""
        at = None if record.at is None else record.at.isoformat()
        day = None if record.day is None else record.day.isoformat()
        named = (record.account, record.customer, record.programme, record.unit)
        self._database.execute(INSERT_LINE, (record.line, *named, str(record.points), at, day, record.reference))

    def names(self) -> Iterator[list[AccountName]]:
        """Yield the distinct names of accounts, in batches."""
        cursor = self._database.execute(ACCOUNT_NAMES)
        while rows := cursor.fetchmany(NAMES_PER_READ):
            yield [AccountName(*row) for row in rows]

    def resolve(self, names: Sequence[tuple[AccountName, str]]) -> None:
        """Store the account of each name."""
        self._database.executemany(SET_ACCOUNT, [(account_id, *name) for name, account_id in names])

    def unresolved(self) -> Iterator[int]:
        """Return the line numbers without a known account."""
        return (line for (line,) in self._database.execute(UNRESOLVED))

    def by_account(self) -> Iterator[tuple[str, list[StagedLine]]]:
        """Yield each account with its lines, in order of accounts and lines."""
        rows = self._database.execute(RESOLVED)
        for account_id, group in groupby(rows, key=lambda row: row[0]):
            yield str(account_id), [_staged_line(row) for row in group]

    def has(self, account_id: str) -> bool:
        return self._database.execute(HAS_ACCOUNT, (account_id,)).fetchone() is not None

    def days(self) -> tuple[date, date] | None:
        """Return the first and the last day of the entries. None without entries."""
        first, last = self._database.execute(DAY_RANGE).fetchone()
        return (date.fromisoformat(first), date.fromisoformat(last)) if first is not None else None


def _staged_line(row: Sequence[Any]) -> StagedLine:
    _, line, points, at, day, reference = row
    return StagedLine(
        line,
        Decimal(points),
        None if at is None else datetime.fromisoformat(at),
        None if day is None else date.fromisoformat(day),
        reference,
    )
