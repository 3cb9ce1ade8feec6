"""Folded subjects in memory, so that one is neither read nor folded again nor written down for each of its facts.

What is remembered is good for as long as nobody else has written: every transaction that writes rows changes the
checkpoint's row, whose xmin says which was the last. Who finds another there than its own forgets all. Within a batch
what is used is taken out, and comes back once it is committed: what fails on the way is read again from its facts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from projections.definition import FactKey, State
from projections.engine.snapshots import Snapshot, SnapshotWrite, encode_state_or_none

ROWS_MAX = 100_000  # of all remembered subjects together; a row, with its part of the state, takes about 1.5 KB
FACTS_PER_SNAPSHOT_MIN = 8  # fewer are folded again sooner than their state is written and read
ROWS_PER_FACT = 8  # whose part of a state takes as long to write and read as a fact takes to be folded again


@dataclass(slots=True)
class CachedSubject:
    """A subject as it was last folded."""

    state: State
    last: FactKey  # the last fact in it
    rows: Mapping[str, Sequence[tuple[Any, ...]]]  # as the tables have them, growing ones aside
    untimed: bool
    facts: int  # in it
    stored: int  # how many were in the state of it that was last written down

    @property
    def weight(self) -> int:
        return 1 + sum(map(len, self.rows.values()))


class SubjectRef(NamedTuple):
    """Names a subject of any ledger and kind."""

    ledger_id: int
    subject_kind: str
    subject: str


class SubjectCache:
    """What one connection has folded last, of all ledgers of its generation."""

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        self._rows_max = rows_max
        self._held: dict[SubjectRef, CachedSubject] = {}  # who was folded last stands last
        self._rows = 0
        self._turns: dict[int, str] = {}  # by ledger: which transaction wrote last, as we know
        self._folded: dict[SubjectRef, CachedSubject] = {}  # in the batch under way

    def begin(self, ledger_id: int, turn: str | None) -> None:
        """Begin a batch after what the transaction `turn` wrote; forget the ledger if that was another's."""
        self._folded = {}
        if turn is None or self._turns.get(ledger_id) != turn:
            for one in [one for one in self._held if one.ledger_id == ledger_id]:
                self._drop(one)

    def overflow(self, ledger_id: int) -> list[SnapshotWrite]:
        """Forget those not folded for longest until no more rows are left than allowed; give the states, of this
        ledger's, that are worth writing down before."""
        written = []
        while self._rows > self._rows_max and len(self._held) > 1:
            named = next(iter(self._held))
            held = self._drop(named)
            worth = held.facts - held.stored >= max(FACTS_PER_SNAPSHOT_MIN, held.weight // ROWS_PER_FACT)
            if named.ledger_id == ledger_id and worth and (encoded := encode_state_or_none(held.state)) is not None:
                stored = Snapshot(held.last, held.facts, encoded)
                written.append(SnapshotWrite(named.subject_kind, named.subject, stored))
        return written

    def take(self, ledger_id: int, subject_kind: str, subjects: Iterable[str]) -> dict[str, CachedSubject]:
        """Take some subjects out; those not remembered are left out."""
        taken = {}
        for subject in subjects:
            named = SubjectRef(ledger_id, subject_kind, subject)
            held = self._folded.pop(named, None)
            if held is None and named in self._held:
                held = self._drop(named)
            if held is not None:
                taken[subject] = held
        return taken

    def put(self, ledger_id: int, subject_kind: str, subject: str, held: CachedSubject) -> None:
        """Hold a subject that was folded in the batch under way."""
        self._folded[SubjectRef(ledger_id, subject_kind, subject)] = held

    def commit(self, ledger_id: int, turn: str) -> None:
        """Remember what was folded in a batch, once the transaction `turn` that wrote its rows is committed."""
        self._turns[ledger_id] = turn
        self._held |= self._folded
        self._rows += sum(held.weight for held in self._folded.values())
        self._folded = {}

    def _drop(self, named: SubjectRef) -> CachedSubject:
        held = self._held.pop(named)
        self._rows -= held.weight
        return held
