"""Verify stored facts: derive the facts of events again, and compare. Nothing is written."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.facts import RecordedFact
from ledger.store.registry import Ledger
from projections.engine import store
from projections.engine.advance import REJECTED_REASON
from projections.rebuild.reread_events import EVENTS_PER_READ, RereadEvent, folded_positions, reread_between

RANGES_PER_SAMPLE = 20  # evenly spread ranges of events in a sample

READ_FACTS_BETWEEN = """
    SELECT position, subject_kind, subject, kind, tag, ordinal, body FROM facts
     WHERE ledger_id = $1 AND position > $2 AND position <= $3
"""
COUNT_FACTS_BY_BLOCK = "SELECT (position - 1) / $2::bigint, count(*) FROM facts WHERE ledger_id = $1 GROUP BY 1"
READ_FACTS_BY_KEY = """
    SELECT k.n, f.kind, f.body, f.position
      FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::smallint[], $6::bytea[], $7::smallint[])
           WITH ORDINALITY AS k (subject_kind, subject, occurred_at, rank, tag, ordinal, n)
      JOIN facts f ON f.ledger_id = $1 AND f.subject_kind = k.subject_kind AND f.subject = k.subject
           AND f.occurred_at = k.occurred_at AND f.rank = k.rank AND f.tag = k.tag AND f.ordinal = k.ordinal
"""


class Mismatch(NamedTuple):
    """One stored value that differs from the folded or derived one. Without a column, the whole row or fact differs."""

    ledger: str
    projection: str  # or "facts"
    subject: str
    table: str
    key: Mapping[str, Any]
    column: str | None
    stored: Any
    folded: Any
    positions: Sequence[int]


async def check_facts(
    connection: Connection, ledger: Ledger, last: int, sample: int | None, mismatches: list[Mismatch], *, plan: bool
) -> int:
    """Derive the facts of events again, and compare with the stored ones. Return the number of events.

    Each derived fact is looked up by its key. A block that holds more facts than were found is read completely.
    """
    folded = await folded_positions(connection, ledger, last)
    found: Counter[int] = Counter()
    checked = 0
    for after, upto in _sample_ranges(last, sample):
        async for events in reread_between(connection, ledger, after, upto, folded):
            derived = _derived_facts(events, REJECTED_REASON if plan else "")
            found.update(await _compare_with_stored(connection, ledger, derived, mismatches))
            checked += len(events)
    if sample is None:
        for block, count in await connection.fetch(COUNT_FACTS_BY_BLOCK, ledger.ledger_id, EVENTS_PER_READ):
            if count > found[block]:
                after = block * EVENTS_PER_READ
                async for events in reread_between(connection, ledger, after, after + EVENTS_PER_READ, folded):
                    mismatches += await _facts_without_event(connection, ledger, events)
    return checked


def _sample_ranges(last: int, sample: int | None) -> list[tuple[int, int]]:
    """Return the ranges of positions to read: spread evenly over the ledger, or all of it."""
    if sample is None or sample >= last:
        return [(0, last)] if last else []
    length = -(-sample // RANGES_PER_SAMPLE)
    starts = {round(number * (last - length) / (RANGES_PER_SAMPLE - 1)) for number in range(RANGES_PER_SAMPLE)}
    return [(start, start + length) for start in sorted(starts)]


def _derived_facts(events: Sequence[RereadEvent], unread_reason: str = "") -> list[RecordedFact]:
    """Return the facts of folded events. Events stored as unread for a reason that begins so are left out."""
    return [
        recorded
        for event in events
        if event.is_folded and (event.unread is None or not event.unread.startswith(unread_reason))
        for recorded in event.interpretation.facts
    ]


async def _compare_with_stored(
    connection: Connection, ledger: Ledger, derived: Sequence[RecordedFact], mismatches: list[Mismatch]
) -> list[int]:
    """Look up derived facts by their keys. Return the block number of each stored one."""
    rows = [store.fact_row(ledger.ledger_id, recorded) for recorded in derived]
    columns = [[row[index] for row in rows] for index in range(1, 7)]
    stored = {row["n"]: row for row in await connection.fetch(READ_FACTS_BY_KEY, ledger.ledger_id, *columns)}
    for n, row in enumerate(rows, 1):
        derived_fact = {"kind": row[9], "body": row[10].decode(), "position": row[7]}
        is_stored = n in stored
        stored_fact = (
            {"kind": stored[n]["kind"], "body": stored[n]["body"].decode(), "position": stored[n]["position"]}
            if is_stored
            else None
        )
        if stored_fact != derived_fact and not (stored_fact is not None and _is_same_fact(stored_fact, derived_fact)):
            mismatches.append(_fact_mismatch(ledger, row[1], row[2], row[7], row[6], stored_fact, derived_fact))
    return [(row["position"] - 1) // EVENTS_PER_READ for row in stored.values()]


def _is_same_fact(stored: Mapping[str, Any], derived: Mapping[str, Any]) -> bool:
    """Compare two facts by their decoded values, because an earlier version may have written a number differently."""
    if (stored["kind"], stored["position"]) != (derived["kind"], derived["position"]):
        return False
    return store.decode_fact(stored["kind"], stored["body"].encode()) == store.decode_fact(
        derived["kind"], derived["body"].encode()
    )


async def _facts_without_event(connection: Connection, ledger: Ledger, events: Sequence[RereadEvent]) -> list[Mismatch]:
    """Find the stored facts of a block of events that no event of the block gives."""
    derived_keys = {
        (recorded.fact.subject_kind, recorded.fact.subject, recorded.occurrence.event_tag, recorded.occurrence.ordinal)
        for recorded in _derived_facts(events)
    }
    rows = await connection.fetch(
        READ_FACTS_BETWEEN, ledger.ledger_id, events[0].event.position - 1, events[-1].event.position
    )
    return [
        _fact_mismatch(
            ledger, row["subject_kind"], row["subject"], row["position"], row["ordinal"],
            {"kind": row["kind"], "body": row["body"].decode(), "position": row["position"]}, None,
        )
        for row in rows
        if (row["subject_kind"], row["subject"], row["tag"], row["ordinal"]) not in derived_keys
    ]  # fmt: skip


def _fact_mismatch(
    ledger: Ledger, subject_kind: str, subject: str, position: int, ordinal: int, stored_fact: Any, derived_fact: Any
) -> Mismatch:
    key = {"position": position, "subject_kind": subject_kind, "ordinal": ordinal}
    return Mismatch(ledger.name, "facts", subject, "facts", key, None, stored_fact, derived_fact, (position,))
