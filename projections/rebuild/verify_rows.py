"""Verify the rows that readers see: fold subjects from their facts, and derive facts from events. Nothing is written.

All reads are in one snapshot, so other work is not disturbed. A sample takes subjects of every kind, and events from
all parts of the ledger. Without a sample, all are verified. Rows of subjects without facts are found in both cases.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.store.registry import Ledger
from projections.definition import Projection, fold_until_failure
from projections.engine import store
from projections.engine.digest import is_position_column
from projections.engine.generations import outdated_projections
from projections.engine.group_facts import read_group
from projections.engine.groups import groups_of
from projections.engine.parked import TERMS_REASON
from projections.engine.programme_terms import load_terms
from projections.rebuild.verify_facts import Mismatch, check_facts
from projections.registry import PROJECTIONS
from projections.tables import Table

SUBJECTS_PER_READ = 200

READ_SUBJECTS = """
    SELECT DISTINCT subject COLLATE "C" AS subject FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject > $3 ORDER BY 1 LIMIT $4
"""
SAMPLE_SUBJECTS = """
    SELECT subject FROM (SELECT DISTINCT subject FROM facts WHERE ledger_id = $1 AND subject_kind = $2) s
     ORDER BY hashtextextended(subject, $3) LIMIT $4
"""
READ_COLUMNS = """
    SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1
