"""What a projection is: a frozen value that names a kind of subject, its rules, its rows and their tables. No I/O.

The law: fold(a + b) == fold(b, start=fold(a)), for facts in their order. So a subject can be folded forward from its
stored state, or again from its first fact, and comes out the same.
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
    """What a fold remembers of one subject between facts. A fold owns its state, so rules change it in place: copying
    a wallet of a thousand lots for each fact would make folding a history quadratic."""


Rule = Callable[[Any, Any, Occurrence], None]  # (state, fact, occurrence)
Row: TypeAlias = tuple[Any, ...]
Alike = Callable[[Iterable[Any]], Iterable[tuple[str, str]]]  # facts that share an alias: (alias name, name)
Rows = Mapping[str, Iterable[Row]]  # by table, in the order of the table's columns


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a projection. Every table begins with `ledger_id int, subject text`; then come the columns.

    Names of columns that hold a position are "position" or end in "_position": digests leave them out, because
    positions alone depend on the order of arrival.
    """

    name: str
    create: str  # the CREATE TABLE, unqualified and without keys, so that replay can load it first and index it after
    index: tuple[str, ...]  # its keys and indexes
    columns: tuple[str, ...]
    key: tuple[str, ...]  # names one row within its subject
    grows: bool = False  # rows are only ever added, one or more a fact, and come from `lines`


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """How the facts of one kind of subject become rows."""

    name: str
    version: int  # raise it when a rule or a row changes: the service then says that a rebuild is due
    subject: str  # the subject_kind of its facts
    start: type[State]
    on: Mapping[type[Fact], Rule]
    rows: Callable[[str, Any], Rows]  # (subject, state): all rows of the tables that do not grow
    tables: tuple[Table, ...]
    lines: Callable[[str, Any], Rows] | None = None  # takes the new rows of tables that grow out of the state
    joins: Mapping[type[Fact], Callable[[Any], tuple[str, str]]] = field(default_factory=dict)  # see joined.py
    alike: Alike | None = None  # see joined.py
    under: Callable[[Any, Terms], None] | None = None  # tells a state the terms of programmes that its rules go by
    path: str | None = None  # answers GET /v1/<path>/{subject} from its first table, with its facts as history
    customers: tuple[str, ...] = ("customer",)  # columns of its first table that name a customer; indexed

    @property
    def grouped(self) -> bool:
        """True if several subjects may be folded as one."""
        return bool(self.joins) or self.alike is not None


class RowKey(NamedTuple):
    """Where a fact stands among its subject's facts: a total order that does not mention arrival."""

    occurred_at: Any
    rank: int
    tag: bytes
    ordinal: int


def key_of(told: RecordedFact) -> RowKey:
    """Give the place of a fact in the order of its subject's facts."""
    occurrence = told.occurrence
    return RowKey(occurrence.occurred_at, told.fact.rank, occurrence.event_tag, occurrence.ordinal)


def fold(
    projection: Projection, told: Iterable[RecordedFact], state: State | None = None, terms: Terms = NO_TERMS
) -> Any:
    """Fold facts, which must be in order, into a state: a new one, or the one given, which is changed. A state must be
    folded under the same terms from its start; where they change it is folded again.

    Raises Unfoldable, naming kind and position, if a rule cannot take a fact; the state is then good for nothing.
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
                joins[type(fact)](fact)  # one that cannot say whom it joins is not folded either
            rule(state, fact, occurrence)
        except Exception as error:
            raise Unfoldable(
                projection.name, kind_of(fact), describe_failure(error), occurrence.position, folded
            ) from error
    return state


class FoldedState(NamedTuple):
    """The state of a subject and its rows, of growing tables too; and where the fold stopped, if it did."""

    state: State
    rows: dict[str, list[Row]]
    facts: int  # in the state
    parked: str | None = None  # why the next fact cannot be folded
    parked_position: int | None = None


def fold_soundly(
    projection: Projection, subject: str, told: Sequence[RecordedFact], terms: Terms = NO_TERMS
) -> FoldedState:
    """Fold all facts of a subject from its start, or as many of them, from the first, as can be folded and shown.

    Nothing that a rule or a row raises gets out. Where the rows of a state cannot be made, the fact before which they
    could is found by halving: what comes of that depends on the facts alone, so that live and replay stop at the same.
    """
    try:
        return _folded(projection, subject, told, terms)
    except Unfoldable as stuck:
        at, first = stuck.folded, stuck
    sound = _folded_or_stuck(projection, subject, told[:at], terms)
    if isinstance(sound, Unfoldable):
        good, bad = 0, at
        while bad - good > 1:
            middle = (good + bad) // 2
            tried = _folded_or_stuck(projection, subject, told[:middle], terms)
            if isinstance(tried, Unfoldable):
                bad = middle
            else:
                good = middle
        stopped = _folded_or_stuck(projection, subject, told[:bad], terms)
        first = stopped if isinstance(stopped, Unfoldable) else first
        sound = _folded_or_stuck(projection, subject, told[:good], terms)
        if isinstance(sound, Unfoldable):  # not even of no fact at all
            sound = FoldedState(projection.start(), {table.name: [] for table in projection.tables}, 0)
    return sound._replace(parked=str(first), parked_position=first.position)


def _folded(projection: Projection, subject: str, told: Sequence[RecordedFact], terms: Terms) -> FoldedState:
    state = fold(projection, told, None, terms)
    return FoldedState(state, all_rows(projection, subject, state, told), len(told))


def _folded_or_stuck(
    projection: Projection, subject: str, told: Sequence[RecordedFact], terms: Terms
) -> "FoldedState | Unfoldable":
    try:
        return _folded(projection, subject, told, terms)
    except Unfoldable as stuck:
        return stuck


def all_rows(projection: Projection, subject: str, state: State, told: Sequence[RecordedFact]) -> dict[str, list[Row]]:
    """Give the rows that a state stands for, and take the new rows of growing tables out of it.

    Raises Unfoldable, at the last of the facts that were folded, if they cannot be made.
    """
    return rows_of(projection, subject, state, told) | lines_of(projection, subject, state, told)


def rows_of(projection: Projection, subject: str, state: State, told: Sequence[RecordedFact]) -> dict[str, list[Row]]:
    """Give the rows that a state stands for, growing tables aside. Raises Unfoldable as `all_rows` does."""
    try:
        return {name: list(rows) for name, rows in projection.rows(subject, state).items()}
    except Exception as error:
        raise _unshown(projection, told, error) from error


def lines_of(projection: Projection, subject: str, state: State, told: Sequence[RecordedFact]) -> dict[str, list[Row]]:
    """Take the new rows of growing tables out of a state. Raises Unfoldable as `all_rows` does."""
    if projection.lines is None:
        return {}
    try:
        return {name: list(rows) for name, rows in projection.lines(subject, state).items()}
    except Exception as error:
        raise _unshown(projection, told, error) from error


def _unshown(projection: Projection, told: Sequence[RecordedFact], error: Exception) -> Unfoldable:
    """Name the last fact of a state whose rows cannot be made."""
    kind = kind_of(told[-1].fact) if told else "no fact"
    position = told[-1].occurrence.position if told else 0
    return Unfoldable(projection.name, kind, f"its rows: {describe_failure(error)}", position, max(0, len(told) - 1))
