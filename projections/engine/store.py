"""Read and write facts, checkpoints and subject flags in the generation that the connection's search_path names."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import asyncpg

from ledger.database import Connection
from ledger.facts import Fact, Occurrence, RecordedFact, decode, encode, kind_of
from projections.definition import FactKey

T = TypeVar("T")

# Errors of PostgreSQL for values that it cannot store.
ROW_REJECTED = (asyncpg.DataError, asyncpg.ProgramLimitExceededError, asyncpg.IntegrityConstraintViolationError)

WRITE_ORGS = """
    INSERT INTO orgs (ledger_id, source, org) SELECT $1::int, * FROM unnest($2::text[], $3::text[])
    ON CONFLICT DO NOTHING
"""
READ_FLAGS = """
    SELECT subject, untimed, parked FROM subjects WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3)
"""
READ_FACTS = """
    SELECT subject, kind, body, occurred_at, tag, ordinal, position, untimed FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3)
     ORDER BY subject, occurred_at, rank, tag, ordinal
"""
DELETE_FACT = """
    DELETE FROM facts WHERE ledger_id = $1 AND subject_kind = $2 AND subject = $3
       AND occurred_at = $4 AND rank = $5 AND tag = $6 AND ordinal = $7
"""
READ_FACTS_AFTER = """
    SELECT f.subject, f.kind, f.body, f.occurred_at, f.tag, f.ordinal, f.position, f.untimed
      FROM unnest($3::text[], $4::timestamptz[], $5::smallint[], $6::bytea[], $7::smallint[])
           AS asked (subject, occurred_at, rank, tag, ordinal)
      JOIN facts f ON f.ledger_id = $1 AND f.subject_kind = $2 AND f.subject = asked.subject
       AND (f.occurred_at, f.rank, f.tag, f.ordinal) > (asked.occurred_at, asked.rank, asked.tag, asked.ordinal)
       AND f.position < $8
     ORDER BY f.subject, f.occurred_at, f.rank, f.tag, f.ordinal
