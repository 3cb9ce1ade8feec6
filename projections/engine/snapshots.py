"""Snapshots: stored states of subjects. They save folding a long history from its first fact.

- A snapshot is only a cache of the fold. A subject without one is folded from its facts.
- A snapshot holds the state after one fact of the subject, and the order key of that fact.
- A long history has a snapshot every FACTS_PER_SNAPSHOT facts, for its last SNAPSHOTS_PER_SUBJECT_MAX of them.
  So a late fact folds again the facts after it and few others.
- The fold of a late fact deletes the snapshots from that fact on.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec

from ledger.database import Connection
from projections.definition import FactKey, FoldedSubject, Projection, State

FACTS_PER_SNAPSHOT = 2_000
SNAPSHOTS_PER_SUBJECT_MAX = 4  # each in another block of FACTS_PER_SNAPSHOT facts
SNAPSHOT_BYTES_MAX = (
    64 * 1024 * 1024
)  # a larger state is not stored: folding again is slow, but no event must fail because of its size

CREATE_STATES = """
    CREATE TABLE states (
        ledger_id int NOT NULL, subject_kind text COLLATE "C" NOT NULL, subject text COLLATE "C" NOT NULL,
        occurred_at timestamptz NOT NULL, rank smallint NOT NULL, tag bytea NOT NULL, ordinal smallint NOT NULL,
        facts int NOT NULL, state bytea NOT NULL);
    ALTER TABLE states ALTER state SET STORAGE EXTERNAL
"""
INDEX_STATES = (
    "ALTER TABLE states ADD PRIMARY KEY (ledger_id, subject_kind, subject, occurred_at, rank, tag, ordinal)",
)
COLUMNS = ("ledger_id", "subject_kind", "subject", *FactKey._fields, "facts", "state")

READ_LAST_BEFORE = """
    SELECT asked.subject, last.* FROM unnest($3::text[], $4::timestamptz[], $5::smallint[], $6::bytea[], $7::smallint[])
           AS asked (subject, occurred_at, rank, tag, ordinal),
         LATERAL (SELECT s.occurred_at, s.rank, s.tag, s.ordinal, s.facts, s.state FROM states s
                   WHERE s.ledger_id = $1 AND s.subject_kind = $2 AND s.subject = asked.subject
                     AND (s.occurred_at, s.rank, s.tag, s.ordinal)
                         < (asked.occurred_at, asked.rank, asked.tag, asked.ordinal)
                   ORDER BY s.occurred_at DESC, s.rank DESC, s.tag DESC, s.ordinal DESC LIMIT 1) last
"""
DELETE_FROM = """
    DELETE FROM states s
     USING unnest($3::text[], $4::timestamptz[], $5::smallint[], $6::bytea[], $7::smallint[])
           AS gone (subject, occurred_at, rank, tag, ordinal)
     WHERE s.ledger_id = $1 AND s.subject_kind = $2 AND s.subject = gone.subject
       AND (s.occurred_at, s.rank, s.tag, s.ordinal) >= (gone.occurred_at, gone.rank, gone.tag, gone.ordinal)
"""
# Keep the last snapshot of each block of facts, and drop those that are too many blocks back.
DELETE_REPLACED = """
    DELETE FROM states s USING unnest($2::text[], $3::text[], $4::int[]) AS new (subject_kind, subject, facts)
     WHERE s.ledger_id = $1 AND s.subject_kind = new.subject_kind AND s.subject = new.subject
       AND (s.facts / $5 = new.facts / $5 OR s.facts / $5 <= new.facts / $5 - $6)
"""


class Snapshot(NamedTuple):
    """An encoded state of a subject, with the key of its last fact and the number of its facts."""

    subject_kind: str
    subject: str
    last_fact: FactKey
    facts: int
    state: bytes


def snapshot_ends(before: FoldedSubject, new_facts: int) -> list[int]:
    """Return how many of the new facts are folded when a snapshot is due. Most folds need no snapshot."""
    if before.facts + new_facts - before.snapshot_facts < FACTS_PER_SNAPSHOT:
        return []
    first = new_facts - (SNAPSHOTS_PER_SUBJECT_MAX - 1) * FACTS_PER_SNAPSHOT
    return [end for end in range(first, new_facts + 1, FACTS_PER_SNAPSHOT) if end > 0]


def take_snapshot(subject_kind: str, folded: FoldedSubject) -> Snapshot | None:
    """Encode the state of a subject; None if that fails. It is then folded from its facts, which is only slower."""
    try:
        encoded = encode_state(folded.state)
    except Exception:
        return None
    return Snapshot(subject_kind, folded.subject, folded.last_fact, folded.facts, encoded)


async def read_snapshots_before(
    connection: Connection, ledger_id: int, subject_kind: str, firsts: Mapping[str, FactKey]
) -> dict[str, Snapshot]:
    """Read the last snapshot of each subject before a given fact. Subjects without one are left out."""
    rows = await connection.fetch(READ_LAST_BEFORE, ledger_id, subject_kind, *_by_column(firsts))
    return {row[0]: Snapshot(subject_kind, row[0], FactKey(*row[1:5]), row[5], row[6]) for row in map(tuple, rows)}


async def delete_snapshots_from(
    connection: Connection, ledger_id: int, subject_kind: str, firsts: Mapping[str, FactKey]
) -> None:
    """Delete the snapshots of each subject at a given fact and after it."""
    if firsts:
        await connection.execute(DELETE_FROM, ledger_id, subject_kind, *_by_column(firsts))


def _by_column(keys: Mapping[str, FactKey]) -> list[Sequence[Any]]:
    return [list(keys), *([key[at] for key in keys.values()] for at in range(len(FactKey._fields)))]


async def write_snapshots(connection: Connection, ledger_id: int, taken: Iterable[Snapshot]) -> None:
    """Store snapshots, in place of those with about as many facts."""
    accepted = [snapshot for snapshot in taken if len(snapshot.state) <= SNAPSHOT_BYTES_MAX]
    if not accepted:
        return
    kinds, subjects, _, facts, _ = zip(*accepted, strict=True)
    limits = (FACTS_PER_SNAPSHOT, SNAPSHOTS_PER_SUBJECT_MAX)
    await connection.execute(DELETE_REPLACED, ledger_id, kinds, subjects, facts, *limits)
    latest = {(kind, subject, facts // FACTS_PER_SNAPSHOT): (kind, subject, *last_fact, facts, state)
              for kind, subject, last_fact, facts, state in accepted}  # fmt: skip
    records = [(ledger_id, *record) for record in latest.values()]
    await connection.copy_records_to_table("states", records=records, columns=COLUMNS)


_ENCODER = msgspec.msgpack.Encoder()


def encode_state(state: State) -> bytes:
    """Encode a state as MessagePack."""
    return _ENCODER.encode(state)


@cache
def _state_decoder(projection_state: type[State]) -> Any:
    return msgspec.msgpack.Decoder(projection_state)


def decode_state(projection: Projection, state: bytes) -> State:
    """Decode a state that `encode_state` wrote."""
    decoded: State = _state_decoder(projection.start).decode(state)
    return decoded
