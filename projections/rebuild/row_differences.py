"""Compare the rows of one table by key: the rows of two generations, or stored rows and folded ones."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.database import Connection

READ_COLUMNS = """
    SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1
"""

RowsByKey = Mapping[tuple[Any, ...], Mapping[str, Any]]


class RowDifference(NamedTuple):
    """One value that differs. Without a column, the whole row exists on one side only."""

    key: Mapping[str, Any]  # the subject, and the columns that identify the row within it
    column: str | None
    old: Any
    new: Any


async def read_columns(connection: Connection, table: str) -> set[str]:
    """Return the columns of a table in the connection's generation. Empty if the generation has no such table."""
    return {row[0] for row in await connection.fetch(READ_COLUMNS, table)}


async def read_rows(
    connection: Connection, ledger_id: int, table: str, columns: Iterable[str], condition: str, *arguments: Any
) -> list[dict[str, Any]]:
    """Read the rows of a ledger that meet a condition with arguments from $2 on. The SQL comes from our own values."""
    query = f"SELECT {', '.join(columns)} FROM {table} WHERE ledger_id = $1 AND {condition}"  # noqa: S608
    return [dict(row) for row in await connection.fetch(query, ledger_id, *arguments)]


def rows_by_key(rows: Iterable[Mapping[str, Any]], key: Sequence[str]) -> RowsByKey:
    """Return rows by the values of their key."""
    return {tuple(comparable(row[name]) for name in key): row for row in rows}


def diff_rows(old: RowsByKey, new: RowsByKey, key: Sequence[str], columns: Sequence[str]) -> Iterator[RowDifference]:
    """Yield the differences in some columns, by key. An absent column counts as null, and differs from every value."""
    for identity in sorted(old.keys() | new.keys(), key=repr):
        before, after = old.get(identity), new.get(identity)
        named = {name: (before or after or {})[name] for name in key}
        if before is None or after is None:
            yield RowDifference(named, None, before, after)
            continue
        for column in columns:
            if column not in before or comparable(before[column]) != comparable(after[column]):
                yield RowDifference(named, column, before.get(column), after[column])


def comparable(value: Any) -> Any:
    """Convert a value so that it compares as in a digest: 10000 and 1E+4 are equal; 4 and 4.000 differ, and so do true
    and 1. Lists and tuples compare equal.
    """
    if isinstance(value, Decimal):
        return format(value or value.copy_abs(), "f")  # a negative zero is stored as zero
    if isinstance(value, bool):
        return str(value)
    return [comparable(item) for item in value] if isinstance(value, list | tuple) else value