"""


class RowCheck(NamedTuple):
    """Result of a check: the numbers of checked subjects, facts and events, and the mismatches."""

    subjects: int
    facts: int
    events: int
    wrong: Sequence[Mismatch]


async def check_rows(
    connection: Connection, ledger: Ledger, *, sample: int | None = None, seed: int = 0, plan: bool = False
) -> RowCheck:
    """Check a ledger's facts and rows in the generation of the connection.

    `sample` is the number of subjects of each kind, and of events; None means all. Projections that wait for a rebuild
    are left out, unless `plan` is set. Raises RebuildDue.
    """
    outdated = frozenset[str]() if plan else await outdated_projections(connection)
    mismatches: list[Mismatch] = []
    subjects = facts = 0
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        last = await store.read_checkpoint(connection, ledger.ledger_id)
        events = await check_facts(connection, ledger, last, sample, mismatches, plan=plan)
        for projection in PROJECTIONS:
            if projection.name not in outdated:
                mismatches += await _orphan_rows(connection, ledger, projection)
                async for some in _subjects(connection, ledger, projection, sample, seed):
                    subjects += len(some)
                    facts += await _check_subjects(connection, ledger, projection, some, mismatches)
    distinct = {
        (mismatch.table, mismatch.subject, repr(mismatch.key), mismatch.column): mismatch for mismatch in mismatches
    }
    return RowCheck(subjects, facts, events, list(distinct.values()))


async def _subjects(
    connection: Connection, ledger: Ledger, projection: Projection, sample: int | None, seed: int
) -> AsyncIterator[list[str]]:
    """Yield the subjects to check, in lists of limited length."""
    if sample is not None:
        rows = await connection.fetch(SAMPLE_SUBJECTS, ledger.ledger_id, projection.subject, seed, sample)
        names = [row["subject"] for row in rows]
        for start in range(0, len(names), SUBJECTS_PER_READ):
            yield names[start : start + SUBJECTS_PER_READ]
        return
    after = ""
    while rows := await connection.fetch(READ_SUBJECTS, ledger.ledger_id, projection.subject, after, SUBJECTS_PER_READ):
        yield [row["subject"] for row in rows]
        after = rows[-1]["subject"]


async def _check_subjects(
    connection: Connection, ledger: Ledger, projection: Projection, subjects: Sequence[str], mismatches: list[Mismatch]
) -> int:
    """Fold some subjects from their facts, and compare with the stored rows. Return the number of facts."""
    groups = await groups_of(connection, ledger.ledger_id, projection, subjects)
    root_of = groups.root_of()
    terms = await load_terms(connection, ledger.ledger_id, projection)
    facts_by_subject = {root: await read_group(connection, ledger.ledger_id, projection, members)
             for root, members in groups.members.items()}  # fmt: skip
    alone = [subject for subject in subjects if subject not in root_of]
    async for subject, facts in store.read_facts(connection, ledger.ledger_id, projection.subject, alone):
        facts_by_subject[subject] = facts
    waiting = await _waiting_for_terms(connection, ledger, projection, sorted(facts_by_subject))
    facts_by_subject = {root: facts for root, facts in facts_by_subject.items() if root not in waiting}
    folded = {root: fold_until_failure(projection, root, facts, terms) for root, facts in facts_by_subject.items()}
    members = sorted({*facts_by_subject, *(member for member, root in root_of.items() if root not in waiting)})
    for table in projection.tables:
        stored = await _read_stored_rows(connection, ledger.ledger_id, table, members)
        folded_rows: dict[Any, dict[str, Any]] = {}
        for root, folded_subject in folded.items():
            for row in folded_subject.rows.get(table.name, ()):
                values = dict(zip(table.columns, row, strict=True))
                folded_rows[root, *(_comparable(values[name]) for name in table.key)] = values
        for key in sorted(stored.keys() | folded_rows.keys(), key=repr):
            key_fields = dict(zip(("subject", *table.key), key, strict=True))
            positions = [recorded.occurrence.position for recorded in facts_by_subject.get(key[0], ())][-20:]
            for column, stored_value, folded_value in _differing_columns(stored.get(key), folded_rows.get(key), table):
                mismatches.append(
                    Mismatch(
                        ledger.name,
                        projection.name,
                        key[0],
                        table.name,
                        key_fields,
                        column,
                        stored_value,
                        folded_value,
                        positions,
                    )
                )
    return sum(len(facts) for facts in facts_by_subject.values())


async def _waiting_for_terms(
    connection: Connection, ledger: Ledger, projection: Projection, subjects: Sequence[str]
) -> set[str]:
    """Return the subjects whose rows show terms from before a change that is still being applied."""
    flags = await store.read_flags(connection, ledger.ledger_id, projection.subject, subjects)
    return {subject for subject, flag in flags.items() if flag.parked == TERMS_REASON}


def _differing_columns(
    stored: Mapping[str, Any] | None, folded: Mapping[str, Any] | None, table: Table
) -> list[tuple[str | None, Any, Any]]:
    if stored is None or folded is None:
        return [(None, stored and dict(stored), folded)]
    return [
        (name, stored.get(name), folded[name])
        for name in table.columns
        if not is_position_column(name)
        and (name not in stored or _comparable(stored[name]) != _comparable(folded[name]))
    ]


def _comparable(value: Any) -> Any:
    """Convert a value so that it compares as in the database: 10000 and 1E+4 are the same number, 10 and 10.0 are not.

    Lists and tuples compare equal.
    """
    if isinstance(value, Decimal):
        return format(value + 0, "f")  # + 0: a negative zero is stored as zero
    return [_comparable(item) for item in value] if isinstance(value, list | tuple) else value


async def _read_stored_rows(
    connection: Connection, ledger_id: int, table: Table, subjects: Sequence[str]
) -> dict[Any, dict[str, Any]]:
    existing = {row[0] for row in await connection.fetch(READ_COLUMNS, table.name)}
    columns = [name for name in table.columns if name in existing]
    if not columns:
        return {}  # with `plan`: the table is new
    query = (
        f"SELECT subject, {', '.join(columns)} FROM {table.name} "  # noqa: S608
        "WHERE ledger_id = $1 AND subject = ANY ($2::text[])"
    )
    rows = await connection.fetch(query, ledger_id, subjects)
    return {
        (row["subject"], *(_comparable(row[name]) for name in table.key if name in existing)): {
            name: row[name] for name in columns
        }
        for row in rows
    }


async def _orphan_rows(connection: Connection, ledger: Ledger, projection: Projection) -> list[Mismatch]:
    """Find the rows of subjects without facts."""
    mismatches = []
    for table in projection.tables:
        if not await connection.fetch(READ_COLUMNS, table.name):
            continue
        query = (
            f"SELECT DISTINCT subject FROM {table.name} t WHERE ledger_id = $1 "  # noqa: S608
            "AND NOT EXISTS (SELECT FROM facts f WHERE f.ledger_id = $1 AND f.subject_kind = $2 "
            "AND f.subject = t.subject) "
            "AND NOT EXISTS (SELECT FROM links l WHERE l.ledger_id = $1 AND l.subject_kind = $2 AND l.root = t.subject)"
        )
        for row in await connection.fetch(query, ledger.ledger_id, projection.subject):
            subject = row["subject"]
            mismatches.append(
                Mismatch(
                    ledger.name, projection.name, subject, table.name, {"subject": subject}, None, "there", None, ()
                )
            )
    return mismatches
