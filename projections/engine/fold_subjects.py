"""Fold the subjects of new facts, and write the rows that differ: load, fold, diff, write.

1. Load the history of each subject: from the cache, otherwise from its last snapshot before the first new fact.
2. Fold the new facts into it (subject_history.py).
3. A subject that is parked, joined or left a group, lost a fact or got new terms is folded from its first fact instead.
   So is a subject that cannot be folded forward. All its rows are replaced.
4. Compare the rows before and after, and write those that differ (row_changes.py).
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from contextlib import suppress

from ledger.database import Connection
from ledger.errors import Unfoldable
from ledger.facts import RecordedFact
from projections.definition import BEFORE_ALL_FACTS, FoldedSubject, Projection, fact_key
from projections.engine import row_changes, snapshots, store
from projections.engine.cache import SubjectCache
from projections.engine.group_facts import read_all_facts, read_facts_after
from projections.engine.groups import SubjectGroups, groups_of
from projections.engine.programme_terms import load_terms
from projections.engine.subject_history import (
    SubjectChange,
    SubjectHistory,
    fold_forward,
    fold_from_start,
    is_later,
    without_new_rows,
)

NO_FLAGS = store.SubjectFlags(untimed=False, parked=None)


async def fold_subjects(
    connection: Connection,
    ledger_id: int,
    projection: Projection,
    new: Sequence[RecordedFact],
    refold_subjects: Set[str] = frozenset(),
    cache: SubjectCache | None = None,
) -> None:
    """Fold the subjects of new facts of one kind, and write their rows and snapshots. The facts are stored already.

    Subjects in `refold_subjects` are folded from their first fact. A subject's rows are deleted if it has no facts, or
    belongs to another subject's group now.
    """
    cache = SubjectCache() if cache is None else cache
    terms = await load_terms(connection, ledger_id, projection)
    touched = {recorded.fact.subject for recorded in new} | refold_subjects
    groups = await groups_of(connection, ledger_id, projection, sorted(touched))
    root_of = groups.root_of()
    refold_roots = {root_of.get(subject, subject) for subject in refold_subjects}
    new_by_root = _facts_by_root(new, root_of)
    cached = cache.take(ledger_id, projection.subject, new_by_root.keys() | refold_roots | refold_subjects)
    forward = {root: facts for root, facts in new_by_root.items() if root not in refold_roots}
    changes: list[SubjectChange] = []
    async for history in _load_histories(connection, ledger_id, projection, forward, cached, groups):
        with suppress(Unfoldable):
            changes.append(fold_forward(projection, history, terms))
    refold_roots |= forward.keys() - {change.after.subject for change in changes}
    async for root, facts in read_all_facts(connection, ledger_id, projection, refold_roots, groups):
        changes.append(fold_from_start(projection, root, facts, terms))
    changes += [fold_from_start(projection, subject, (), terms) for subject in refold_subjects - refold_roots]
    await _write(connection, ledger_id, projection, changes, cache)


def _facts_by_root(facts: Iterable[RecordedFact], root_of: Mapping[str, str]) -> dict[str, list[RecordedFact]]:
    """Group facts by the root of their subject. The facts of each root are in fold order."""
    by_root: dict[str, list[RecordedFact]] = defaultdict(list)
    for recorded in facts:
        subject = recorded.fact.subject
        by_root[root_of.get(subject, subject)].append(recorded)
    for of_root in by_root.values():
        of_root.sort(key=fact_key)
    return by_root


async def _load_histories(
    connection: Connection,
    ledger_id: int,
    projection: Projection,
    new: Mapping[str, Sequence[RecordedFact]],
    cached: Mapping[str, FoldedSubject],
    groups: SubjectGroups,
) -> AsyncIterator[SubjectHistory]:
    """Load the histories of subjects with new facts. A parked subject is left out."""
    kind, stored = projection.subject, list[str]()
    for root, facts in new.items():
        if is_later(facts, cached.get(root)):
            yield SubjectHistory(root, facts, cached=cached[root])
        else:
            stored.append(root)
    if not stored:
        return
    flags = await store.read_flags(connection, ledger_id, kind, stored)
    roots = [root for root in stored if flags.get(root, NO_FLAGS).parked is None]
    firsts = {root: fact_key(new[root][0]) for root in roots}
    snapshot_of = await snapshots.read_snapshots_before(connection, ledger_id, kind, firsts)
    after = {root: snapshot_of[root].last_fact if root in snapshot_of else BEFORE_ALL_FACTS for root in roots}
    position = min((recorded.occurrence.position for root in roots for recorded in new[root]), default=0)
    async for root, prior in read_facts_after(connection, ledger_id, projection, after, position, groups):
        untimed = flags.get(root, NO_FLAGS).untimed
        yield SubjectHistory(root, new[root], None, snapshot_of.get(root), prior, untimed)


async def _write(
    connection: Connection,
    ledger_id: int,
    projection: Projection,
    changes: Sequence[SubjectChange],
    cache: SubjectCache,
) -> None:
    """Write the rows that differ, and the snapshots. Cache the subjects."""
    ends = {change.after.subject: change.snapshots_end for change in changes if change.snapshots_end is not None}
    await snapshots.delete_snapshots_from(connection, ledger_id, projection.subject, ends)
    await row_changes.write_changes(connection, ledger_id, projection, changes)
    taken = (snapshot for change in changes for snapshot in change.snapshots)
    await snapshots.write_snapshots(connection, ledger_id, taken)
    for change in changes:
        if change.after.facts and change.after.parked is None:
            cache.put(ledger_id, projection.subject, without_new_rows(projection, change.after))
