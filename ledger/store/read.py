"""The only SELECT on ledger.events: by position, in order. Readers need `position > n` and nothing else (law 2)."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import EventsChanged, PositionUnknown
from ledger.intake.identify import KEY_BYTES
from ledger.intake.interpret import Event
from ledger.merkle import leaf_hash

EVENTS_PER_READ_MAX = 10_000
BYTES_PER_READ_MAX = 16 * 1024 * 1024

TAIL = "SELECT coalesce(max(position), 0) FROM ledger.events WHERE ledger_id = $1"

# The body of a later event of a delivery stands with the first. No more events than those whose bodies come to $4
# bytes, but one at least: how long a body is stands beside it, and is known without reading it.
AFTER = """
    SELECT position, source, org, kind, event_key, content, occurred_at, recorded_at, ordinal, payload,
           delivery_position
      FROM (SELECT position, source, org, kind, event_key, content, occurred_at, recorded_at, ordinal, payload,
                   delivery_position, coalesce(sum(octet_length(payload)) OVER (
                       ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS bytes_before
              FROM ledger.events WHERE ledger_id = $1 AND position > $2 AND position <= $3) e
     WHERE bytes_before < $4
     ORDER BY position
"""
BODY = "SELECT payload FROM ledger.events WHERE ledger_id = $1 AND position = $2"

EVENTS_WITH_KEY = """
    SELECT e.position, e.source, e.org, e.kind, e.event_key, e.content, e.occurred_at, e.recorded_at, e.ordinal,
           coalesce(e.payload, (SELECT body.payload FROM ledger.events body
                                 WHERE body.ledger_id = e.ledger_id AND body.position = e.delivery_position)) AS payload
      FROM ledger.events e
     WHERE e.ledger_id = $1 AND e.event_key >= $2 AND e.event_key < $3
     ORDER BY e.position
"""

CONFLICTING_EVENTS_OF_KIND = """
    SELECT e.position, e.source, e.org, e.kind, e.event_key, e.content, e.occurred_at, e.recorded_at, e.ordinal,
           coalesce(e.payload, (SELECT body.payload FROM ledger.events body
                                 WHERE body.ledger_id = e.ledger_id AND body.position = e.delivery_position)) AS payload
      FROM (SELECT DISTINCT substr(event_key, 1, 16) AS event_key FROM ledger.events
             WHERE ledger_id = $1 AND source = $2 AND kind = $3 AND position <= $4 AND octet_length(event_key) > 16) c
      JOIN ledger.events e ON e.ledger_id = $1 AND e.position <= $4 AND e.event_key >= c.event_key
                          AND e.event_key <= c.event_key || decode(repeat('ff', 16), 'hex')
     ORDER BY c.event_key, e.position
"""

# Our own acts came over no connection, which is the index they are found by.
INTERNAL_EVENTS_AFTER = """
    SELECT position, source, org, kind, event_key, content, occurred_at, recorded_at, ordinal, payload
      FROM ledger.events WHERE ledger_id = $1 AND connection_id = '-' AND kind = $2 AND position > $3 ORDER BY position
"""

CONFLICTS = """
    SELECT DISTINCT substr(event_key, 1, 16) AS event_key FROM ledger.events
     WHERE ledger_id = $1 AND position <= $2 AND octet_length(event_key) > 16
"""

# Of each key the first event in conflict: one look at the index finds an earlier one of the same key, if there is any.
FIRST_CONFLICTS_AFTER = """
    SELECT c.position, substr(c.event_key, 1, 16) AS event_key, c.source, c.kind, c.recorded_at FROM ledger.events c
     WHERE c.ledger_id = $1 AND c.position > $2 AND octet_length(c.event_key) > 16
       AND NOT EXISTS (SELECT FROM ledger.events e
                        WHERE e.ledger_id = $1 AND e.event_key > substr(c.event_key, 1, 16)
                          AND e.event_key <= substr(c.event_key, 1, 16) || decode(repeat('ff', 16), 'hex')
                          AND e.position < c.position)
       AND c.recorded_at <= $4
     ORDER BY c.position LIMIT $3
"""
EVENTS_WITHOUT_BODIES = """
    SELECT e.position, e.source, e.org, e.kind, e.event_key, e.content, e.occurred_at, e.recorded_at, e.ordinal,
           ''::bytea AS payload
      FROM unnest($2::bytea[]) AS k (event_key)
      JOIN ledger.events e ON e.ledger_id = $1 AND e.event_key >= k.event_key
                          AND e.event_key <= k.event_key || decode(repeat('ff', 16), 'hex')
     ORDER BY k.event_key, e.position
"""
BODIES = """
    SELECT e.position, coalesce(e.payload, (SELECT body.payload FROM ledger.events body
                                             WHERE body.ledger_id = $1 AND body.position = e.delivery_position))
      FROM ledger.events e WHERE e.ledger_id = $1 AND e.position = ANY ($2)
"""

CONFLICTS_OF_KIND = """
    SELECT event_key FROM ledger.events
     WHERE ledger_id = $1 AND source = $2 AND kind = $3 AND position <= $4 AND octet_length(event_key) > 16
"""

EVENT_HEADERS = """
    SELECT position, connection_id, source, org, kind, event_key, content, occurred_at, recorded_at,
           delivery_position, ordinal, entry, leaf_hash
      FROM ledger.events
     WHERE ledger_id = $1 AND position > $2 AND ($3::text IS NULL OR kind = $3) AND ($4::text IS NULL OR source = $4)
       AND ($5::timestamptz IS NULL OR occurred_at >= $5) AND ($6::timestamptz IS NULL OR occurred_at < $6)
       AND ($7::bigint[] IS NULL OR position = ANY ($7))
     ORDER BY position LIMIT $8
"""

ENTRIES_AND_HASHES = """
    SELECT entry, leaf_hash FROM ledger.events
     WHERE ledger_id = $1 AND position > $2 AND position <= $3 ORDER BY position
"""
ENTRIES = "SELECT entry FROM ledger.events WHERE ledger_id = $1 AND position > $2 AND position <= $3 ORDER BY position"


STORED_EVENTS = """
    SELECT entry, leaf_hash, event_key, variant, position, delivery_position, payload FROM ledger.events
     WHERE ledger_id = $1 AND position > $2 AND position <= $3 ORDER BY position
"""


class StoredEvent(NamedTuple):
    """One event as it is kept; `payload` is None where the body stands with the first event of its delivery."""

    entry: bytes
    leaf_hash: bytes
    event_key: bytes
    variant: bytes
    position: int
    delivery_position: int
    payload: bytes | None


class FirstConflict(NamedTuple):
    """The first event in conflict with another of its key."""

    position: int
    event_key: bytes  # 16 bytes
    source: str
    kind: str
    recorded_at: datetime


class EventHeader(NamedTuple):
    """One event without its body."""

    position: int
    connection_id: str
    source: str
    org: str
    kind: str
    event_key: bytes
    content: bytes
    occurred_at: datetime | None
    recorded_at: datetime
    delivery_position: int
    ordinal: int
    entry: bytes
    leaf_hash: bytes


async def tail(connection: Connection, ledger_id: int) -> int:
    """Give the last position of a ledger, which is also how many events it holds; 0 when it is empty."""
    position: int = await connection.fetchval(TAIL, ledger_id)
    return position


async def events_after(
    connection: Connection, ledger_id: int, position: int, limit: int, bytes_max: int = BYTES_PER_READ_MAX
) -> list[Event]:
    """Read the next events after a position, at most `limit`, and about `bytes_max` of bodies; fewer, but never none
    before the end of the ledger. The events of one delivery share one body."""
    events: list[Event] = []
    delivery, body = 0, b""
    for row in await connection.fetch(AFTER, ledger_id, position, position + limit, bytes_max):
        event = Event(*row[:10])
        if event.payload is not None:
            delivery, body = event.position, event.payload
        else:
            if row[10] != delivery:
                delivery, body = row[10], await connection.fetchval(BODY, ledger_id, row[10])
            event = event._replace(payload=body)
        events.append(event)
    return events


async def events_between(
    connection: Connection, ledger_id: int, after: int, last: int, per_read: int = 2_000
) -> AsyncIterator[list[Event]]:
    """Read the events after one position and up to another, in blocks."""
    while after < last:
        events = await events_after(connection, ledger_id, after, min(per_read, last - after))
        if not events:
            return
        yield events
        after = events[-1].position


async def event_at(connection: Connection, ledger_id: int, position: int) -> Event:
    """Read one event. Raises PositionUnknown."""
    events = await events_after(connection, ledger_id, position - 1, 1)
    if not events:
        raise PositionUnknown(position)
    return events[0]


async def stored_events_between(connection: Connection, ledger_id: int, after: int, last: int) -> list[StoredEvent]:
    """Read the events after one position and up to another as they are kept."""
    return [StoredEvent(*row) for row in await connection.fetch(STORED_EVENTS, ledger_id, after, last)]


async def leaf_hashes(connection: Connection, ledger_id: int, after: int, last: int) -> bytes:
    """Hash the entries after one position and up to another; 32 bytes each, one after another in one string.

    Raises EventsChanged if some are missing, or do not have the leaf hash that was stored with them.
    """
    rows = await connection.fetch(ENTRIES_AND_HASHES, ledger_id, after, last)
    if len(rows) != last - after:
        raise EventsChanged(f"{last - after - len(rows)} missing of positions {after + 1} to {last}")
    # Made from the entries, here and now (OpenSSL does it five times faster than PostgreSQL): nothing that was derived
    # before is believed.
    hashes = [leaf_hash(row[0]) for row in rows]
    for place, (hashed, row) in enumerate(zip(hashes, rows, strict=True)):
        if hashed != row[1]:
            raise EventsChanged(f"position {after + 1 + place} does not have its hash")
    return b"".join(hashes)


async def entries_between(connection: Connection, ledger_id: int, after: int, last: int) -> list[bytes]:
    """Read the entries after one position and up to another."""
    return [row["entry"] for row in await connection.fetch(ENTRIES, ledger_id, after, last)]


async def events_with_key(connection: Connection, ledger_id: int, event_key: bytes) -> list[Event]:
    """Read all events that share an event key but not their content; `event_key` is its first 16 bytes."""
    after = (int.from_bytes(event_key, "big") + 1).to_bytes(len(event_key) + 1, "big")[1:]
    return [Event(*row) for row in await connection.fetch(EVENTS_WITH_KEY, ledger_id, event_key, after)]


async def conflicting_events_of_kind(
    connection: Connection, ledger_id: int, source: str, kind: str, last: int
) -> list[Event]:
    """Read all events of a kind up to a position of which another shares the key, those of one key together."""
    return [Event(*row) for row in await connection.fetch(CONFLICTING_EVENTS_OF_KIND, ledger_id, source, kind, last)]


async def internal_events_after(connection: Connection, ledger_id: int, kind: str, position: int) -> list[Event]:
    """Read the acts of ours of a kind after a position, in order."""
    return [Event(*row) for row in await connection.fetch(INTERNAL_EVENTS_AFTER, ledger_id, kind, position)]


async def conflicting_keys(connection: Connection, ledger_id: int, last: int) -> set[bytes]:
    """Give the event keys that more than one content was told for, up to a position."""
    return {row["event_key"] for row in await connection.fetch(CONFLICTS, ledger_id, last)}


async def first_conflicts_after(
    connection: Connection, ledger_id: int, position: int, limit: int, by: datetime
) -> list[FirstConflict]:
    """List event keys with more than one content, by the position of the first event in conflict: those after a
    position, recorded by a time."""
    rows = await connection.fetch(FIRST_CONFLICTS_AFTER, ledger_id, position, limit, by)
    return [FirstConflict(*row) for row in rows]


async def events_without_bodies(
    connection: Connection, ledger_id: int, event_keys: Sequence[bytes]
) -> dict[bytes, list[Event]]:
    """Read, for each event key of 16 bytes, all events that share it, by position. Their `payload` is empty."""
    found: dict[bytes, list[Event]] = {key: [] for key in event_keys}
    for row in await connection.fetch(EVENTS_WITHOUT_BODIES, ledger_id, list(event_keys)):
        event = Event(*row)
        found[event.event_key[:KEY_BYTES]].append(event)
    return found


async def bodies(connection: Connection, ledger_id: int, positions: Sequence[int]) -> dict[int, bytes]:
    """Read the bodies of events by position."""
    return {row[0]: row[1] for row in await connection.fetch(BODIES, ledger_id, list(positions))}


async def conflicts_of_kind(connection: Connection, ledger_id: int, source: str, kind: str, last: int) -> list[bytes]:
    """Give the keys, 32 bytes each, of the events of a kind that were appended as conflicts, up to a position."""
    return [row["event_key"] for row in await connection.fetch(CONFLICTS_OF_KIND, ledger_id, source, kind, last)]


async def event_headers_after(
    connection: Connection,
    ledger_id: int,
    position: int,
    limit: int,
    *,
    kind: str | None = None,
    source: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    positions: list[int] | None = None,
) -> list[EventHeader]:
    """List events after a position that fit all the filters given, without bodies."""
    rows = await connection.fetch(EVENT_HEADERS, ledger_id, position, kind, source, since, until, positions, limit)
    return [EventHeader(*row) for row in rows]
