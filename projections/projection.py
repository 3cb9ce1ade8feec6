"""What a projection is: a frozen value that names a kind of subject, its rules, its rows and their tables. No I/O.

The law: fold(a + b) == fold(b, start=fold(a)), for facts in their order. So a subject can be folded forward from its
stored state, or again from its first fact, and comes out the same.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from ledger.errors import Unfoldable
from ledger.facts import Fact, Occurrence, Told, kind_of
from projections.terms import NO_TERMS, Terms


class State(msgspec.Struct):
    """What a fold remembers of one subject between facts. A fold owns its state, so rules change it in place: copying
    a wallet of a thousand lots for each fact would make folding a history quadratic."""


Rule = Callable[[Any, Any, Occurrence], None]  # (state, fact, occurrence)
Alike = Callable[[Iterable[Any]], Iterable[tuple[str, str]]]  # facts that share an alias: (alias name, name)
Rows = Mapping[str, Iterable[tuple[Any, ...]]]  # by table, in the order of the table's columns


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


class Key(NamedTuple):
    """Where a fact stands among its subject's facts: a total order that does not mention arrival."""

    occurred_at: Any
    rank: int
    tag: bytes
    ordinal: int


def key_of(told: Told) -> Key:
    """Give the place of a fact in the order of its subject's facts."""
    occurrence = told.occurrence
    return Key(occurrence.occurred_at, told.fact.rank, occurrence.tag, occurrence.ordinal)


def fold(projection: Projection, told: Iterable[Told], state: State | None = None, terms: Terms = NO_TERMS) -> Any:
    """Fold facts, which must be in order, into a state: a new one, or the one given, which is changed. A state must be
    folded under the same terms from its start; where they change it is folded again.

    Raises Unfoldable, naming kind and position, if a rule cannot take a fact; the state is then good for nothing.
    """
    if state is None:
        state = projection.start()
    if projection.under is not None and terms is not NO_TERMS:
        projection.under(state, terms)
    rules = projection.on
    for folded, (fact, occurrence) in enumerate(told):
        rule = rules.get(type(fact))
        if rule is None:
            raise Unfoldable(projection.name, kind_of(fact), "no rule", occurrence.position, folded)
        try:
            rule(state, fact, occurrence)
        except Exception as error:
            why = type(error).__name__
            raise Unfoldable(projection.name, kind_of(fact), why, occurrence.position, folded) from error
    return state
