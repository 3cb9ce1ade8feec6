"""Corrections: what another generation of the rows knows otherwise, for endpoints that ask for it.

A rebuild with a newer version may read earlier events in another way. After its promotion the messages that an endpoint
has got are compared with those that it would get now. Each difference is sent once:

- `fact.retracted` and `fact.recorded` for facts that differ, with `correction` true.
- `balance.changed` and the like for rows that differ, with the reason `correction`.

Invariant: pages of the feed are read only when all corrections of the active generation are sent. So each `before` is
still the `after` of the message before it. The table of notices remembers the generation, and the corrections that were
sent so far. A rollback is another change of the generation, and corrects back.

The values before are the stored rows of the earlier generation, which older software may have folded. A subject with
events after the cursor is folded instead, from the facts of that generation.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, NamedTuple

import asyncpg

from ledger.database import Connection
from projections.definition import fold_until_failure
from projections.engine.generations import checked_schema_name, in_schema
from projections.queries.as_of import AsOf, load_known
from service.formatting import encode_json
from service.outgoing.endpoints import Endpoint
from service.outgoing.fact_messages import FeedFact, fact_of_row
from service.outgoing.message_types import FACT_RECORDED, FACT_RETRACTED
from service.outgoing.messages import Message
from service.outgoing.notices import Notice
from service.outgoing.watched_rows import WATCHES, Rows, Watch, rows_by_key

GENERATION = "generation"  # the type of the notice that remembers the generation
PREFIX = "correction/"  # of the ids of corrections
REASON = "correction"
SUBJECTS_PER_READ = 200
FACTS_PER_READ = 500
ROWS_COMPARED_PER_READ = 5_000
POSITIONS_PER_READ = 1_000
LAST_ORDINAL = 2**31 - 1
VALUE_COLUMNS = {"accounts": "available", "tiers": "tier", "order_items": "refund_due"}  # whose change is announced

READ_ANNOUNCED = "SELECT subject FROM outgoing.notices WHERE ledger_id = $1 AND endpoint_id = $2 AND type = $3"
READ_ACTIVE = """
    SELECT schema_name, current_schema() AS entered, promoted_at FROM projections.generations WHERE state = 'active'
"""
IS_THERE = "SELECT EXISTS (SELECT FROM projections.generations WHERE schema_name = $1 AND state <> 'dropping')"
DIFFERING_FACTS = """
    SELECT coalesce(o.position, n.position) AS at, coalesce(o.ordinal, n.ordinal) AS number
      FROM (SELECT * FROM {old}.facts WHERE ledger_id = $1 AND position <= $2 AND (position, ordinal) > ($3, $4)) o
      FULL JOIN (SELECT * FROM {new}.facts
                  WHERE ledger_id = $1 AND position <= $2 AND (position, ordinal) > ($3, $4)) n
        ON n.position = o.position AND n.ordinal = o.ordinal
     WHERE (o.kind, o.subject_kind, o.subject, o.body, o.occurred_at)
           IS DISTINCT FROM (n.kind, n.subject_kind, n.subject, n.body, n.occurred_at)
     ORDER BY 1, 2 LIMIT $5
"""
READ_FACTS = """
    SELECT position, ordinal, subject_kind, subject, kind, occurred_at, untimed, body FROM {schema}.facts
     WHERE ledger_id = $1 AND (position, ordinal) IN (SELECT * FROM unnest($2::bigint[], $3::int[]))
"""
DIFFERING_SUBJECTS = """
    SELECT DISTINCT coalesce(o.subject, n.subject) AS subject
      FROM (SELECT * FROM {old}.{table} WHERE ledger_id = $1 AND subject > $2 AND ($3::text IS NULL OR subject <= $3)) o
      FULL JOIN (SELECT * FROM {new}.{table}
                  WHERE ledger_id = $1 AND subject > $2 AND ($3::text IS NULL OR subject <= $3)) n ON n.{key} = o.{key}
     WHERE o.{value} IS DISTINCT FROM n.{value}
     ORDER BY 1 LIMIT $4
"""
RANGE_END = """
    SELECT subject FROM {new}.{table} WHERE ledger_id = $1 AND subject > $2 ORDER BY subject OFFSET $3 LIMIT 1
"""
OLD_ROWS = "SELECT * FROM {old}.{table} WHERE ledger_id = $1 AND subject = ANY ($2)"
TOUCHED_LATER = """
    SELECT DISTINCT subject FROM {old}.facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3) AND position > $4
