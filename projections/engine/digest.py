"""A digest of all rows of a ledger, to compare two copies: live and rebuilt, or two databases.

The digest leaves out:

- positions, because they depend on the order of arrival;
- the rows of untimed subjects, unless requested. They are ordered by recorded time, so invariant 5 exempts them;
- the erasure of a person and its time. It is an internal event and must not change a digest.
"""

import hashlib
from datetime import datetime
from functools import cache
from typing import NamedTuple

from ledger.database import Connection
from projections.registry import PROJECTIONS
from projections.tables import Table


class DigestedFact(NamedTuple):
    occurred_at: datetime
    rank: int
    tag: bytes
    ordinal: int
    kind: str
    body: bytes


FACTS_TABLE = Table("facts", DigestedFact, key=("occurred_at", "rank", "tag", "ordinal"))
COUNT_UNTIMED = "SELECT count(*) FROM subjects WHERE ledger_id = $1 AND untimed"


class Digest(NamedTuple):
    """SHA-256 over all rows of a ledger, in hexadecimal: of all tables together, and of each table."""

    digest: str
    tables: dict[str, str]
    untimed_left_out: int  # number of subjects


async def compute_digest(connection: Connection, ledger_id: int, *, untimed: bool = False) -> Digest:
    """Compute the digest of one ledger's rows in the generation of the connection's search_path.

    `untimed` includes the subjects that invariant 5 exempts. Use it for two copies of one ledger, never for two
    ledgers.
    """
    tables = {"facts": await _table_digest(connection, ledger_id, _query("subject_kind", FACTS_TABLE, untimed))}
    for projection in PROJECTIONS:
        for table in projection.tables:
            query = _query(f"'{projection.subject}'", table, untimed)
            tables[table.name] = await _table_digest(connection, ledger_id, query)
    combined = hashlib.sha256("".join(f"{name} {tables[name]}\n" for name in sorted(tables)).encode()).hexdigest()
    left_out = 0 if untimed else await connection.fetchval(COUNT_UNTIMED, ledger_id)
    return Digest(combined, tables, left_out)


async def _table_digest(connection: Connection, ledger_id: int, query: str) -> str:
    sha256 = hashlib.sha256()

    async def take(chunk: bytes) -> None:
        sha256.update(chunk)

    await connection.copy_from_query(query, ledger_id, output=take)
    return sha256.hexdigest()


class DigestedTable(NamedTuple):
    """A table as the digest reads it: its columns, and the query of its rows in the order of their keys."""

    name: str
    subject_kind: str | None  # None: the table holds all kinds, and a column names the kind
    columns: tuple[str, ...]
    query: str

    def restricted(self, condition: str) -> str:
        """Return the same query for the rows that meet a condition. The condition is SQL from our code."""
        return self.query.replace("WHERE ledger_id = $1", f"WHERE ledger_id = $1 AND {condition}")


@cache
def digested_tables() -> tuple[DigestedTable, ...]:
    """List all tables of the digest, with the subjects that invariant 5 exempts."""
    facts = DigestedTable(
        "facts", None, ("subject_kind", *_columns(FACTS_TABLE)), _query("subject_kind", FACTS_TABLE, True)
    )
    return facts, *(
        DigestedTable(table.name, projection.subject, _columns(table), _query(f"'{projection.subject}'", table, True))
        for projection in PROJECTIONS
        for table in projection.tables
    )


def _columns(table: Table) -> tuple[str, ...]:
    return "subject", *(name for name in table.columns if not is_position_column(name) and name not in EXCLUDED_COLUMNS)


@cache
def _query(subject_kind: str, table: Table, untimed: bool) -> str:
    """Compose the query of a table's rows in the order of its key. Names come only from our own Table values."""
    columns = list(_columns(table))
    if table.name == "facts":
        columns.insert(0, "subject_kind")
        excluded = " AND kind <> ALL (ARRAY[" + ", ".join(f"'{kind}'" for kind in EXCLUDED_FACTS) + "])"
    else:
        excluded = ""
    exempt = (
        ""
        if untimed
        else " AND NOT EXISTS (SELECT FROM subjects s WHERE s.untimed AND s.ledger_id = $1 "
        f"AND s.subject_kind = {subject_kind} AND s.subject = t.subject)"
    )
    order = ["subject", *table.key] if table.name != "facts" else ["subject_kind", "subject", *table.key]
    return (
        f"SELECT {', '.join(columns)} FROM {table.name} t WHERE ledger_id = $1{exempt}{excluded} "  # noqa: S608
        f"ORDER BY {', '.join(order)}"
    )


def is_position_column(column: str) -> bool:
    """Return True if a column holds a position."""
    return column == "position" or column.endswith("_position")


EXCLUDED_FACTS = ("CustomerErased",)  # fact kinds
EXCLUDED_COLUMNS = frozenset({"erased_at"})  # columns
