"""The parts that the filling of a generation is cut into, kept in a table of the generation itself.

A part is done in one transaction that begins by marking it done. So whoever comes second, a worker believed dead
included, waits and then finds that there is nothing to do; and what a killed rebuild has finished is not done again.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from ledger.database import Connection

CREATE_WORK_ITEMS = """
    CREATE TABLE IF NOT EXISTS parts (
        stage text NOT NULL, number int NOT NULL, size bigint NOT NULL, work text NOT NULL,
        done boolean NOT NULL DEFAULT false, count bigint NOT NULL DEFAULT 0, PRIMARY KEY (stage, number))
"""
INSERT_ITEMS = (
    "INSERT INTO parts (stage, number, size, work) SELECT $1, * FROM unnest($2::int[], $3::bigint[], $4::text[])"
)
READ_TOTALS = """
    SELECT count(*) AS parts, coalesce(sum(size), 0)::bigint AS size, coalesce(sum(count), 0)::bigint AS count
      FROM parts WHERE stage = $1
"""
READ_UNDONE = "SELECT number, size FROM parts WHERE stage = $1 AND NOT done ORDER BY size DESC, number"
CLAIM_ITEM = "UPDATE parts SET done = true WHERE stage = $1 AND number = $2 AND NOT done RETURNING work"
WRITE_COUNT = "UPDATE parts SET count = $3 WHERE stage = $1 AND number = $2"


class EventRange(msgspec.Struct, frozen=True, tag=True):
    """The events after one position, up to another, except those that a twin contradicts, up to the `last` of all."""

    ledger_id: int
    after: int
    upto: int
    last: int


class ConflictingEvents(msgspec.Struct, frozen=True, tag=True):
    """The events that a twin contradicts, up to a position."""

    ledger_id: int
    last: int


class SubjectRange(msgspec.Struct, frozen=True, tag=True):
    """The subjects of one kind from `low` on and before `high`; None: to the end."""

    ledger_id: int
    subject_kind: str
    low: str
    high: str | None
    last: int  # position


class IndexStatements(msgspec.Struct, frozen=True, tag=True):
    """Make the keys and indexes of one table."""

    statements: tuple[str, ...]


Work: TypeAlias = EventRange | ConflictingEvents | SubjectRange | IndexStatements
Task = Callable[[Connection, Work], Awaitable[int]]

_DECODER = msgspec.json.Decoder[Work](Work)


class WorkItem(NamedTuple):
    """One part of a stage, and how much of it there is to do."""

    number: int
    size: int


class StageTotals(NamedTuple):
    """All parts of a stage: how many, their sizes, and what those that are done have counted."""

    parts: int
    size: int
    counted: int


async def add_items(connection: Connection, stage: str, items: Sequence[tuple[int, Work]]) -> None:
    """Write down the parts of a stage, given as (size, work)."""
    numbers = list(range(len(items)))
    texts = [msgspec.json.encode(work).decode() for _, work in items]
    await connection.execute(INSERT_ITEMS, stage, numbers, [size for size, _ in items], texts)


async def read_totals(connection: Connection, stage: str) -> StageTotals:
    """Sum up a stage; it has no parts if it has not been cut yet, or if there is nothing to do."""
    row = await connection.fetchrow(READ_TOTALS, stage)
    assert row is not None
    return StageTotals(row["parts"], row["size"], row["count"])


async def read_undone_items(connection: Connection, stage: str) -> list[WorkItem]:
    """Give the parts that are still to do, the largest first."""
    return [WorkItem(row["number"], row["size"]) for row in await connection.fetch(READ_UNDONE, stage)]


async def process_item(connection: Connection, stage: str, number: int, task: Task) -> None:
    """Do a part, unless somebody has."""
    async with connection.transaction():
        text = await connection.fetchval(CLAIM_ITEM, stage, number)
        if text is not None:
            await connection.execute(WRITE_COUNT, stage, number, await task(connection, _DECODER.decode(text)))
