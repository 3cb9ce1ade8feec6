"""Folded subjects in memory. The next fact of a cached subject needs no read, no fold of its history and no snapshot.

A cached subject is valid only while no other transaction writes rows of its ledger:

- Every transaction that writes rows updates the checkpoint's row. The row's xmin identifies the last writer.
- If that xmin differs from the xmin of this cache's last batch, all cached subjects of the ledger are dropped.
- During a batch, used subjects leave the cache. They return when the batch has committed.
- If the batch fails, its subjects are read again from their facts.
"""

from collections.abc import Iterable
from typing import NamedTuple

from projections.definition import FoldedSubject
from projections.engine.snapshots import Snapshot, take_snapshot

ROWS_MAX = 100_000  # of all cached subjects together. A row, with its part of the state, takes about 1.5 KB
FACTS_PER_SNAPSHOT_MIN = 8  # with fewer new facts, folding again costs less than to write and read a snapshot
ROWS_PER_FACT = 8  # writing and reading the state of this many rows costs about as much as folding one fact


class SubjectRef(NamedTuple):
    """Identifies a subject of any ledger and kind."""

    ledger_id: int
    subject_kind: str
    subject: str


class SubjectCache:
    """The subjects that one connection folded last, of all ledgers of its generation."""

    def __init__(self, rows_max: int = ROWS_MAX) -> None:
        self._rows_max = rows_max
        self._cached: dict[SubjectRef, FoldedSubject] = {}  # ordered by last fold, the latest last
        self._rows = 0
        self._writers: dict[int, str] = {}  # by ledger: the last known writer's transaction id
        self._batch: dict[SubjectRef, FoldedSubject] = {}  # folded in the current batch

    def start_batch(self, ledger_id: int, transaction_id: str | None) -> None:
        """Begin a batch. `transaction_id` is the xmin of the checkpoint's row before it. If another transaction than
        this cache's last one wrote it, drop all subjects of the ledger.
        """
        self._batch = {}
        if transaction_id is None or self._writers.get(ledger_id) != transaction_id:
            for ref in [ref for ref in self._cached if ref.ledger_id == ledger_id]:
                self._drop(ref)

    def evict(self, ledger_id: int) -> list[Snapshot]:
        """Drop the least recently folded subjects until at most `rows_max` rows remain. Return snapshots to store.

        The snapshots are of subjects of this ledger whose state costs less to store and read than to fold again.
        """
        taken = []
        while self._rows > self._rows_max and len(self._cached) > 1:
            ref = next(iter(self._cached))
            cached = self._drop(ref)
            facts_min = max(FACTS_PER_SNAPSHOT_MIN, _weight(cached) // ROWS_PER_FACT)
            if ref.ledger_id == ledger_id and cached.facts - cached.snapshot_facts >= facts_min:
                taken.append(take_snapshot(ref.subject_kind, cached))
        return [snapshot for snapshot in taken if snapshot is not None]

    def take(self, ledger_id: int, subject_kind: str, subjects: Iterable[str]) -> dict[str, FoldedSubject]:
        """Remove subjects from the cache, and return those that were in it."""
        taken = {}
        for subject in subjects:
            ref = SubjectRef(ledger_id, subject_kind, subject)
            cached = self._batch.pop(ref, None)
            if cached is None and ref in self._cached:
                cached = self._drop(ref)
            if cached is not None:
                taken[subject] = cached
        return taken

    def put(self, ledger_id: int, subject_kind: str, folded: FoldedSubject) -> None:
        """Add a subject that the current batch has folded. It is valid after `commit_batch`."""
        self._batch[SubjectRef(ledger_id, subject_kind, folded.subject)] = folded

    def commit_batch(self, ledger_id: int, transaction_id: str) -> None:
        """Keep the subjects of the batch after its transaction, `transaction_id`, has committed."""
        self._writers[ledger_id] = transaction_id
        self._cached |= self._batch
        self._rows += sum(map(_weight, self._batch.values()))
        self._batch = {}

    def _drop(self, ref: SubjectRef) -> FoldedSubject:
        cached = self._cached.pop(ref)
        self._rows -= _weight(cached)
        return cached


def _weight(cached: FoldedSubject) -> int:
    return 1 + sum(map(len, cached.rows.values()))