"""
ARE_SENT = "SELECT subject FROM outgoing.notices WHERE ledger_id = $1 AND endpoint_id = $2 AND subject = ANY ($3)"
FORGET = "DELETE FROM outgoing.notices WHERE ledger_id = $1 AND endpoint_id = $2 AND (type = $3 OR subject LIKE $4)"
REMEMBER = "INSERT INTO outgoing.notices (ledger_id, endpoint_id, type, subject) VALUES ($1, $2, $3, $4)"

_log = logging.getLogger(__name__)


class AnnouncedGeneration(NamedTuple):
    """Names of schemas: whose rows were announced (None: nothing yet), which is active, which the session reads."""

    announced: str | None
    active: str
    entered: str
    promoted_at: datetime

    @property
    def is_announced(self) -> bool:
        """True if the feed may be read: all corrections of the active generation are sent."""
        return self.announced == self.active == self.entered


class CorrectionProgress(NamedTuple):
    """How far the corrections are read: facts up to a place, then the rows of each watch up to a subject."""

    position: int = 0
    ordinal: int = -1
    watch: int = -1  # number of the watch; -1 while facts are read
    subject: str = ""


async def read_generations(connection: Connection, endpoint: Endpoint) -> AnnouncedGeneration:
    """Read which generation an endpoint knows, and which is active."""
    ids = endpoint.ledger.ledger_id, endpoint.endpoint_id
    announced = await connection.fetchval(READ_ANNOUNCED, *ids, GENERATION)
    return AnnouncedGeneration(announced, *await connection.fetchrow(READ_ACTIVE))


async def set_announced(connection: Connection, endpoint: Endpoint, generation: str) -> None:
    """Remember that all corrections of a generation are sent."""
    ids = endpoint.ledger.ledger_id, endpoint.endpoint_id
    async with connection.transaction():
        await connection.execute(FORGET, *ids, GENERATION, f"{PREFIX}%")
        await connection.execute(REMEMBER, *ids, GENERATION, generation)


async def read_corrections(
    connection: Connection,
    endpoint: Endpoint,
    generations: AnnouncedGeneration,
    known: int,
    progress: CorrectionProgress,
) -> tuple[list[Notice], CorrectionProgress | None]:
    """Read the next corrections of what an endpoint knows up to the position `known`.

    Return them and where to go on; None at the end. Those that were sent are left out.
    """
    assert generations.announced is not None
    if not await connection.fetchval(IS_THERE, generations.announced):
        _log.warning("endpoint %s gets no corrections: %s is dropped", endpoint.endpoint_id, generations.announced)
        return [], None
    following: CorrectionProgress | None
    if progress.watch < 0:
        messages, following = await _correct_facts(connection, endpoint, generations, known, progress)
    else:
        messages, following = await _correct_rows(connection, endpoint, generations, known, progress)
    asked = (endpoint.ledger.ledger_id, endpoint.endpoint_id, [one.identifier for one in messages])
    sent = {row["subject"] for row in await connection.fetch(ARE_SENT, *asked)} if messages else set()
    notices = [Notice(one.identifier, None, one) for one in messages if one.identifier not in sent]
    return notices, following


async def _correct_facts(
    connection: Connection,
    endpoint: Endpoint,
    generations: AnnouncedGeneration,
    known: int,
    progress: CorrectionProgress,
) -> tuple[list[Message], CorrectionProgress]:
    first_watch = progress._replace(watch=0)
    if not {FACT_RECORDED, FACT_RETRACTED} & {*endpoint.types}:
        return [], first_watch
    ledger_id = endpoint.ledger.ledger_id
    names = {"old": checked_schema_name(generations.announced or ""), "new": checked_schema_name(generations.active)}
    upto = min(known, progress.position + POSITIONS_PER_READ)
    asked = (ledger_id, upto, progress.position, progress.ordinal, FACTS_PER_READ)
    rows = await connection.fetch(DIFFERING_FACTS.format(**names), *asked)
    if not rows:
        return [], first_watch if upto == known else CorrectionProgress(upto, LAST_ORDINAL)
    places = [row["at"] for row in rows], [row["number"] for row in rows]
    messages: list[Message] = []
    for kind, schema in ((FACT_RETRACTED, names["old"]), (FACT_RECORDED, names["new"])):
        found = await connection.fetch(READ_FACTS.format(schema=schema), ledger_id, *places)
        facts = sorted(map(fact_of_row, found), key=lambda fact: fact[:2])
        messages += [
            _fact_message(generations, kind, fact)
            for fact in facts
            if kind in endpoint.types and (not endpoint.kinds or fact.kind in endpoint.kinds)
        ]
    return messages, progress._replace(position=places[0][-1], ordinal=places[1][-1])


def _fact_message(generations: AnnouncedGeneration, kind: str, fact: FeedFact) -> Message:
    identifier = f"{_prefix(generations)}/{kind}/{fact.position}/{fact.ordinal}"
    return Message(None, identifier, kind, fact.path, generations.promoted_at, None, fact.data(correction=True))


async def _correct_rows(
    connection: Connection,
    endpoint: Endpoint,
    generations: AnnouncedGeneration,
    known: int,
    progress: CorrectionProgress,
) -> tuple[list[Message], CorrectionProgress | None]:
    watches = [watch for watch in WATCHES.values() if watch.type in endpoint.types]
    if progress.watch >= len(watches):
        return [], None
    watch, ledger_id = watches[progress.watch], endpoint.ledger.ledger_id
    next_watch = progress._replace(watch=progress.watch + 1, subject="")
    names = {
        "old": checked_schema_name(generations.announced or ""),
        "new": checked_schema_name(generations.active),
        "table": watch.table,
        "key": watch.key or "subject",
        "value": VALUE_COLUMNS[watch.table],
    }
    first = (ledger_id, progress.subject)
    try:
        end = await connection.fetchval(RANGE_END.format(**names), *first, ROWS_COMPARED_PER_READ)
        rows = await connection.fetch(DIFFERING_SUBJECTS.format(**names), *first, end, SUBJECTS_PER_READ)
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        return [], next_watch  # the earlier generation does not have them
    subjects = [row["subject"] for row in rows]
    if not subjects:
        return [], next_watch if end is None else progress._replace(subject=end)
    before = await _rows_before(connection, ledger_id, watch, names, subjects, known)
    after = await _fold_known(connection, ledger_id, watch, subjects, known)
    messages = []
    for key in sorted(before.keys() | after.keys()):
        data = watch.describe(before.get(key), after.get(key), ())
        if data is not None:
            messages.append(_row_message(generations, watch, key, data, known))
    return messages, progress._replace(subject=subjects[-1])


async def _rows_before(
    connection: Connection,
    ledger_id: int,
    watch: Watch,
    names: Mapping[str, Any],
    subjects: Sequence[str],
    known: int,
) -> Rows:
    """Return the rows of the earlier generation as known at a position."""
    asked = (ledger_id, watch.projection.subject, subjects, known)
    later = [row["subject"] for row in await connection.fetch(TOUCHED_LATER.format(**names), *asked)]
    untouched = [subject for subject in subjects if subject not in later]
    stored = await connection.fetch(OLD_ROWS.format(**names), ledger_id, untouched)
    rows: dict[str, Any] = {row[names["key"]]: SimpleNamespace(**row) for row in stored}
    if later:
        async with connection.transaction(), in_schema(connection, names["old"]):
            rows.update(await _fold_known(connection, ledger_id, watch, later, known))
    return rows


async def _fold_known(
    connection: Connection, ledger_id: int, watch: Watch, subjects: Sequence[str], known: int
) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for one in await load_known(connection, ledger_id, watch.projection, subjects, AsOf(position=known)):
        folded = fold_until_failure(watch.projection, one.root, one.facts, one.terms)
        rows.update(rows_by_key(watch, one.root, folded.rows))
    return rows


def _row_message(
    generations: AnnouncedGeneration, watch: Watch, key: str, data: Mapping[str, Any], known: int
) -> Message:
    full = {"position": known, **data, **({"reason": REASON} if "reason" in data else {})}
    identifier = f"{_prefix(generations)}/{watch.type}/{key}"
    subject = f"{watch.projection.subject}/{key}"
    return Message(None, identifier, watch.type, subject, generations.promoted_at, None, encode_json(full).strip())


def _prefix(generations: AnnouncedGeneration) -> str:
    """Return the begin of ids. The time distinguishes a promotion from a second one of the same generation."""
    at = int(generations.promoted_at.timestamp() * 1_000_000)
    return f"{PREFIX}{generations.active}/{at}"