"""
READ_CHECKPOINT = "SELECT position FROM checkpoints WHERE ledger_id = $1"
START_CHECKPOINT = "INSERT INTO checkpoints (ledger_id, position) VALUES ($1, 0) ON CONFLICT DO NOTHING"
# Every transaction that writes rows updates the checkpoint's row. The cache relies on it; see cache.py.
HOLD_CHECKPOINT = "UPDATE checkpoints SET position = position WHERE ledger_id = $1 RETURNING position"
CLAIM_CHECKPOINT = "SELECT xmin::text FROM checkpoints WHERE ledger_id = $1 AND position = $2 FOR UPDATE"
MOVE_CHECKPOINT = "UPDATE checkpoints SET position = $2 WHERE ledger_id = $1 RETURNING xmin::text"


class FactRow(NamedTuple):
    """A fact as a row of its table. The columns from `subject_kind` to `ordinal` give the order of the fold."""

    ledger_id: int
    subject_kind: str
    subject: str
    occurred_at: datetime
    rank: int
    tag: bytes
    ordinal: int
    position: int
    untimed: bool
    kind: str
    body: bytes
    alias: str | None


FACT_COLUMNS = FactRow._fields


class SubjectFlags(NamedTuple):
    """The flags of a subject in the table `subjects`."""

    untimed: bool  # a fact of it is ordered by its recorded time
    parked: str | None


class CheckpointMove(NamedTuple):
    """The ids of the transaction that wrote the checkpoint before, and of the current one."""

    previous: str
    current: str


async def read_checkpoint(connection: Connection, ledger_id: int) -> int:
    """Return the last position that the rows reflect; 0 before the first event."""
    return await connection.fetchval(READ_CHECKPOINT, ledger_id) or 0


async def hold_checkpoint(connection: Connection, ledger_id: int) -> int:
    """Lock the checkpoint until the transaction ends, and return its position."""
    await connection.execute(START_CHECKPOINT, ledger_id)
    position: int = await connection.fetchval(HOLD_CHECKPOINT, ledger_id)
    return position


async def move_checkpoint(connection: Connection, ledger_id: int, old: int, new: int) -> CheckpointMove | None:
    """Move the checkpoint from `old` to `new`. None if it is not at `old` because another projector has moved it."""
    if old == 0:
        await connection.execute(START_CHECKPOINT, ledger_id)
    previous = await connection.fetchval(CLAIM_CHECKPOINT, ledger_id, old)
    if previous is None:
        return None
    return CheckpointMove(previous, await connection.fetchval(MOVE_CHECKPOINT, ledger_id, new))


async def write_facts(connection: Connection, ledger_id: int, facts: Iterable[RecordedFact]) -> None:
    """Write facts."""
    await copy_facts(connection, [fact_row(ledger_id, fact) for fact in facts])


def fact_row(ledger_id: int, recorded: RecordedFact) -> FactRow:
    """Return a fact as a row of the table."""
    fact, (occurred_at, tag, ordinal, position, untimed) = recorded
    key = (fact.subject_kind, fact.subject, occurred_at, fact.rank, tag, ordinal)
    return FactRow(ledger_id, *key, position, untimed, kind_of(fact), encode(fact), stored_alias(fact))


def stored_alias(fact: Fact) -> str | None:
    """Return the alias of a fact as stored: prefix "~" if the subject is known by it alone, "=" otherwise. None if no
    alias.
    """
    alias = fact.alias
    return None if alias is None else f"{'~' if fact.alias_only else '='}{alias}"


async def copy_facts(connection: Connection, rows: Sequence[FactRow]) -> None:
    """Write facts that are given as rows."""
    await connection.copy_records_to_table("facts", records=rows, columns=FACT_COLUMNS)


async def divide_rejected(
    connection: Connection,
    items: Sequence[T],
    write: Callable[[Sequence[T]], Awaitable[None]],
    reject: Callable[[T, Exception], Awaitable[None]],
) -> None:
    """Write items. If PostgreSQL rejects them, halve them until each rejected item is alone, and call `reject`."""
    try:
        async with connection.transaction():
            await write(items)
    except ROW_REJECTED as error:
        if len(items) == 1:
            await reject(items[0], error)
            return
        middle = len(items) // 2
        await divide_rejected(connection, items[:middle], write, reject)
        await divide_rejected(connection, items[middle:], write, reject)


async def write_orgs(connection: Connection, ledger_id: int, orgs: Iterable[tuple[str, str]]) -> None:
    """Record the (source, org) pairs of a ledger. They are sorted, so that concurrent writers cannot deadlock."""
    pairs = sorted(set(orgs))
    await connection.execute(WRITE_ORGS, ledger_id, [source for source, _ in pairs], [org for _, org in pairs])


async def delete_facts(connection: Connection, ledger_id: int, facts: Iterable[RecordedFact]) -> None:
    """Delete facts, such as those of an event that lost a conflict."""
    keys = [
        (ledger_id, fact.subject_kind, fact.subject, at.occurred_at, fact.rank, at.event_tag, at.ordinal)
        for fact, at in facts
    ]
    await connection.executemany(DELETE_FACT, keys)


async def read_facts(
    connection: Connection, ledger_id: int, subject_kind: str, subjects: Sequence[str]
) -> AsyncIterator[tuple[str, list[RecordedFact]]]:
    """Read all facts of some subjects of one kind. Yield each subject with its facts in order."""
    async for subject_facts in _read_facts(connection, READ_FACTS, ledger_id, subject_kind, subjects):
        yield subject_facts


async def read_facts_after(
    connection: Connection, ledger_id: int, subject_kind: str, after: Mapping[str, FactKey], position: int
) -> AsyncIterator[tuple[str, list[RecordedFact]]]:
    """Read the facts of some subjects that come after a given fact of each and have a position below `position`.

    Yields each subject with its facts in order. A subject without such facts is left out.
    """
    keys = [list(after), *([key[at] for key in after.values()] for at in range(len(FactKey._fields)))]
    async for subject_facts in _read_facts(connection, READ_FACTS_AFTER, ledger_id, subject_kind, *keys, position):
        yield subject_facts


async def _read_facts(
    connection: Connection, query: str, *arguments: Any
) -> AsyncIterator[tuple[str, list[RecordedFact]]]:
    subject, facts = "", list[RecordedFact]()
    async with connection.transaction():
        async for row in connection.cursor(query, *arguments, prefetch=5_000):
            if row[0] != subject:
                if facts:
                    yield subject, facts
                subject, facts = row[0], []
            facts.append(fact_of_row(row))
    if facts:
        yield subject, facts


def fact_of_row(row: Sequence[Any]) -> RecordedFact:
    """Build a fact from (subject, kind, body, occurred_at, tag, ordinal, position, untimed)."""
    subject, kind, body, occurred_at, tag, ordinal, position, untimed = row
    return RecordedFact(decode_fact(kind, body, subject), Occurrence(occurred_at, tag, ordinal, position, untimed))


class Undecodable(Fact, frozen=True, kw_only=True):
    """A stored fact that this software cannot decode. No rule accepts it, so it parks its subject and no other."""

    subject_kind = "-"
    named: str

    @property
    def subject(self) -> str:
        return self.named


def decode_fact(kind: str, body: bytes, subject: str = "-") -> Fact:
    """Decode a stored fact. Never fails: an unknown fact becomes Undecodable."""
    try:
        return decode(kind, body)
    except Exception:
        return Undecodable(named=subject)


async def read_flags(
    connection: Connection, ledger_id: int, subject_kind: str, subjects: Sequence[str]
) -> dict[str, SubjectFlags]:
    """Read the flags of some subjects of one kind. Subjects without flags are left out."""
    rows = await connection.fetch(READ_FLAGS, ledger_id, subject_kind, subjects)
    return {row["subject"]: SubjectFlags(row["untimed"], row["parked"]) for row in rows}
