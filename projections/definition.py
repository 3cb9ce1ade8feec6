"""Definition of a projection, and the pure fold that turns facts into rows. No I/O.

Law of a fold, for facts in their order: fold(a + b) == fold(b, start=fold(a)). So folding a subject forward from a
stored state gives the same result as folding it from its first fact.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from ledger.errors import Unfoldable
from ledger.facts import Fact, Occurrence, RecordedFact, kind_of
from ledger.failures import describe_failure
from projections.programme_terms import NO_TERMS, Terms
from projections.tables import Row, Table


class State(msgspec.Struct):
    """State of a fold about one subject between two facts. The fold owns it, and rules change it in place.

    Copying a wallet of a thousand lots for each fact would make a long history quadratic.
    """


Rule = Callable[[Any, Any, Occurrence], None]  # (state, fact, occurrence)
MergeRule = Callable[[Any], tuple[str, str]]  # fact -> the two subjects that become one
AliasPairs = Callable[[Iterable[Any]], Iterable[tuple[str, str]]]  # -> pairs (alias, subject)
Rows = Mapping[str, Iterable[Row]]  # by table, in the order of the table's columns


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """One projection: the rules, rows and tables for one kind of subject."""

    name: str
    version: int  # raise it when a rule or a row changes; a rebuild is then due
    subject: str  # the subject_kind of its facts
    start: type[State]
    on: Mapping[type[Fact], Rule]
    rows: Callable[[str, Any], Rows]  # (subject, state) -> rows of all tables that are not append-only
    tables: tuple[Table, ...]
    take_rows: Callable[[str, Any], Rows] | None = None  # takes the new rows of append-only tables out of the state
    merging_facts: Mapping[type[Fact], MergeRule] = field(default_factory=dict)  # see engine/groups.py
    match_aliases: AliasPairs | None = None  # see engine/groups.py
    attach_terms: Callable[[Any, Terms], None] | None = None  # attaches programme terms to a state
    path: str | None = None  # serves GET /v1/<path>/{subject} from the first table, with the facts as history
    customers: tuple[str, ...] = ("customer",)  # columns of the first table that hold a customer; indexed

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


class FoldedState(NamedTuple):
    """State and rows of a subject, rows of append-only tables included. `parked` is set if the fold stopped early."""

    state: State
    rows: dict[str, list[Row]]
    facts: int  # folded into the state
    parked: str | None = None  # reason why the next fact cannot be folded
    parked_position: int | None = None


def fold_until_failure(
    projection: Projection, subject: str, facts: Sequence[RecordedFact], terms: Terms = NO_TERMS
) -> FoldedState:
    """Fold all facts of a subject from the start, up to the first fact that fails.

    No exception of a rule or of a row function escapes. If the rows of a state cannot be built, the last fact with
    valid rows is found by bisection. The result depends on the facts alone, so live folds and rebuilds stop at the same
    fact.
    """
    try:
        return _fold_with_rows(projection, subject, facts, terms)
    except Unfoldable as error:
        failed_at, failure = error.folded, error
    folded_state = _try_fold(projection, subject, facts[:failed_at], terms)
    if isinstance(folded_state, Unfoldable):
        valid, invalid = 0, failed_at
        while invalid - valid > 1:
            middle = (valid + invalid) // 2
            result = _try_fold(projection, subject, facts[:middle], terms)
            if isinstance(result, Unfoldable):
                invalid = middle
            else:
                valid = middle
        result = _try_fold(projection, subject, facts[:invalid], terms)
        failure = result if isinstance(result, Unfoldable) else failure
        folded_state = _try_fold(projection, subject, facts[:valid], terms)
        if isinstance(folded_state, Unfoldable):  # even the rows of the start state fail
            folded_state = FoldedState(projection.start(), {table.name: [] for table in projection.tables}, 0)
    return folded_state._replace(parked=str(failure), parked_position=failure.position)


def _fold_with_rows(projection: Projection, subject: str, facts: Sequence[RecordedFact], terms: Terms) -> FoldedState:
    state = fold(projection, facts, None, terms)
    return FoldedState(state, build_all_rows(projection, subject, state, facts), len(facts))


def _try_fold(
    projection: Projection, subject: str, facts: Sequence[RecordedFact], terms: Terms
) -> "FoldedState | Unfoldable":
    try:
        return _fold_with_rows(projection, subject, facts, terms)
    except Unfoldable as error:
        return error


def build_all_rows(
    projection: Projection, subject: str, state: State, facts: Sequence[RecordedFact]
) -> dict[str, list[Row]]:
    """Build all rows of a state, and take the new rows of append-only tables out of it.

    Raises Unfoldable at the last folded fact if the rows cannot be built.
    """
    return build_rows(projection, subject, state, facts) | take_new_rows(projection, subject, state, facts)


def build_rows(
    projection: Projection, subject: str, state: State, facts: Sequence[RecordedFact]
) -> dict[str, list[Row]]:
    """Build the rows of a state, except those of append-only tables. Raises Unfoldable as `build_all_rows` does."""
    try:
        return {name: list(rows) for name, rows in projection.rows(subject, state).items()}
    except Exception as error:
        raise _rows_failed(projection, facts, error) from error


def take_new_rows(
    projection: Projection, subject: str, state: State, facts: Sequence[RecordedFact]
) -> dict[str, list[Row]]:
    """Take the new rows of append-only tables out of a state. Raises Unfoldable as `build_all_rows` does."""
    if projection.take_rows is None:
        return {}
    try:
        return {name: list(rows) for name, rows in projection.take_rows(subject, state).items()}
    except Exception as error:
        raise _rows_failed(projection, facts, error) from error


def _rows_failed(projection: Projection, facts: Sequence[RecordedFact], error: Exception) -> Unfoldable:
    """Build the error for a state without valid rows. It names the last folded fact."""
    kind = kind_of(facts[-1].fact) if facts else "no fact"
    position = facts[-1].occurrence.position if facts else 0
    return Unfoldable(projection.name, kind, f"its rows: {describe_failure(error)}", position, max(0, len(facts) - 1))
