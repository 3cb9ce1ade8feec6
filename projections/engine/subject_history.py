"""Fold one subject: from its loaded history to the change of its rows. Pure.

A history is loaded from one of three places:

1. from the cache, if all new facts come later than the cached state;
2. from the last snapshot before the first new fact, with the stored facts after that snapshot;
3. from the start, with all facts. Then the stored rows are unknown, and all are replaced.

In cases 1 and 2 the rows before are known. So only rows that differ are written, however late a fact is.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ledger.errors import Unfoldable
from ledger.facts import RecordedFact
from ledger.failures import describe_failure
from projections.definition import (
    BEFORE_ALL_FACTS,
    FactKey,
    FoldedSubject,
    Projection,
    fact_key,
    fold_facts,
    fold_until_failure,
    new_subject,
    with_rows,
)
from projections.engine import snapshots
from projections.engine.snapshots import Snapshot, decode_state
from projections.programme_terms import Terms


class SubjectHistory(NamedTuple):
    """One subject before a fold: its state from the cache or a snapshot, the stored facts after it, the new facts."""

    subject: str
    new: Sequence[RecordedFact]
    cached: FoldedSubject | None = None
    snapshot: Snapshot | None = None
    prior: Sequence[RecordedFact] = ()
    untimed: bool = False  # the subject is stored as untimed


class SubjectChange(NamedTuple):
    """One subject before and after a fold. `before` is None if its stored rows are unknown and all must be replaced."""

    before: FoldedSubject | None
    after: FoldedSubject
    snapshots: Sequence[Snapshot] = ()  # to store
    snapshots_end: FactKey | None = None  # stored snapshots at this fact or later are invalid; None if all are valid


def is_later(new: Sequence[RecordedFact], cached: FoldedSubject | None) -> bool:
    """Return True if new facts, in order, can be folded onto the cached subject."""
    return cached is not None and fact_key(new[0]) > cached.last_fact


def fold_forward(projection: Projection, history: SubjectHistory, terms: Terms) -> SubjectChange:
    """Fold the new facts of a history into its state. A late fact is folded again with the facts after it.

    Raises Unfoldable. The subject must then be folded from its first fact.
    """
    if history.cached is not None:
        return _fold_onto(projection, history.cached, history.new, terms)
    before = _restore(projection, history)
    if history.snapshot is not None or history.prior:
        before = with_rows(projection, fold_facts(projection, before, history.prior, terms), history.prior)
    if not history.prior or fact_key(history.prior[-1]) < fact_key(history.new[0]):
        return _fold_onto(projection, without_new_rows(projection, before), history.new, terms)
    facts = sorted([*history.prior, *history.new], key=fact_key)
    change = _fold_onto(projection, _restore(projection, history), facts, terms)
    return change._replace(before=before, snapshots_end=fact_key(history.new[0]))


def fold_from_start(projection: Projection, subject: str, facts: Sequence[RecordedFact], terms: Terms) -> SubjectChange:
    """Fold all facts of a subject, or as many as can be folded. All its rows are replaced; without facts, deleted."""
    start = new_subject(projection, subject)
    change = SubjectChange(None, start, snapshots_end=BEFORE_ALL_FACTS)
    if not facts:
        return change
    try:
        folded = _fold_onto(projection, start, facts, terms)
    except Unfoldable:
        return change._replace(after=fold_until_failure(projection, subject, facts, terms))
    return change._replace(after=folded.after, snapshots=folded.snapshots)


def without_new_rows(projection: Projection, folded: FoldedSubject) -> FoldedSubject:
    """Return a subject without the rows of append-only tables. Its next fold adds only new rows to these tables."""
    rows = {table.name: folded.rows.get(table.name, ()) for table in projection.tables if not table.append_only}
    return folded._replace(rows=rows)


def _restore(projection: Projection, history: SubjectHistory) -> FoldedSubject:
    """Return the subject at its snapshot, without rows; without a snapshot, at its start. Raises Unfoldable."""
    start = new_subject(projection, history.subject)._replace(untimed=history.untimed)
    if history.snapshot is None:
        return start
    _, _, last_fact, facts, encoded = history.snapshot
    try:
        state = decode_state(projection, encoded)
    except Exception as error:
        raise Unfoldable(projection.name, "a stored state", describe_failure(error), 0, 0) from error
    return start._replace(state=state, facts=facts, last_fact=last_fact, snapshot_facts=facts)


def _fold_onto(
    projection: Projection, before: FoldedSubject, facts: Sequence[RecordedFact], terms: Terms
) -> SubjectChange:
    """Fold facts onto a subject, and take snapshots on the way. Raises Unfoldable."""
    folded, written, start = before, list[Snapshot](), 0
    for end in snapshots.snapshot_ends(before, len(facts)):
        folded = fold_facts(projection, folded, facts[start:end], terms)
        if (snapshot := snapshots.take_snapshot(projection.subject, folded)) is not None:
            folded = folded._replace(snapshot_facts=snapshot.facts)
            written.append(snapshot)
        start = end
    if start < len(facts):
        folded = fold_facts(projection, folded, facts[start:] if start else facts, terms)
    return SubjectChange(before, with_rows(projection, folded, facts), written)
