"""Verify the rows that readers see: fold subjects from their facts, and derive facts from events. Nothing is written.

All reads are in one snapshot, so other work is not disturbed. A sample takes subjects of every kind, and events from
all parts of the ledger. Without a sample, all are verified. Rows of subjects without facts are found in both cases.
"""

from collections.abc import AsyncIterator, Sequence, Set
from typing import NamedTuple

from ledger.database import Connection
from ledger.store.registry import Ledger
from projections.definition import FoldedSubject, Projection, fold_until_failure
from projections.engine import store
from projections.engine.digest import is_position_column
from projections.engine.generations import outdated_projections
from projections.engine.group_facts import read_all_facts
from projections.engine.groups import groups_of
from projections.engine.parked import TERMS_REASON
from projections.engine.programme_terms import load_terms
from projections.rebuild.row_differences import RowDifference, diff_rows, read_columns, read_rows, rows_by_key
from projections.rebuild.verify_facts import Mismatch, check_facts
from projections.registry import PROJECTIONS
from projections.tables import Table

SUBJECTS_PER_READ = 200
POSITIONS_LISTED_MAX = 20

READ_SUBJECTS = """
    SELECT DISTINCT subject COLLATE "C" AS subject FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject > $3 ORDER BY 1 LIMIT $4
"""
SAMPLE_SUBJECTS = """
    SELECT subject FROM (SELECT DISTINCT subject FROM facts WHERE ledger_id = $1 AND subject_kind = $2) s
     ORDER BY hashtextextended(subject, $3) LIMIT $4
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
    ledger_id = ledger.ledger_id
    groups = await groups_of(connection, ledger_id, projection, subjects)
    root_of = groups.root_of()
    roots = {root_of.get(subject, subject) for subject in subjects}
    roots -= await _waiting_for_terms(connection, ledger_id, projection, roots)
    terms = await load_terms(connection, ledger_id, projection)
    facts_by_root = {
        root: facts async for root, facts in read_all_facts(connection, ledger_id, projection, roots, groups)
    }
    folded = [fold_until_failure(projection, root, facts, terms) for root, facts in facts_by_root.items()]
    members = sorted(roots.union(*(groups.members.get(root, ()) for root in roots)))
    for table in projection.tables:
        for found in await _compare_table(connection, ledger_id, table, folded, members):
            subject = found.key["subject"]
            positions = [recorded.occurrence.position for recorded in facts_by_root.get(subject, ())]
            place = (ledger.name, projection.name, subject, table.name)
            mismatches.append(Mismatch(*place, *found, positions[-POSITIONS_LISTED_MAX:]))
    return sum(map(len, facts_by_root.values()))


async def _compare_table(
    connection: Connection, ledger_id: int, table: Table, folded: Sequence[FoldedSubject], members: Sequence[str]
) -> list[RowDifference]:
    """Compare the stored rows of some subjects with the folded ones. With `plan`, the table or a column may be new."""
    existing = await read_columns(connection, table.name)
    key = ("subject", *(name for name in table.key if name in existing))
    selected = [name for name in ("subject", *table.columns) if name in existing]
    condition = "subject = ANY ($2::text[])"
    stored = await read_rows(connection, ledger_id, table.name, selected, condition, members) if existing else ()
    rows = [(subject.subject, row) for subject in folded for row in subject.rows.get(table.name, ())]
    made = [{"subject": subject, **dict(zip(table.columns, row, strict=True))} for subject, row in rows]
    compared = [name for name in table.columns if not is_position_column(name)]
    return [*diff_rows(rows_by_key(stored, key), rows_by_key(made, key), key, compared)]


async def _waiting_for_terms(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Set[str]
) -> set[str]:
    """Return the subjects whose rows show terms from before a change that is still being applied."""
    flags = await store.read_flags(connection, ledger_id, projection.subject, sorted(subjects))
    return {subject for subject, flag in flags.items() if flag.parked == TERMS_REASON}


async def _orphan_rows(connection: Connection, ledger: Ledger, projection: Projection) -> list[Mismatch]:
    """Find the rows of subjects without facts."""
    mismatches = []
    for table in projection.tables:
        if not await read_columns(connection, table.name):
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
