"""Fold the subjects that some facts touch: forward from where they stand, or again from before the first new fact.

Where a subject stands is in memory, or is found by folding its facts once more, from the last state of it that was
written down. So it is known what rows it had, and only those that differ are written, however late a fact comes. Only
what cannot be had that way is folded from the first fact, all its rows replaced: a subject that is parked, that joined
or left a group, whose terms changed, or that lost a fact.
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
from projections.engine import snapshots, store
from projections.engine.cache import CachedSubject, SubjectCache
from projections.engine.groups import SubjectGroups, groups_of
from projections.engine.snapshots import BEFORE_ALL_FACTS, Snapshot, SnapshotWrite, decode_state, encode_state_or_none
from projections.programme_terms import NO_TERMS, Terms
from projections.programmes import read_terms

GROUPS_PER_READ = 100

NO_FLAGS = store.SubjectFlags(untimed=False, parked=None)


class SubjectHistory(NamedTuple):
    """Where a subject stood that is not remembered: a state of it, the facts told before that come after the state, and
    the new ones."""

    subject: str
    stored: Snapshot | None
    prior: Sequence[RecordedFact]
    new: Sequence[RecordedFact]
    untimed: bool  # noted as such


class FoldResult(NamedTuple):
    """What came of a subject, and the states of it on the way that are to be kept; those that were kept before stand no
    more from the fact `late` on."""

    change: store.RowChange
    written: Sequence[SnapshotWrite] = ()
    late: FactKey | None = None


async def fold_subjects(
    connection: Connection,
    ledger_id: int,
    projection: Projection,
    new: Sequence[RecordedFact],
    again: Set[str] = frozenset(),
    memory: SubjectCache | None = None,
) -> None:
    """Fold the subjects of some new facts of one kind, which are written already, and fold again, from their first
    fact, the subjects in `again`: those that joined a group go on in it, those without a fact left vanish."""
    memory = SubjectCache() if memory is None else memory
    kind = projection.subject
    touched = {one.fact.subject for one in new} | again
    terms = await read_terms(connection, ledger_id) if projection.under is not None else NO_TERMS
    groups = await groups_of(connection, ledger_id, projection, sorted(touched))
    root_of = groups.root_of()
    by_root: dict[str, list[RecordedFact]] = defaultdict(list)
    for one in new:
        subject = one.fact.subject
        by_root[root_of.get(subject, subject)].append(one)
    anew_from_first = {root_of.get(subject, subject) for subject in again}
    held = memory.take(ledger_id, kind, by_root.keys() | anew_from_first | again)
    folded, stood_where = _fold_cached(projection, by_root, held, anew_from_first, terms)
    firsts = {root: min(map(fact_key, by_root[root])) for root in stood_where}
    async for stood in _load_histories(connection, ledger_id, projection, firsts, by_root, groups, anew_from_first):
        one_more = _fold_forward(projection, stood, terms)
        if one_more is None:
            anew_from_first.add(stood.subject)
        else:
            folded.append(one_more)
    async for root, facts in _read_all_facts(connection, ledger_id, projection, anew_from_first, groups):
        folded.append(
            _fold_all_facts(projection, root, facts, terms) if facts else FoldResult(store.change_without_facts(root))
        )
    folded += [
        FoldResult(store.change_without_facts(subject)) for subject in again if root_of.get(subject, subject) != subject
    ]
    late = {one.change.subject: BEFORE_ALL_FACTS if one.change.before is None else one.late for one in folded}
    outlived = {subject: key for subject, key in late.items() if key is not None}
    await snapshots.delete_snapshots_from(connection, ledger_id, kind, outlived)
    await _write(connection, ledger_id, projection, folded, held, memory)


def _fold_cached(
    projection: Projection,
    by_root: Mapping[str, list[RecordedFact]],
    held: Mapping[str, CachedSubject],
    anew_from_first: Set[str],
    terms: Terms,
) -> tuple[list[FoldResult], list[str]]:
    """Fold remembered subjects forward; name those that are not remembered, or not up to their first new fact only."""
    folded: list[FoldResult] = []
    others: list[str] = []
    for root, facts in by_root.items():
        if root in anew_from_first:
            continue
        facts.sort(key=fact_key)
        was = held.get(root)
        change = _fold_onto_cached(projection, root, facts, was, terms) if was is not None else None
        if change is None:
            others.append(root)
        else:
            folded.append(FoldResult(change))
    return folded, others


def _fold_onto_cached(
    projection: Projection, subject: str, facts: Sequence[RecordedFact], was: CachedSubject, terms: Terms
) -> store.RowChange | None:
    """Fold new facts onto what is remembered; None if they do not all come after it, or one cannot be folded."""
    if fact_key(facts[0]) <= was.last:
        return None
    untimed = was.untimed or _has_untimed(facts)
    try:
        fold(projection, facts, was.state, terms)
        change = build_change(projection, subject, was.state, facts, was.rows, untimed)
    except Unfoldable:
        return None
    return change._replace(facts=was.facts + len(facts), noted=was.untimed)


async def _load_histories(
    connection: Connection,
    ledger_id: int,
    projection: Projection,
    firsts: Mapping[str, FactKey],
    by_root: Mapping[str, Sequence[RecordedFact]],
    groups: SubjectGroups,
    anew_from_first: set[str],
) -> AsyncIterator[SubjectHistory]:
    """Find where subjects stood before their first new facts; those that are parked must be folded from the first."""
    if not firsts:
        return
    kind = projection.subject
    noted = await store.read_flags(connection, ledger_id, kind, list(firsts))
    anew_from_first |= {root for root, one in noted.items() if one.parked is not None}
    asked = {root: first for root, first in firsts.items() if root not in anew_from_first}
    stored = await snapshots.read_snapshots_before(connection, ledger_id, kind, asked)
    after = {
        member: stored[root].last if root in stored else BEFORE_ALL_FACTS
        for root in asked
        for member in groups.members.get(root, (root,))
    }
    root_of = groups.root_of()
    position = min((one.occurrence.position for root in asked for one in by_root[root]), default=0)
    rest = dict.fromkeys(asked, ())
    grouped: dict[str, list[RecordedFact]] = defaultdict(list)
    async for subject, told in store.read_facts_after(connection, ledger_id, kind, after, position):
        root = root_of.get(subject, subject)
        if root in groups.members:
            grouped[root] += told
        else:
            del rest[root]
            yield SubjectHistory(root, stored.get(root), told, by_root[root], noted.get(root, NO_FLAGS).untimed)
    for root in rest:
        prior = sorted(grouped[root], key=fact_key) if root in grouped else ()
        yield SubjectHistory(root, stored.get(root), prior, by_root[root], noted.get(root, NO_FLAGS).untimed)


def _fold_forward(projection: Projection, stood: SubjectHistory, terms: Terms) -> FoldResult | None:
    """Fold new facts into those of a subject that were told before; None if one of them cannot be folded, or so much
    would be folded twice that to replace all rows is less work."""
    subject, stored, prior, new, _ = stood
    facts_before = (stored.facts if stored else 0) + len(prior)
    in_order = not prior or fact_key(prior[-1]) < fact_key(new[0])
    if not in_order and len(prior) > snapshots.SNAPSHOTS_PER_SUBJECT_MAX * snapshots.FACTS_PER_SNAPSHOT:
        return None
    try:
        if facts_before == 0:
            return _fold_with_snapshots(projection, stood, projection.start(), new, {}, terms)
        state = fold(projection, prior, _state_of_snapshot(projection, stored), terms)
        before = build_rows(projection, subject, state, prior)
        dropped = take_new_rows(projection, subject, state, prior)
        if in_order:
            return _fold_with_snapshots(projection, stood, state, new, before, terms)
        facts = sorted([*prior, *new], key=fact_key)
        folded = _fold_with_snapshots(
            projection, stood, _state_of_snapshot(projection, stored), facts, before | dropped, terms
        )
        return folded._replace(late=fact_key(new[0]))
    except Unfoldable:
        return None


def _state_of_snapshot(projection: Projection, stored: Snapshot | None) -> State:
    """Give the state to go on from. Raises Unfoldable if what is stored cannot be read back."""
    if stored is None:
        return projection.start()
    try:
        return decode_state(projection, stored.state)
    except Exception as error:
        raise Unfoldable(projection.name, "a stored state", describe_failure(error), 0, 0) from error


def _fold_with_snapshots(
    projection: Projection,
    stood: SubjectHistory,
    state: State,
    facts: Sequence[RecordedFact],
    before: Mapping[str, Sequence[store.Row]],
    terms: Terms,
) -> FoldResult:
    """Fold the rest of a subject's facts, keeping states on the way."""
    in_all = (stood.stored.facts if stood.stored else 0) + len(stood.prior) + len(stood.new)
    written = _fold_and_collect_snapshots(projection, stood.subject, state, facts, in_all - len(facts), terms)
    change = build_change(projection, stood.subject, state, facts, before, stood.untimed or _has_untimed(stood.new))
    return FoldResult(change._replace(facts=in_all, noted=stood.untimed), written)


