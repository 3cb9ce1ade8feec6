"""The work items of a rebuild, stored in the table `parts` of the generation that it fills.

A work item is one transaction. It begins by locking the item's row, and ends by marking the item done. So workers of
several processes and hosts may be sent the same item: one of them processes it, and the others skip it. If a worker
dies, PostgreSQL rolls back and unlocks its item. A rebuild that resumes does not repeat finished items.
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
    "INSERT INTO parts (stage, number, size, work) SELECT $1::text, * FROM unnest($2::int[], $3::bigint[], $4::text[])"
)
READ_TOTALS = """
    SELECT count(*) AS parts, coalesce(sum(size), 0)::bigint AS size, coalesce(sum(count), 0)::bigint AS count
      FROM parts WHERE stage = $1
"""
READ_UNDONE = "SELECT number, size FROM parts WHERE stage = $1 AND NOT done ORDER BY size DESC, number"
CLAIM_ITEM = "SELECT work FROM parts WHERE stage = $1 AND number = $2 AND NOT done FOR UPDATE SKIP LOCKED"
FINISH_ITEM = "UPDATE parts SET done = true, count = $3 WHERE stage = $1 AND number = $2"


class EventRange(msgspec.Struct, frozen=True, tag=True):
    """The events after `after` up to `upto`, without events in conflict. `last` is the rebuild's last position."""

    ledger_id: int
    after: int
    upto: int
    last: int


class ConflictingEvents(msgspec.Struct, frozen=True, tag=True):
    """The events in conflict, up to a position."""

    ledger_id: int
    last: int


class SubjectRange(msgspec.Struct, frozen=True, tag=True):
    """The subjects of one kind from `low` up to but not including `high`; None means up to the end."""

    ledger_id: int
    subject_kind: str
    low: str
    high: str | None
    last: int  # last position of the rebuild


class IndexStatements(msgspec.Struct, frozen=True, tag=True):
    """The statements that create the keys and indexes of one table."""

    statements: tuple[str, ...]


Work: TypeAlias = EventRange | ConflictingEvents | SubjectRange | IndexStatements
Task = Callable[[Connection, Work], Awaitable[int]]

_DECODER = msgspec.json.Decoder[Work](Work)


class WorkItem(NamedTuple):
    """One work item of a stage, with its approximate size."""

    number: int
    size: int


class StageTotals(NamedTuple):
    """Sums over the work items of a stage: their number, their sizes, and the counts of finished items."""

    parts: int
    size: int
    counted: int


async def add_items(connection: Connection, stage: str, items: Sequence[tuple[int, Work]]) -> None:
    """Store the work items of a stage, given as (size, work)."""
    numbers = list(range(len(items)))
    texts = [msgspec.json.encode(work).decode() for _, work in items]
    await connection.execute(INSERT_ITEMS, stage, numbers, [size for size, _ in items], texts)


async def read_totals(connection: Connection, stage: str) -> StageTotals:
    """Sum up a stage. It has no items if it was not partitioned yet, or if there is nothing to do."""
    row = await connection.fetchrow(READ_TOTALS, stage)
    assert row is not None
    return StageTotals(row["parts"], row["size"], row["count"])


async def read_undone_items(connection: Connection, stage: str) -> list[WorkItem]:
    """Return the undone work items of a stage, the largest first."""
    return [WorkItem(row["number"], row["size"]) for row in await connection.fetch(READ_UNDONE, stage)]


async def process_item(connection: Connection, stage: str, number: int, task: Task) -> bool:
    """Process a work item. Return False without waiting if it is done, or if another worker is processing it."""
    async with connection.transaction():
        text = await connection.fetchval(CLAIM_ITEM, stage, number)
        if text is None:
            return False
        count = await task(connection, _DECODER.decode(text))
        await connection.execute(FINISH_ITEM, stage, number, count)
    return True
