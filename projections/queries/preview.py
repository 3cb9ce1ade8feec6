"""Preview of a change: the rows that facts would change if they were added or removed. Nothing is written.

How it works:

1. The stored facts of the touched subjects are read, with all subjects that they merge with.
2. The change is applied to these facts in memory.
3. Both sets of facts are grouped and folded by the rules that the projector uses. Their rows are compared.

The rows of a subject are a function of the set of its facts (invariant 5). So the preview equals the later rows, unless
other events arrive in between. Call it inside a read-only transaction. All reads then use one database snapshot, no
lock is taken, and PostgreSQL refuses every write.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ledger.background import give_way
from ledger.database import Connection
from ledger.facts import RecordedFact
from projections.accounts import ACCOUNTS
from projections.definition import FoldedSubject, Projection, fact_key
from projections.engine.digest import is_position_column
from projections.engine.groups import merged_pair
from projections.engine.programme_terms import governed_holders, read_terms
from projections.programme_terms import NO_TERMS, Terms
from projections.queries.as_of import AsOf, fold_known, group_by_root, load_related_facts
from projections.registry import BY_SUBJECT
from projections.tables import Row, Table

SUBJECTS_PER_FOLD = 50  # subjects whose facts are read together, where terms touch many

FactsBySubject = Mapping[str, Sequence[RecordedFact]]

SHARING_ALIASES = """
    SELECT DISTINCT subject FROM facts WHERE ledger_id = $1 AND subject_kind = $2 AND alias = ANY ($3)
"""


class FactChange(NamedTuple):
    """Facts to add to those of a ledger, and stored facts to remove."""

    added: Sequence[RecordedFact] = ()
    removed: Sequence[RecordedFact] = ()


class PreviewedSubjects(NamedTuple):
    """Subjects of one projection that belong together, folded without the change and with it."""

    projection: Projection
    before: Sequence[FoldedSubject]
    after: Sequence[FoldedSubject]


class RowChange(NamedTuple):
    """One row that differs. `before` is None for a new row, `after` for a row that ends. Positions are left out."""

    table: str
    subject: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


async def preview_facts(connection: Connection, ledger_id: int, change: FactChange) -> AsyncIterator[PreviewedSubjects]:
    """Yield the touched subjects, folded without a change and with it. Terms touch all accounts of their programme."""
    terms_before = await read_terms(connection, ledger_id)
    terms_after = await read_terms(connection, ledger_id, added=change.added)  # new terms occur now
    kinds = sorted({fact.subject_kind for fact, _ in (*change.added, *change.removed)})
    seen: set[str] = set()
    for kind in kinds:
        projection = BY_SUBJECT[kind]
        changed = FactChange(_of_kind(change.added, kind), _of_kind(change.removed, kind))
        subjects = await _touched_subjects(connection, ledger_id, projection, changed)
        before = await load_related_facts(connection, ledger_id, projection, subjects, AsOf())
        if projection is ACCOUNTS:
            seen.update(before)
        if projection.attach_terms is None:
            yield _fold_both(projection, before, changed, NO_TERMS, NO_TERMS)
        else:
            yield _fold_both(projection, before, changed, terms_before, terms_after)
        await give_way()
    async for holders in governed_holders(connection, ledger_id, [*change.added, *change.removed]):
        remaining = [holder for holder in holders if holder not in seen]
        seen.update(remaining)
        for first in range(0, len(remaining), SUBJECTS_PER_FOLD):
            chunk = remaining[first : first + SUBJECTS_PER_FOLD]
            before = await load_related_facts(connection, ledger_id, ACCOUNTS, chunk, AsOf())
            yield _fold_both(ACCOUNTS, before, FactChange(), terms_before, terms_after)
            await give_way()


def _of_kind(facts: Sequence[RecordedFact], kind: str) -> list[RecordedFact]:
    return [recorded for recorded in facts if recorded.fact.subject_kind == kind]


async def _touched_subjects(
    connection: Connection, ledger_id: int, projection: Projection, change: FactChange
) -> list[str]:
    """Return the subjects of some facts, those that the facts merge, and those that share an alias with them."""
    facts = [recorded.fact for recorded in (*change.added, *change.removed)]
    subjects = {subject for fact in facts for subject in (fact.subject, *merged_pair(projection, fact))}
    aliases = {fact.alias for fact in facts if fact.alias is not None}
    if aliases and projection.match_aliases is not None:
        stored = sorted(f"{mark}{alias}" for alias in aliases for mark in "~=")
        rows = await connection.fetch(SHARING_ALIASES, ledger_id, projection.subject, stored)
        subjects.update(row["subject"] for row in rows)
    return sorted(subjects)


def _fold_both(
    projection: Projection, facts: FactsBySubject, change: FactChange, terms_before: Terms, terms_after: Terms
) -> PreviewedSubjects:
    before = [fold_known(projection, known) for known in group_by_root(projection, facts, terms_before)]
    changed = _with_change(facts, change)
    after = [fold_known(projection, known) for known in group_by_root(projection, changed, terms_after)]
    return PreviewedSubjects(projection, before, after)


def _with_change(facts: FactsBySubject, change: FactChange) -> dict[str, list[RecordedFact]]:
    """Return facts without the removed ones and with the added ones. An added fact replaces the same stored fact."""
    gone = {(recorded.fact.subject, fact_key(recorded)) for recorded in (*change.removed, *change.added)}
    changed: dict[str, list[RecordedFact]] = defaultdict(list)
    for subject, stored in facts.items():
        left = [recorded for recorded in stored if (subject, fact_key(recorded)) not in gone]
        if left:
            changed[subject] = left
    for recorded in change.added:
        changed[recorded.fact.subject].append(recorded)
    return changed


def row_changes_of(previewed: PreviewedSubjects) -> list[RowChange]:
    """Return the rows that differ, table by table. Rows that differ in positions alone are left out."""
    changes: list[RowChange] = []
    for table in previewed.projection.tables:
        before, after = _rows_by_key(table, previewed.before), _rows_by_key(table, previewed.after)
        for key in dict.fromkeys((*before, *after)):
            old, new = before.get(key), after.get(key)
            if old != new:
                subject, _ = new or old or ("", {})
                changes.append(RowChange(table.name, subject, old and old[1], new and new[1]))
    return changes


def _rows_by_key(table: Table, folded: Iterable[FoldedSubject]) -> dict[Row, tuple[str, Mapping[str, Any]]]:
    """Return the rows of a table by their key, each with its subject and without positions."""
    columns = [name for name in table.columns if not is_position_column(name)]
    indexes = [table.columns.index(name) for name in columns]
    keys = [table.columns.index(name) for name in table.key]
    return {
        (*(() if table.unique_key else (one.subject,)), *(row[index] for index in keys)): (
            one.subject,
            dict(zip(columns, (row[index] for index in indexes), strict=True)),
        )
        for one in folded
        for row in one.rows.get(table.name, ())
    }
