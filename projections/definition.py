"""Definition of a projection, and the pure fold that turns facts into rows. No I/O.

Law of a fold, for facts in their order: fold(a + b) == fold(b, start=fold(a)). So folding a subject forward from a
stored state gives the same result as folding it from its first fact.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from ledger.errors import Unfoldable
from ledger.facts import Fact, Occurrence, RecordedFact, kind_of
from ledger.failures import describe_failure
from projections.programme_terms import NO_TERMS, Terms
from projections.tables import Row, Table, row_from


class State(msgspec.Struct):
    """State of a fold about one subject between two facts. The fold owns it, and rules change it in place.

    Copying a wallet of a thousand lots for each fact would make a long history quadratic. Most fields of a state are
    columns too (tables.py).
    """


Rule = Callable[[Any, Any, Occurrence], None]  # (state, fact, occurrence)
MergeRule = Callable[[Any], tuple[str, str]]  # fact -> the two subjects that become one
AliasPairs = Callable[[Iterable[Any]], Iterable[tuple[str, str]]]  # -> pairs (alias, subject)
Rows = Mapping[str, Iterable[Row]]  # by table, in the order of the table's columns
RowsOf = Callable[[str, Any], Rows]  # (subject, state) -> rows


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """One projection: the rules, rows and tables for one kind of subject."""

    name: str
    version: int  # raise it when a rule or a row changes; a rebuild is then due
    subject: str  # the subject_kind of its facts
    start: type[State]
    on: Mapping[type[Fact], Rule]
    rows: RowsOf  # rows of all tables that are not append-only
    tables: tuple[Table, ...]
    take_rows: RowsOf | None = None  # takes the new rows of append-only tables out of the state
    merging_facts: Mapping[type[Fact], MergeRule] = field(default_factory=dict)  # see engine/groups.py
    match_aliases: AliasPairs | None = None  # see engine/groups.py
    attach_terms: Callable[[Any, Terms], None] | None = None  # attaches programme terms to a state
    is_served: bool = True  # GET /v1/<path>/{subject} answers the first table, with the facts as history
    customers: tuple[str, ...] = ("customer",)  # columns of the first table that hold a customer; indexed

    @property
    def path(self) -> str | None:
        """Name of its subjects in URLs, such as "order-items". None if it is not served."""
        return self.name.replace("_", "-") if self.is_served else None

    @property
    def grouped(self) -> bool:
        """True if several subjects may be folded as one."""
        return bool(self.merging_facts) or self.match_aliases is not None


class FactKey(NamedTuple):
    """Sort key of a fact among the facts of its subject. The order is total and does not depend on arrival."""

    occurred_at: Any
    rank: int
    tag: bytes
    ordinal: int


BEFORE_ALL_FACTS = FactKey(datetime.min.replace(tzinfo=UTC), 0, b"", 0)  # before every fact


class FoldedSubject(NamedTuple):
    """One subject after its last folded fact. The next fold changes `state` in place."""

    subject: str
    state: State
    rows: Mapping[str, Sequence[Row]]  # by table; of append-only tables only the new rows
    facts: int = 0  # number of facts in the state
    last_fact: FactKey = BEFORE_ALL_FACTS
    untimed: bool = False  # a fact of it is ordered by its recorded time
    parked: str | None = None  # reason why the next fact cannot be folded
    parked_position: int | None = None
    snapshot_facts: int = 0  # number of facts in its last snapshot; see engine/snapshots.py


def fact_key(recorded: RecordedFact) -> FactKey:
    """Return the sort key of a fact."""
    occurrence = recorded.occurrence
    return FactKey(occurrence.occurred_at, recorded.fact.rank, occurrence.event_tag, occurrence.ordinal)


def fold(
    projection: Projection, facts: Iterable[RecordedFact], state: State | None = None, terms: Terms = NO_TERMS
) -> Any:
    """Fold facts into a state. The facts must be in order. A given `state` is changed in place; None starts a new one.

    A state needs the same terms from its first fact on. If terms change, the subject is folded from the start. Raises
    Unfoldable with kind and position if a rule fails. The state is then invalid.
    """
    if state is None:
        state = projection.start()
    if projection.attach_terms is not None and terms is not NO_TERMS:
        try:
            projection.attach_terms(state, terms)
        except Exception as error:
            first = next(iter(facts), None)
            if first is None:
                return state
            raise Unfoldable(
                projection.name, kind_of(first.fact), describe_failure(error), first.occurrence.position, 0
            ) from error
    rules, merging_facts = projection.on, projection.merging_facts
    for folded, (fact, occurrence) in enumerate(facts):
        rule = rules.get(type(fact))
        if rule is None:
            raise Unfoldable(projection.name, kind_of(fact), "no rule", occurrence.position, folded)
        try:
            if type(fact) in merging_facts:
                merging_facts[type(fact)](fact)  # a fact without a valid group is not folded either
            rule(state, fact, occurrence)
        except Exception as error:
            raise Unfoldable(
                projection.name, kind_of(fact), describe_failure(error), occurrence.position, folded
            ) from error
    return state


def state_as_row(table: Table) -> RowsOf:
    """Return a function that makes one row of a state: its attributes with the names of the table's columns."""
    return lambda _subject, state: {table.name: [row_from(state, table.row)]}


