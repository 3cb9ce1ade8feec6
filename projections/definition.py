"""Definition of a projection, and the pure fold that turns facts into rows. No I/O.

Law of a fold, for facts in their order: fold(a + b) == fold(b, start=fold(a)). So folding a subject forward from a
stored state gives the same result as folding it from its first fact.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import msgspec

from ledger.errors import Unfoldable
from ledger.facts import Fact, Occurrence, RecordedFact, kind_of
from ledger.failures import describe_failure
from projections.programme_terms import NO_TERMS, Terms


class State(msgspec.Struct):
    """State of a fold about one subject between two facts. The fold owns it, and rules change it in place.

    Copying a wallet of a thousand lots for each fact would make a long history quadratic.
    """


Rule = Callable[[Any, Any, Occurrence], None]  # (state, fact, occurrence)
Row: TypeAlias = tuple[Any, ...]
AliasPairs = Callable[[Iterable[Any]], Iterable[tuple[str, str]]]  # -> pairs (alias, subject)
Rows = Mapping[str, Iterable[Row]]  # by table, in the order of the table's columns


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a projection. Its first columns are `ledger_id int, subject text`; then `columns` follow.

    A column with a position is named "position" or ends in "_position". Digests leave these columns out, because only
    positions depend on the order of arrival.
    """

    name: str
    create: str  # CREATE TABLE, unqualified and without keys: a rebuild loads the table first and adds indexes later
    index: tuple[str, ...]  # its keys and indexes
    columns: tuple[str, ...]
    key: tuple[str, ...]  # columns that identify a row within its subject
    grows: bool = False  # rows are only added, at least one for each fact, and come from `lines`


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
    lines: Callable[[str, Any], Rows] | None = None  # takes the new rows of append-only tables out of the state
    joins: Mapping[type[Fact], Callable[[Any], tuple[str, str]]] = field(default_factory=dict)  # see engine/groups.py
    alike: AliasPairs | None = None  # see engine/groups.py
    under: Callable[[Any, Terms], None] | None = None  # attaches programme terms to a state
    path: str | None = None  # serves GET /v1/<path>/{subject} from the first table, with the facts as history
    customers: tuple[str, ...] = ("customer",)  # columns of the first table that hold a customer; indexed

    @property
    def grouped(self) -> bool:
        """True if several subjects may be folded as one."""
        return bool(self.joins) or self.alike is not None


class FactKey(NamedTuple):
    """Sort key of a fact among the facts of its subject. The order is total and does not depend on arrival."""

    occurred_at: Any
    rank: int
    tag: bytes
    ordinal: int


def fact_key(told: RecordedFact) -> FactKey:
    """Return the sort key of a fact."""
    occurrence = told.occurrence
    return FactKey(occurrence.occurred_at, told.fact.rank, occurrence.event_tag, occurrence.ordinal)


def fold(
    projection: Projection, told: Iterable[RecordedFact], state: State | None = None, terms: Terms = NO_TERMS
) -> Any:
    """Fold facts into a state. The facts must be in order. A given `state` is changed in place; None starts a new one.

    A state needs the same terms from its first fact on. If terms change, the subject is folded from the start. Raises
    Unfoldable with kind and position if a rule fails. The state is then invalid.
    """
    if state is None:
        state = projection.start()
    if projection.under is not None and terms is not NO_TERMS:
        try:
            projection.under(state, terms)
        except Exception as error:
            first = next(iter(told), None)
            if first is None:
                return state
            raise Unfoldable(
                projection.name, kind_of(first.fact), describe_failure(error), first.occurrence.position, 0
            ) from error
    rules, joins = projection.on, projection.joins
    for folded, (fact, occurrence) in enumerate(told):
        rule = rules.get(type(fact))
        if rule is None:
            raise Unfoldable(projection.name, kind_of(fact), "no rule", occurrence.position, folded)
        try:
            if type(fact) in joins:
                joins[type(fact)](fact)  # a fact without a valid group is not folded either
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
    projection: Projection, subject: str, told: Sequence[RecordedFact], terms: Terms = NO_TERMS
) -> FoldedState:
    """Fold all facts of a subject from the start, up to the first fact that fails.

    No exception of a rule or of a row function escapes. If the rows of a state cannot be built, the last fact with
    valid rows is found by bisection. The result depends on the facts alone, so live folds and rebuilds stop at the same
    fact.
    """
    try:
        return _fold_with_rows(projection, subject, told, terms)
    except Unfoldable as stuck:
        at, first = stuck.folded, stuck
    sound = _try_fold(projection, subject, told[:at], terms)
    if isinstance(sound, Unfoldable):
        good, bad = 0, at
        while bad - good > 1:
            middle = (good + bad) // 2
            tried = _try_fold(projection, subject, told[:middle], terms)
            if isinstance(tried, Unfoldable):
                bad = middle
            else:
                good = middle
        stopped = _try_fold(projection, subject, told[:bad], terms)
        first = stopped if isinstance(stopped, Unfoldable) else first
        sound = _try_fold(projection, subject, told[:good], terms)
        if isinstance(sound, Unfoldable):  # even the rows of the start state fail
            sound = FoldedState(projection.start(), {table.name: [] for table in projection.tables}, 0)
    return sound._replace(parked=str(first), parked_position=first.position)


def _fold_with_rows(projection: Projection, subject: str, told: Sequence[RecordedFact], terms: Terms) -> FoldedState:
    state = fold(projection, told, None, terms)
    return FoldedState(state, build_all_rows(projection, subject, state, told), len(told))


def _try_fold(
    projection: Projection, subject: str, told: Sequence[RecordedFact], terms: Terms
) -> "FoldedState | Unfoldable":
    try:
        return _fold_with_rows(projection, subject, told, terms)
    except Unfoldable as stuck:
        return stuck


def build_all_rows(
    projection: Projection, subject: str, state: State, told: Sequence[RecordedFact]
) -> dict[str, list[Row]]:
    """Build all rows of a state, and take the new rows of append-only tables out of it.

    Raises Unfoldable at the last folded fact if the rows cannot be built.
    """
    return build_rows(projection, subject, state, told) | take_new_rows(projection, subject, state, told)


def build_rows(
    projection: Projection, subject: str, state: State, told: Sequence[RecordedFact]
) -> dict[str, list[Row]]:
    """Build the rows of a state, except those of append-only tables. Raises Unfoldable as `build_all_rows` does."""
    try:
        return {name: list(rows) for name, rows in projection.rows(subject, state).items()}
    except Exception as error:
        raise _rows_failed(projection, told, error) from error


def take_new_rows(
    projection: Projection, subject: str, state: State, told: Sequence[RecordedFact]
) -> dict[str, list[Row]]:
    """Take the new rows of append-only tables out of a state. Raises Unfoldable as `build_all_rows` does."""
    if projection.lines is None:
        return {}
    try:
        return {name: list(rows) for name, rows in projection.lines(subject, state).items()}
    except Exception as error:
        raise _rows_failed(projection, told, error) from error


def _rows_failed(projection: Projection, told: Sequence[RecordedFact], error: Exception) -> Unfoldable:
    """Build the error for a state without valid rows. It names the last folded fact."""
    kind = kind_of(told[-1].fact) if told else "no fact"
    position = told[-1].occurrence.position if told else 0
    return Unfoldable(projection.name, kind, f"its rows: {describe_failure(error)}", position, max(0, len(told) - 1))
