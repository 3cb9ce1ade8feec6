"""Second half of a rebuild: fold each subject of a range in memory from all its facts, and write its rows.

Snapshots are stored only for long histories. Any other subject with a later new fact is folded from its facts again.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import asyncpg

from ledger.database import Connection
from ledger.facts import RecordedFact
from projections.definition import Projection
from projections.engine import row_changes, store
from projections.engine.group_facts import read_groups
from projections.engine.groups import groups_of
from projections.engine.programme_terms import load_terms
from projections.engine.snapshots import write_snapshots
from projections.engine.subject_history import SubjectChange, fold_from_start
from projections.rebuild.rejected_rows import WRITE_REJECTED
from projections.rebuild.work_items import SubjectRange, Work
from projections.registry import BY_SUBJECT

READ_ORDERED_FACTS = """
    SELECT subject, kind, body, occurred_at, tag, ordinal, position, untimed FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject >= $3 AND ($4::text IS NULL OR subject < $4)
     ORDER BY ledger_id, subject_kind, subject, occurred_at, rank, tag, ordinal
"""
READ_LINKS = """
    SELECT subject, root FROM links
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject >= $3 AND ($4::text IS NULL OR subject < $4)
"""


async def fold_range(connection: Connection, work: Work) -> int:
    """Fold some subjects and write their rows; the generation has none of them yet. Return the number of facts."""
    assert isinstance(work, SubjectRange)
    projection = BY_SUBJECT[work.subject_kind]
    bounds = (work.ledger_id, work.subject_kind, work.low, work.high)
    rows = await connection.fetch(READ_ORDERED_FACTS, *bounds)
    roots = dict(await connection.fetch(READ_LINKS, *bounds)) if projection.grouped else {}
    terms = await load_terms(connection, work.ledger_id, projection)
    no_state = projection.start()

    def fold(subject: str, facts: Sequence[RecordedFact]) -> SubjectChange:
        change = fold_from_start(projection, subject, facts, terms)
        return change._replace(after=change.after._replace(state=no_state))  # states are large

    folded = [fold(subject, facts) for subject, facts in _facts_by_subject(rows) if subject not in roots]
    own_roots = sorted(subject for subject, root in roots.items() if subject == root)
    groups = await groups_of(connection, work.ledger_id, projection, own_roots)
    members_by_root = {root: groups.members[root] for root in own_roots}
    async for root, facts in read_groups(connection, work.ledger_id, projection, members_by_root):
        folded.append(fold(root, facts))
    await _write_rows(connection, work.ledger_id, projection, folded)
    return len(rows)


def _facts_by_subject(rows: Sequence[asyncpg.Record]) -> Iterator[tuple[str, list[RecordedFact]]]:
    for subject, group in groupby(rows, key=itemgetter(0)):
        yield subject, [store.fact_of_row(row) for row in group]


async def _write_rows(
    connection: Connection, ledger_id: int, projection: Projection, folded: Sequence[SubjectChange]
) -> None:
    """Write new rows and snapshots. A subject whose rows PostgreSQL rejects is left out, and recorded."""

    async def write(changes: Sequence[SubjectChange]) -> None:
        subjects = [change.after for change in changes]
        flagged = (subject for subject in subjects if subject.parked or subject.untimed)
        await row_changes.write_flags(connection, ledger_id, projection, flagged)
        for table in projection.tables:
            rows = [(subject.subject, row) for subject in subjects for row in subject.rows.get(table.name, ())]
            await row_changes.copy_rows(connection, ledger_id, table, rows)
        await write_snapshots(connection, ledger_id, (taken for change in changes for taken in change.snapshots))

    async def reject(change: SubjectChange, _: Exception) -> None:
        await connection.execute(WRITE_REJECTED, ledger_id, projection.subject, change.after.subject)

    await store.divide_rejected(connection, folded, write, reject)
