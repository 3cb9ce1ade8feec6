"""Write the rows of projections: only rows that differ are touched.

SQL for the tables of projections is composed only here, from the names in our own Table values.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from operator import is_, itemgetter
from typing import Any, NamedTuple, TypeAlias

import msgspec

from ledger.database import Connection
from projections.definition import FactKey, Projection, State
from projections.tables import Table

SUBJECT_COLUMNS = ("ledger_id", "subject_kind", "subject", "untimed", "parked", "parked_position")


DELETE_SUBJECTS = "DELETE FROM subjects WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3)"


Row: TypeAlias = tuple[Any, ...]


class RowChange(NamedTuple):
    """The rows of one subject before and after a fold.

    `before` is {} if the subject has no rows. None means that its rows are unknown, and all must be replaced.
    """

    subject: str
    last_fact: FactKey | None
    state: State | None  # None: the subject has no facts left
    before: Mapping[str, Sequence[Row]] | None
    after: Mapping[str, Sequence[Row]]
    untimed: bool = False
    parked: str | None = None  # why the next fact cannot be folded
    parked_position: int | None = None
    facts: int = 0  # number of facts in the state
    flags_stored: bool = False  # the untimed flag is stored already


def change_without_facts(subject: str) -> RowChange:
    """Return the change of a subject that has no facts left: all its rows are deleted."""
    return RowChange(subject, None, None, None, {})


async def write_changes(
    connection: Connection, ledger_id: int, projection: Projection, changes: Sequence[RowChange]
) -> None:
    """Write the rows of some subjects of one projection. Rows that do not differ are not touched."""
    replaced = [change.subject for change in changes if change.before is None]
    if replaced:
        await connection.execute(DELETE_SUBJECTS, ledger_id, projection.subject, replaced)
    await write_flags(connection, ledger_id, projection, changes)
    for table in projection.tables:
        if replaced:
            await connection.execute(_delete_subjects(table), ledger_id, replaced)
        deleted, added = _diff_rows(table, changes)
        if deleted:
            await connection.execute(_delete_keys(table, deleted[0]), ledger_id, *zip(*deleted, strict=True))
        await copy_rows(connection, ledger_id, table, added)


async def write_flags(
    connection: Connection, ledger_id: int, projection: Projection, changes: Iterable[RowChange]
) -> None:
    """Store the flags of subjects that are parked or untimed, unless they are stored already."""
    records = [
        (ledger_id, projection.subject, change.subject, change.untimed, change.parked, change.parked_position)
        for change in changes
        if change.parked or (change.untimed and not change.flags_stored)
    ]
    if records:
        await connection.copy_records_to_table("subjects", records=records, columns=SUBJECT_COLUMNS)


async def copy_rows(connection: Connection, ledger_id: int, table: Table, rows: Iterable[tuple[str, Row]]) -> None:
    """Write new rows of a table, given as (subject, row)."""
    records = [(ledger_id, subject, *row) for subject, row in rows]
    if records:
        await connection.copy_records_to_table(
            table.name, records=records, columns=("ledger_id", "subject", *table.columns)
        )


def _diff_rows(table: Table, changes: Sequence[RowChange]) -> tuple[list[Row], list[tuple[str, Row]]]:
    """Compare rows before and after by key. Return the keys to delete, and the rows to write."""
    deleted: list[Row] = []
    added: list[tuple[str, Row]] = []
    key_of = _key_of(table)
    for change in changes:
        after = change.after.get(table.name, ())
        old_rows = change.before.get(table.name, ()) if change.before else ()
        if not old_rows:
            added += [(change.subject, row) for row in after]
            continue
        before = {key_of(row): row for row in old_rows}
        for row in after:
            key = key_of(row)
            old = before.pop(key, None)
            if old is None:
                added.append((change.subject, row))
            elif not _is_same_row(old, row):
                added.append((change.subject, row))
                deleted.append((change.subject, *key))
        deleted += [(change.subject, *key) for key in before]
    return deleted, added


@cache
def _key_of(table: Table) -> Callable[[Row], Row]:
    indexes = [table.columns.index(column) for column in table.key]
    return itemgetter(*indexes) if len(indexes) > 1 else lambda row: tuple(row[index] for index in indexes)


def _is_same_row(old: Row, row: Row) -> bool:
    """Compare rows with the scale of decimals: 4 and 4.000 are equal, but differ in a digest."""
    return all(map(is_, old, row)) or (old == row and _ENCODER.encode(old) == _ENCODER.encode(row))


@cache
def _delete_subjects(table: Table) -> str:
    return f"DELETE FROM {table.name} WHERE ledger_id = $1 AND subject = ANY ($2::text[])"  # noqa: S608


def _delete_keys(table: Table, example: Row) -> str:
    types = tuple(_ARRAY_TYPES[type(value)] for value in example)
    return _delete_by(table, types)


@cache
def _delete_by(table: Table, types: tuple[str, ...]) -> str:
    columns = ("subject", *table.key)
    arrays = ", ".join(f"${n}::{type_name}[]" for n, type_name in enumerate(types, 2))
    conditions = " AND ".join(f"t.{column} = k.{column}" for column in columns)
    return (
        f"DELETE FROM {table.name} t USING unnest({arrays}) AS k ({', '.join(columns)}) "  # noqa: S608
        f"WHERE t.ledger_id = $1 AND {conditions}"
    )


_ARRAY_TYPES = {str: "text", int: "bigint", date: "date"}


_ENCODER = msgspec.json.Encoder()
