"""Facts in the order in which their events were recorded, so that another system can follow a ledger.

The key of a fact in this order is (position, ordinal): the position of its event, and its place within the event. A
reader that continues after the last key misses nothing, because positions are dense and facts of a position are written
with the checkpoint that reaches it.

Facts can change at positions that were read before, when an event loses a conflict, or when a rebuild reads events
otherwise. The facts in effect are listed, at the positions of their own events.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.facts import FACTS, Fact
from projections.engine.store import decode_fact, read_checkpoint

CANDIDATES_MAX = 20_000  # of one page; a sparse filter then answers a short page with a key

FACT_KINDS = sorted({fact.__name__ for fact in FACTS})
SUBJECT_KINDS = sorted({fact.subject_kind for fact in FACTS})

FACTS_AFTER = """
    WITH candidate AS MATERIALIZED (
        SELECT position, ordinal, kind, body, subject_kind, subject, occurred_at, untimed FROM facts
         WHERE ledger_id = $1 AND (position, ordinal) > ($2, $3) AND position <= $4
         ORDER BY position, ordinal LIMIT $5)
    SELECT * FROM candidate
     WHERE ($6::text IS NULL OR kind = $6) AND ($7::text IS NULL OR subject_kind = $7)
     ORDER BY position, ordinal LIMIT $8
"""
# The key of facts begins with the kind of the subject, so all kinds are named.
FACTS_OF_SUBJECT = """
    WITH candidate AS MATERIALIZED (
        SELECT position, ordinal, kind, body, subject_kind, subject, occurred_at, untimed FROM facts
         WHERE ledger_id = $1 AND subject_kind = ANY ($5) AND subject = ANY ($6)
           AND (position, ordinal) > ($2, $3) AND position <= $4)
    SELECT * FROM candidate WHERE $7::text IS NULL OR kind = $7 ORDER BY position, ordinal LIMIT $8
"""
COUNT_AFTER = """
    SELECT count(*) FROM facts
     WHERE ledger_id = $1 AND (position, ordinal) > ($2, $3) AND position <= $4
       AND ($5::text IS NULL OR kind = $5) AND ($6::text IS NULL OR subject_kind = $6)
"""
COUNT_OF_SUBJECT = """
    SELECT count(*) FROM facts
     WHERE ledger_id = $1 AND subject_kind = ANY ($5) AND subject = ANY ($6)
       AND (position, ordinal) > ($2, $3) AND position <= $4 AND ($7::text IS NULL OR kind = $7)
"""
LAST_CANDIDATE = """
    SELECT position, ordinal FROM facts
     WHERE ledger_id = $1 AND (position, ordinal) > ($2, $3) AND position <= $4
     ORDER BY position, ordinal OFFSET $5 LIMIT 1
"""


class FactPlace(NamedTuple):
    """The key of a fact in the order of positions."""

    position: int
    ordinal: int


class FactFilter(NamedTuple):
    """The facts that are wanted; None means all. `subjects` are complete references."""

    kind: str | None = None
    subject_kind: str | None = None
    subjects: Sequence[str] | None = None


EVERY_FACT = FactFilter()


class ListedFact(NamedTuple):
    """A fact, its place, and the subject under which it is stored."""

    position: int
    ordinal: int
    kind: str
    fact: Fact
    subject_kind: str
    subject: str
    occurred_at: datetime
    untimed: bool


class FactList(NamedTuple):
    """Some facts, the key after which the next ones follow, and the position that the list reflects.

    `following` is None if no more facts are listed up to `as_of_position`. A reader then continues after that position.
    """

    facts: list[ListedFact]
    following: FactPlace | None
    as_of_position: int


def start_after(position: int) -> FactPlace:
    """Return the key after which the facts of later positions follow."""
    return FactPlace(position, 2**15 - 1)


async def list_facts_after(
    connection: Connection, ledger_id: int, after: FactPlace, limit: int, wanted: FactFilter = EVERY_FACT
) -> FactList:
    """List up to `limit` facts after a key, in the order of positions. It reads at most CANDIDATES_MAX facts, except
    for the facts of named subjects.

    The rows reach `as_of_position` before the facts are read, so a reader that continues there misses nothing.
    """
    reached = await read_checkpoint(connection, ledger_id)
    start = (ledger_id, *after, reached)
    if wanted.subjects is not None:
        kinds = SUBJECT_KINDS if wanted.subject_kind is None else [wanted.subject_kind]
        rows = await connection.fetch(FACTS_OF_SUBJECT, *start, kinds, wanted.subjects, wanted.kind, limit + 1)
    else:
        rows = await connection.fetch(FACTS_AFTER, *start, CANDIDATES_MAX, wanted.kind, wanted.subject_kind, limit + 1)
    facts = [_listed_fact(row) for row in rows[:limit]]
    if len(rows) > limit:
        return FactList(facts, FactPlace(facts[-1].position, facts[-1].ordinal), reached)
    if wanted.subjects is not None:
        return FactList(facts, None, reached)
    last = await connection.fetchrow(LAST_CANDIDATE, *start, CANDIDATES_MAX - 1)
    return FactList(facts, None if last is None else FactPlace(last["position"], last["ordinal"]), reached)


async def count_facts_after(
    connection: Connection, ledger_id: int, after: FactPlace, wanted: FactFilter = EVERY_FACT
) -> int:
    """Count the facts after a key. It reads all of them."""
    start = (ledger_id, *after, await read_checkpoint(connection, ledger_id))
    count: int
    if wanted.subjects is None:
        count = await connection.fetchval(COUNT_AFTER, *start, wanted.kind, wanted.subject_kind)
    else:
        kinds = SUBJECT_KINDS if wanted.subject_kind is None else [wanted.subject_kind]
        count = await connection.fetchval(COUNT_OF_SUBJECT, *start, kinds, wanted.subjects, wanted.kind)
    return count


def _listed_fact(row: Any) -> ListedFact:
    kind, body, subject = row["kind"], row["body"], row["subject"]
    fact = decode_fact(kind, body, subject)
    place = (row["position"], row["ordinal"])
    return ListedFact(*place, kind, fact, row["subject_kind"], subject, row["occurred_at"], row["untimed"])
