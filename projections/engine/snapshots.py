"""What folds remembered of subjects, kept so that a long history need not be folded from its first fact again.

A state is a means and never the truth: a subject without one is folded from its facts. It stands at the fact it was
taken at; of a long history one is kept every FACTS_PER_STATE facts, as far as STATES_KEPT of them go back, so that a
late fact folds again what came after it and little more. States from a late fact on are forgotten by whoever folds it.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

import msgspec

from ledger.database import Connection
from projections.definition import FactKey, Projection, State

FACTS_PER_SNAPSHOT = 2_000
SNAPSHOTS_PER_SUBJECT_MAX = 4  # of a subject, each of other FACTS_PER_STATE facts
SNAPSHOT_BYTES_MAX = (
    64 * 1024 * 1024
)  # a larger one is not kept: to fold it again is slow, but no event must fail for it
BEFORE_ALL_FACTS = FactKey(datetime.min.replace(tzinfo=UTC), 0, b"", 0)  # before every fact

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
# One is kept of as many facts, the last, and none that stands too far back.
DELETE_REPLACED = """
    DELETE FROM states s USING unnest($2::text[], $3::text[], $4::int[]) AS new (subject_kind, subject, facts)
     WHERE s.ledger_id = $1 AND s.subject_kind = new.subject_kind AND s.subject = new.subject
       AND (s.facts / $5 = new.facts / $5 OR s.facts / $5 <= new.facts / $5 - $6)
"""


class Snapshot(NamedTuple):
    """A state as it is kept: at its last fact, of so many."""

    last: FactKey
    facts: int
    state: bytes


class SnapshotWrite(NamedTuple):
    """A state to be kept."""

    subject_kind: str
    subject: str
    stored: Snapshot


async def read_snapshots_before(
    connection: Connection, ledger_id: int, subject_kind: str, firsts: Mapping[str, FactKey]
) -> dict[str, Snapshot]:
    """Read the last states of some subjects that stand before a fact of each; those without any are left out."""
    rows = await connection.fetch(READ_LAST_BEFORE, ledger_id, subject_kind, *_by_column(firsts))
    return {row[0]: Snapshot(FactKey(*row[1:5]), row[5], row[6]) for row in map(tuple, rows)}


async def delete_snapshots_from(
    connection: Connection, ledger_id: int, subject_kind: str, firsts: Mapping[str, FactKey]
) -> None:
    """Take away the states of some subjects that stand at a fact of each or after it."""
    if firsts:
        await connection.execute(DELETE_FROM, ledger_id, subject_kind, *_by_column(firsts))


def _by_column(keys: Mapping[str, FactKey]) -> list[Sequence[Any]]:
    return [list(keys), *([key[at] for key in keys.values()] for at in range(len(FactKey._fields)))]


async def write_snapshots(connection: Connection, ledger_id: int, written: Iterable[SnapshotWrite]) -> None:
    """Keep some states, in the place of those of about as many facts."""
    kept = [one for one in written if len(one.stored.state) <= SNAPSHOT_BYTES_MAX]
    if not kept:
        return
    named = [[one.subject_kind for one in kept], [one.subject for one in kept], [one.stored.facts for one in kept]]
    await connection.execute(DELETE_REPLACED, ledger_id, *named, FACTS_PER_SNAPSHOT, SNAPSHOTS_PER_SUBJECT_MAX)
    last = {
        (kind, subject, stored.facts // FACTS_PER_SNAPSHOT): (kind, subject, stored) for kind, subject, stored in kept
    }
    records = [
        (ledger_id, kind, subject, *stored.last, stored.facts, stored.state) for kind, subject, stored in last.values()
    ]
    await connection.copy_records_to_table("states", records=records, columns=COLUMNS)


_ENCODER = msgspec.msgpack.Encoder()


def encode_state(state: State) -> bytes:
    """Write a state down."""
    return _ENCODER.encode(state)


def encode_state_or_none(state: State) -> bytes | None:
    """Write a state down; None if that fails, which costs no more than to fold its subject from the facts again."""
    try:
        return encode_state(state)
    except Exception:
        return None


@cache
def _state_decoder(projection_state: type[State]) -> Any:
    return msgspec.msgpack.Decoder(projection_state)


def decode_state(projection: Projection, state: bytes) -> State:
    """Read back what `encode_state` wrote."""
    decoded: State = _state_decoder(projection.start).decode(state)
    return decoded