def _fold_all_facts(projection: Projection, subject: str, facts: Sequence[RecordedFact], terms: Terms) -> FoldResult:
    """Fold all facts of a subject, or up to the one that cannot be folded, whatever rows it had."""
    try:
        state = projection.start()
        written = _fold_and_collect_snapshots(projection, subject, state, facts, 0, terms)
        change = build_change(projection, subject, state, facts, None, _has_untimed(facts))
    except Unfoldable:
        return FoldResult(fold_from_start(projection, subject, facts, None, terms))
    return FoldResult(change._replace(facts=len(facts)), written)


def _fold_and_collect_snapshots(
    projection: Projection, subject: str, state: State, facts: Sequence[RecordedFact], folded: int, terms: Terms
) -> list[SnapshotWrite]:
    """Fold facts into a state of so many; give the states on the way from which a late fact may be folded again."""
    written: list[SnapshotWrite] = []
    step, start = snapshots.FACTS_PER_SNAPSHOT, 0
    ends = [
        end for end in range(len(facts) - (snapshots.SNAPSHOTS_PER_SUBJECT_MAX - 1) * step, len(facts), step) if end > 0
    ]
    for end in [*ends, len(facts)]:
        fold(projection, facts[start:end] if ends else facts, state, terms)
        start = end
        if end < len(facts) and (encoded := encode_state_or_none(state)) is not None:
            stored = Snapshot(fact_key(facts[end - 1]), folded + end, encoded)
            written.append(SnapshotWrite(projection.subject, subject, stored))
    return written


