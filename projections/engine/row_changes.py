"""Write the rows of projections: only rows that differ are touched.

SQL for the tables of projections is composed only here, from the names in our own Table values.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from functools import cache
from operator import is_, itemgetter

import msgspec

from ledger.database import Connection
from projections.definition import FoldedSubject, Projection
from projections.engine.subject_history import SubjectChange
from projections.tables import Row, Table

SUBJECT_COLUMNS = ("ledger_id", "subject_kind", "subject", "untimed", "parked", "parked_position")


DELETE_SUBJECTS = "DELETE FROM subjects WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3)"


async def write_changes(
    connection: Connection, ledger_id: int, projection: Projection, changes: Sequence[SubjectChange]
) -> None:
    """Write the rows of some subjects of one projection. Rows that do not differ are not touched."""
    replaced = [change.after.subject for change in changes if change.before is None]
    if replaced:
        await connection.execute(DELETE_SUBJECTS, ledger_id, projection.subject, replaced)
    flagged = [change.after for change in changes if _has_new_flag(change)]
    await write_flags(connection, ledger_id, projection, flagged)
    for table in projection.tables:
        if replaced:
            await connection.execute(_delete_subjects(table), ledger_id, replaced)
        deleted, added = _diff_rows(table, changes)
        if deleted:
            await connection.execute(_delete_keys(table, deleted[0]), ledger_id, *zip(*deleted, strict=True))
        await copy_rows(connection, ledger_id, table, added)


def _has_new_flag(change: SubjectChange) -> bool:
    """Return True if a subject has a flag that is not stored yet. A parked subject never has rows before."""
    is_stored = change.before is not None and change.before.untimed
    return change.after.parked is not None or (change.after.untimed and not is_stored)


async def write_flags(
    connection: Connection, ledger_id: int, projection: Projection, flagged: Iterable[FoldedSubject]
) -> None:
    """Store the flags of subjects that are parked or untimed."""
    records = [
        (ledger_id, projection.subject, folded.subject, folded.untimed, folded.parked, folded.parked_position)
        for folded in flagged
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


def _diff_rows(table: Table, changes: Sequence[SubjectChange]) -> tuple[list[Row], list[tuple[str, Row]]]:
    """Compare rows before and after by key. Return the keys to delete, and the rows to write."""
    deleted: list[Row] = []
    added: list[tuple[str, Row]] = []
    key_of = _key_of(table)
    for before, after, _, _ in changes:
        subject, rows = after.subject, after.rows.get(table.name, ())
        old_rows = before.rows.get(table.name, ()) if before is not None else ()
        if not old_rows:
            added += [(subject, row) for row in rows]
            continue
        same = {id(row) for row in rows}.intersection(map(id, old_rows))  # rows that were not built again
        old_by_key = {key_of(row): row for row in old_rows if id(row) not in same}
        for row in rows:
            if id(row) in same:
                continue
            key = key_of(row)
            old = old_by_key.pop(key, None)
            if old is None:
                added.append((subject, row))
            elif not _is_same_row(old, row):
                added.append((subject, row))
                deleted.append((subject, *key))
        deleted += [(subject, *key) for key in old_by_key]
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