def new_subject(projection: Projection, subject: str) -> FoldedSubject:
    """Return a subject before its first fact, without rows."""
    return FoldedSubject(subject, projection.start(), {})


def fold_facts(
    projection: Projection, before: FoldedSubject, facts: Sequence[RecordedFact], terms: Terms
) -> FoldedSubject:
    """Fold facts onto a subject, and add the new rows of append-only tables. All other rows stay as before.

    Raises Unfoldable.
    """
    state = fold(projection, facts, before.state, terms)
    rows = before.rows
    if projection.take_rows is not None:
        try:
            taken = projection.take_rows(before.subject, state)
            rows = {**rows, **{name: [*rows.get(name, ()), *new] for name, new in taken.items()}}
        except Exception as error:
            raise _rows_failed(projection, facts, error) from error
    if not facts:
        return before._replace(rows=rows)
    return before._replace(
        rows=rows,
        facts=before.facts + len(facts),
        last_fact=fact_key(facts[-1]),
        untimed=before.untimed or any(occurrence.untimed for _, occurrence in facts),
    )


def with_rows(projection: Projection, folded: FoldedSubject, facts: Sequence[RecordedFact]) -> FoldedSubject:
    """Add all rows of a folded subject. Raises Unfoldable at the last of `facts` if they cannot be built."""
    return folded._replace(rows={**folded.rows, **build_rows(projection, folded.subject, folded.state, facts)})


def fold_until_failure(
    projection: Projection, subject: str, facts: Sequence[RecordedFact], terms: Terms = NO_TERMS
) -> FoldedSubject:
    """Fold all facts of a subject from the start, up to the first fact that fails.

    No exception of a rule or of a row function escapes. If the rows of a state cannot be built, the last fact with
    valid rows is found by bisection. The result depends on the facts alone, so live folds and rebuilds stop at the same
    fact.
    """
    folded = _try_fold(projection, subject, facts, terms)
    if not isinstance(folded, Unfoldable):
        return folded
    failure = folded
    valid = new_subject(projection, subject)._replace(rows={table.name: [] for table in projection.tables})
    low, middle, high = -1, failure.folded, failure.folded + 1  # the first `high` facts fail
    while low + 1 < high:
        folded = _try_fold(projection, subject, facts[:middle], terms)
        if not isinstance(folded, Unfoldable):
            low, valid = middle, folded
        else:
            high, failure = middle, folded if middle else failure
        middle = (low + high) // 2
    return valid._replace(parked=str(failure), parked_position=failure.position)


def _try_fold(
    projection: Projection, subject: str, facts: Sequence[RecordedFact], terms: Terms
) -> FoldedSubject | Unfoldable:
    try:
        return with_rows(projection, fold_facts(projection, new_subject(projection, subject), facts, terms), facts)
    except Unfoldable as error:
        return error


def build_rows(
    projection: Projection, subject: str, state: State, facts: Sequence[RecordedFact]
) -> dict[str, list[Row]]:
    """Build the rows of a state, except those of append-only tables.

    Raises Unfoldable at the last folded fact if the rows cannot be built.
    """
    try:
        return {name: list(rows) for name, rows in projection.rows(subject, state).items()}
    except Exception as error:
        raise _rows_failed(projection, facts, error) from error


def _rows_failed(projection: Projection, facts: Sequence[RecordedFact], error: Exception) -> Unfoldable:
    """Build the error for a state without valid rows. It names the last folded fact."""
    kind = kind_of(facts[-1].fact) if facts else "no fact"
    position = facts[-1].occurrence.position if facts else 0
    return Unfoldable(projection.name, kind, f"its rows: {describe_failure(error)}", position, max(0, len(facts) - 1))
