"""Fold the subjects of new facts: forward from their current state, or again from before the first new fact.

How a subject is folded:

1. If its state is cached and all new facts come later, the new facts are folded onto that state.
2. Otherwise its history is folded again from the last snapshot before the first new fact.
3. Otherwise all its facts are folded from the first, and all its rows are replaced.

In cases 1 and 2 the previous rows are known. So only rows that differ are written, however late a fact is. Case 3 is
for a subject that is parked, joined or left a group, lost a fact, or got new terms.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import Unfoldable
from ledger.facts import RecordedFact
from ledger.failures import describe_failure
from projections.definition import (
    FactKey,
    Projection,
    State,
    build_all_rows,
    build_rows,
    fact_key,
    fold,
    fold_until_failure,
    take_new_rows,
)
from projections.engine import row_changes, snapshots, store
from projections.engine.cache import CachedSubject, SubjectCache
from projections.engine.group_facts import read_all_facts
from projections.engine.groups import SubjectGroups, groups_of
from projections.engine.programme_terms import read_terms
from projections.engine.snapshots import BEFORE_ALL_FACTS, Snapshot, SnapshotWrite, decode_state, encode_state_or_none
from projections.programme_terms import NO_TERMS, Terms

NO_FLAGS = store.SubjectFlags(untimed=False, parked=None)


class SubjectHistory(NamedTuple):
    """The history of a subject that is not cached: a snapshot, the earlier facts after that snapshot, and the new
    facts.
    """

    subject: str
    snapshot: Snapshot | None
    prior: Sequence[RecordedFact]
    new: Sequence[RecordedFact]
    has_untimed_flag: bool  # the subject is stored as untimed


class FoldResult(NamedTuple):
    """Result of folding one subject: its row changes, and the snapshots to store. `late` is the key of the first fact
    from which stored snapshots are invalid; None if all stay valid."""

    change: row_changes.RowChange
    snapshots: Sequence[SnapshotWrite] = ()
    late: FactKey | None = None


async def fold_subjects(
    connection: Connection,
    ledger_id: int,
    projection: Projection,
    new: Sequence[RecordedFact],
    refold_subjects: Set[str] = frozenset(),
    cache: SubjectCache | None = None,
) -> None:
    """Fold the subjects of new facts of one kind, and write their rows and snapshots. The facts are stored already.

    Subjects in `refold_subjects` are folded again from their first fact. A subject's rows are deleted if it has no
    facts, or belongs to another subject's group now.
    """
    cache = SubjectCache() if cache is None else cache
    kind = projection.subject
    touched = {recorded.fact.subject for recorded in new} | refold_subjects
    terms = await read_terms(connection, ledger_id) if projection.attach_terms is not None else NO_TERMS
    groups = await groups_of(connection, ledger_id, projection, sorted(touched))
    root_of = groups.root_of()
    by_root: dict[str, list[RecordedFact]] = defaultdict(list)
    for recorded in new:
        subject = recorded.fact.subject
        by_root[root_of.get(subject, subject)].append(recorded)
    refold_roots = {root_of.get(subject, subject) for subject in refold_subjects}
    cached = cache.take(ledger_id, kind, by_root.keys() | refold_roots | refold_subjects)
    results, uncached = _fold_cached(projection, by_root, cached, refold_roots, terms)
    firsts = {root: min(map(fact_key, by_root[root])) for root in uncached}
    async for history in _load_histories(connection, ledger_id, projection, firsts, by_root, groups, refold_roots):
        result = _fold_forward(projection, history, terms)
        if result is None:
            refold_roots.add(history.subject)
        else:
            results.append(result)
    async for root, facts in read_all_facts(connection, ledger_id, projection, refold_roots, groups):
        results.append(
            _fold_all_facts(projection, root, facts, terms)
            if facts
            else FoldResult(row_changes.change_without_facts(root))
        )
    results += [
        FoldResult(row_changes.change_without_facts(subject))
        for subject in refold_subjects
        if root_of.get(subject, subject) != subject
    ]
    late = {
        result.change.subject: BEFORE_ALL_FACTS if result.change.before is None else result.late for result in results
    }
    outlived = {subject: key for subject, key in late.items() if key is not None}
    await snapshots.delete_snapshots_from(connection, ledger_id, kind, outlived)
    await _write(connection, ledger_id, projection, results, cached, cache)


def _fold_cached(
    projection: Projection,
    by_root: Mapping[str, list[RecordedFact]],
    cached: Mapping[str, CachedSubject],
    refold_roots: Set[str],
    terms: Terms,
) -> tuple[list[FoldResult], list[str]]:
    """Fold new facts onto cached subjects. Return the results, and the subjects that could not be folded this way."""
    results: list[FoldResult] = []
    uncached: list[str] = []
    for root, facts in by_root.items():
        if root in refold_roots:
            continue
        facts.sort(key=fact_key)
        previous = cached.get(root)
        change = _fold_onto_cached(projection, root, facts, previous, terms) if previous is not None else None
        if change is None:
            uncached.append(root)
        else:
            results.append(FoldResult(change))
    return results, uncached


def _fold_onto_cached(
    projection: Projection, subject: str, facts: Sequence[RecordedFact], cached: CachedSubject, terms: Terms
) -> row_changes.RowChange | None:
    """Fold new facts onto a cached subject. None if a fact is not later than the cached state, or cannot be folded."""
    if fact_key(facts[0]) <= cached.last_fact:
        return None
    untimed = cached.untimed or _has_untimed(facts)
    try:
        fold(projection, facts, cached.state, terms)
        change = build_change(projection, subject, cached.state, facts, cached.rows, untimed)
    except Unfoldable:
        return None
    return change._replace(facts=cached.facts + len(facts), flags_stored=cached.untimed)


async def _load_histories(
    connection: Connection,
    ledger_id: int,
    projection: Projection,
    firsts: Mapping[str, FactKey],
    by_root: Mapping[str, Sequence[RecordedFact]],
    groups: SubjectGroups,
    refold_roots: set[str],
) -> AsyncIterator[SubjectHistory]:
    """Read the histories of subjects before their first new facts. Add parked subjects to `refold_roots` instead."""
    if not firsts:
        return
    kind = projection.subject
    flags = await store.read_flags(connection, ledger_id, kind, list(firsts))
    refold_roots |= {root for root, flag in flags.items() if flag.parked is not None}
    asked = {root: first for root, first in firsts.items() if root not in refold_roots}
    snapshots_by_root = await snapshots.read_snapshots_before(connection, ledger_id, kind, asked)
    after = {
        member: snapshots_by_root[root].last_fact if root in snapshots_by_root else BEFORE_ALL_FACTS
        for root in asked
        for member in groups.members.get(root, (root,))
    }
    root_of = groups.root_of()
    position = min((fact.occurrence.position for root in asked for fact in by_root[root]), default=0)
    without_facts = dict.fromkeys(asked, ())
    grouped: dict[str, list[RecordedFact]] = defaultdict(list)
    async for subject, facts in store.read_facts_after(connection, ledger_id, kind, after, position):
        root = root_of.get(subject, subject)
        if root in groups.members:
            grouped[root] += facts
        else:
            del without_facts[root]
            yield SubjectHistory(
                root, snapshots_by_root.get(root), facts, by_root[root], flags.get(root, NO_FLAGS).untimed
            )
    for root in without_facts:
        prior = sorted(grouped[root], key=fact_key) if root in grouped else ()
        yield SubjectHistory(root, snapshots_by_root.get(root), prior, by_root[root], flags.get(root, NO_FLAGS).untimed)


def _fold_forward(projection: Projection, history: SubjectHistory, terms: Terms) -> FoldResult | None:
    """Fold new facts into the history of a subject.

    None if a fact cannot be folded. None also if a late fact makes the fold long: replacing all rows is then less work.
    """
    subject, snapshot, prior, new, _ = history
    facts_before = (snapshot.facts if snapshot else 0) + len(prior)
    in_order = not prior or fact_key(prior[-1]) < fact_key(new[0])
    if not in_order and len(prior) > snapshots.SNAPSHOTS_PER_SUBJECT_MAX * snapshots.FACTS_PER_SNAPSHOT:
        return None
    try:
        if facts_before == 0:
            return _fold_with_snapshots(projection, history, projection.start(), new, {}, terms)
        state = fold(projection, prior, _state_of_snapshot(projection, snapshot), terms)
        before = build_rows(projection, subject, state, prior)
        dropped = take_new_rows(projection, subject, state, prior)
        if in_order:
            return _fold_with_snapshots(projection, history, state, new, before, terms)
        facts = sorted([*prior, *new], key=fact_key)
        result = _fold_with_snapshots(
            projection, history, _state_of_snapshot(projection, snapshot), facts, before | dropped, terms
        )
        return result._replace(late=fact_key(new[0]))
    except Unfoldable:
        return None


def _state_of_snapshot(projection: Projection, snapshot: Snapshot | None) -> State:
    """Return the state of a snapshot, or the start state without one. Raises Unfoldable if it cannot be decoded."""
    if snapshot is None:
        return projection.start()
    try:
        return decode_state(projection, snapshot.state)
    except Exception as error:
        raise Unfoldable(projection.name, "a stored state", describe_failure(error), 0, 0) from error


def _fold_with_snapshots(
    projection: Projection,
    history: SubjectHistory,
    state: State,
    facts: Sequence[RecordedFact],
    before: Mapping[str, Sequence[row_changes.Row]],
    terms: Terms,
) -> FoldResult:
    """Fold the remaining facts of a subject, and collect snapshots on the way."""
    fact_count = (history.snapshot.facts if history.snapshot else 0) + len(history.prior) + len(history.new)
    writes = _fold_and_collect_snapshots(projection, history.subject, state, facts, fact_count - len(facts), terms)
    change = build_change(
        projection, history.subject, state, facts, before, history.has_untimed_flag or _has_untimed(history.new)
    )
    return FoldResult(change._replace(facts=fact_count, flags_stored=history.has_untimed_flag), writes)


def _fold_all_facts(projection: Projection, subject: str, facts: Sequence[RecordedFact], terms: Terms) -> FoldResult:
    """Fold all facts of a subject, or as many as can be folded. All its rows are replaced."""
    try:
        state = projection.start()
        writes = _fold_and_collect_snapshots(projection, subject, state, facts, 0, terms)
        change = build_change(projection, subject, state, facts, None, _has_untimed(facts))
    except Unfoldable:
        return FoldResult(fold_from_start(projection, subject, facts, None, terms))
    return FoldResult(change._replace(facts=len(facts)), writes)


def _fold_and_collect_snapshots(
    projection: Projection, subject: str, state: State, facts: Sequence[RecordedFact], facts_before: int, terms: Terms
) -> list[SnapshotWrite]:
    """Fold facts into a state that already holds `facts_before` facts. Return the snapshots to store on the way."""
    writes: list[SnapshotWrite] = []
    step, start = snapshots.FACTS_PER_SNAPSHOT, 0
    ends = [
        end for end in range(len(facts) - (snapshots.SNAPSHOTS_PER_SUBJECT_MAX - 1) * step, len(facts), step) if end > 0
    ]
    for end in [*ends, len(facts)]:
        fold(projection, facts[start:end] if ends else facts, state, terms)
        start = end
        if end < len(facts) and (encoded := encode_state_or_none(state)) is not None:
            snapshot = Snapshot(fact_key(facts[end - 1]), facts_before + end, encoded)
            writes.append(SnapshotWrite(projection.subject, subject, snapshot))
    return writes


async def _write(
    connection: Connection,
    ledger_id: int,
    projection: Projection,
    results: Sequence[FoldResult],
    cached: Mapping[str, CachedSubject],
    cache: SubjectCache,
) -> None:
    """Write rows, and a snapshot of each state that has FACTS_PER_SNAPSHOT facts more than its last one. Cache the
    states.
    """
    writes: list[SnapshotWrite] = []
    for change, new_snapshots, _ in results:
        writes += new_snapshots
        if change.state is None or change.last_fact is None or change.parked:
            continue
        previous = cached.get(change.subject)
        snapshot_facts = max(
            (write.snapshot.facts for write in new_snapshots), default=previous.snapshot_facts if previous else 0
        )
        is_due = change.facts - snapshot_facts >= snapshots.FACTS_PER_SNAPSHOT
        if is_due and (encoded := encode_state_or_none(change.state)) is not None:
            snapshot_facts = change.facts
            snapshot = Snapshot(change.last_fact, change.facts, encoded)
            writes.append(SnapshotWrite(projection.subject, change.subject, snapshot))
        rows = {name: rows for name, rows in change.after.items() if not is_growing_table(projection, name)}
        entry = CachedSubject(change.state, change.last_fact, rows, change.untimed, change.facts, snapshot_facts)
        cache.put(ledger_id, projection.subject, change.subject, entry)
    if results:
        await row_changes.write_changes(connection, ledger_id, projection, [result.change for result in results])
    await snapshots.write_snapshots(connection, ledger_id, writes)


def fold_from_start(
    projection: Projection,
    subject: str,
    facts: Sequence[RecordedFact],
    before: Mapping[str, Sequence[row_changes.Row]] | None,
    terms: Terms,
) -> row_changes.RowChange:
    """Fold all facts of a subject from the start state, or as many as can be folded.

    `before` is {} if the subject has no rows yet, and None if its rows are unknown.
    """
    folded = fold_until_failure(projection, subject, facts, terms)
    last = fact_key(facts[folded.facts - 1]) if folded.facts else None
    change = row_changes.RowChange(subject, last, folded.state, before, folded.rows, _has_untimed(facts))
    return change._replace(parked=folded.parked, parked_position=folded.parked_position)


def build_change(
    projection: Projection,
    subject: str,
    state: State,
    facts: Sequence[RecordedFact],
    before: Mapping[str, Sequence[row_changes.Row]] | None,
    untimed: bool,
) -> row_changes.RowChange:
    """Return the rows and the state of a folded subject. Raises Unfoldable if the rows cannot be built."""
    after = build_all_rows(projection, subject, state, facts)
    last = fact_key(facts[-1]) if facts else None
    return row_changes.RowChange(subject, last, state, before, after, untimed)


def is_growing_table(projection: Projection, name: str) -> bool:
    """Return True if a table of a projection is append-only."""
    return projection.take_rows is not None and any(
        table.append_only for table in projection.tables if table.name == name
    )


def _has_untimed(facts: Iterable[RecordedFact]) -> bool:
    return any(occurrence.untimed for _, occurrence in facts)