async def _write(
    connection: Connection,
    ledger_id: int,
    projection: Projection,
    folded: Sequence[FoldResult],
    held: Mapping[str, CachedSubject],
    memory: SubjectCache,
) -> None:
    """Write rows, and the states of those that have gone far since the last one; remember what may be folded on."""
    written: list[SnapshotWrite] = []
    for change, on_the_way, _ in folded:
        written += on_the_way
        if change.state is None or change.last is None or change.parked:
            continue
        was = held.get(change.subject)
        stored = max((one.stored.facts for one in on_the_way), default=was.stored if was else 0)
        due = change.facts - stored >= snapshots.FACTS_PER_SNAPSHOT
        if due and (encoded := encode_state_or_none(change.state)) is not None:
            stored = change.facts
            kept = Snapshot(change.last, change.facts, encoded)
            written.append(SnapshotWrite(projection.subject, change.subject, kept))
        rows = {name: rows for name, rows in change.after.items() if not is_growing_table(projection, name)}
        one = CachedSubject(change.state, change.last, rows, change.untimed, change.facts, stored)
        memory.put(ledger_id, projection.subject, change.subject, one)
    if folded:
        await store.write_changes(connection, ledger_id, projection, [one.change for one in folded])
    await snapshots.write_snapshots(connection, ledger_id, written)


async def _read_all_facts(
    connection: Connection, ledger_id: int, projection: Projection, roots: Set[str], groups: SubjectGroups
) -> AsyncIterator[tuple[str, list[RecordedFact]]]:
    """Read all facts of some subjects, those of a group merged into one order; none for a subject without any."""
    alone = sorted(root for root in roots if root not in groups.members)
    without = set(alone)
    if alone:
        async for subject, facts in store.read_facts(connection, ledger_id, projection.subject, alone):
            without.discard(subject)
            yield subject, facts
    together = {root: groups.members[root] for root in sorted(roots - set(alone))}
    async for root, facts in read_groups(connection, ledger_id, projection, together):
        yield root, facts
    for subject in without:
        yield subject, []


async def read_groups(
    connection: Connection, ledger_id: int, projection: Projection, groups: Mapping[str, Sequence[str]]
) -> AsyncIterator[tuple[str, list[RecordedFact]]]:
    """Read the facts of groups of joined subjects, given by root: each group's in one order."""
    roots = list(groups)
    for first in range(0, len(roots), GROUPS_PER_READ):
        members = {member: root for root in roots[first : first + GROUPS_PER_READ] for member in groups[root]}
        found: dict[str, list[RecordedFact]] = {root: [] for root in members.values()}
        async for subject, told in store.read_facts(connection, ledger_id, projection.subject, list(members)):
            found[members[subject]] += told
        for root, facts in found.items():
            yield root, sorted(facts, key=fact_key)


async def read_group(
    connection: Connection, ledger_id: int, projection: Projection, members: Sequence[str]
) -> list[RecordedFact]:
    """Read the facts of joined subjects in one order."""
    read = store.read_facts(connection, ledger_id, projection.subject, members)
    facts = [one async for _, told in read for one in told]
    return sorted(facts, key=fact_key)


def fold_from_start(
    projection: Projection,
    subject: str,
    facts: Sequence[RecordedFact],
    before: Mapping[str, Sequence[store.Row]] | None,
    terms: Terms,
) -> store.RowChange:
    """Fold all facts of a subject from its start, or up to the one that cannot be folded; `before` is {} for a subject
    that has no rows yet."""
    folded = fold_until_failure(projection, subject, facts, terms)
    last = fact_key(facts[folded.facts - 1]) if folded.facts else None
    change = store.RowChange(subject, last, folded.state, before, folded.rows, _has_untimed(facts))
    return change._replace(parked=folded.parked, parked_position=folded.parked_position)


def build_change(
    projection: Projection,
    subject: str,
    state: State,
    facts: Sequence[RecordedFact],
    before: Mapping[str, Sequence[store.Row]] | None,
    untimed: bool,
) -> store.RowChange:
    """Give the rows of a folded subject, and its state to go on from. Raises Unfoldable if they cannot be made."""
    after = build_all_rows(projection, subject, state, facts)
    last = fact_key(facts[-1]) if facts else None
    return store.RowChange(subject, last, state, before, after, untimed)


def is_growing_table(projection: Projection, name: str) -> bool:
    """Say whether a table of a projection grows."""
    return projection.lines is not None and any(table.grows for table in projection.tables if table.name == name)


def _has_untimed(facts: Iterable[RecordedFact]) -> bool:
    return any(occurrence.untimed for _, occurrence in facts)
