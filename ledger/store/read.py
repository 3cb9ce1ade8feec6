"""Read events by position: the only SELECT on ledger.events. A reader needs `position > n` and nothing else (invariant
2).
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import EventsChanged, PositionUnknown
from ledger.events import Event
from ledger.intake.identify import KEY_BYTES
from ledger.merkle import leaf_hash

BYTES_PER_READ_MAX = 16 * 1024 * 1024
BODIES_PER_READ = 16  # of up to 1 MiB each

TAIL = "SELECT coalesce(max(position), 0) FROM ledger.events WHERE ledger_id = $1"

# Later events of a delivery have no body of their own; the first event holds it. The rows end where the bodies before
# reach $4 bytes, after one row at least. octet_length does not read the body itself.
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
           ''::bytea AS payload
      FROM ledger.events e
     WHERE e.ledger_id = $1 AND e.event_key >= $2 AND e.event_key < $3
     ORDER BY e.position
"""

CONFLICTING_EVENTS_OF_KIND = """
    SELECT e.position, e.source, e.org, e.kind, e.event_key, e.content, e.occurred_at, e.recorded_at, e.ordinal,
           ''::bytea AS payload
      FROM (SELECT DISTINCT substr(event_key, 1, 16) AS event_key FROM ledger.events
             WHERE ledger_id = $1 AND source = $2 AND kind = $3 AND position <= $4 AND octet_length(event_key) > 16) c
      JOIN ledger.events e ON e.ledger_id = $1 AND e.position <= $4 AND e.event_key >= c.event_key
                          AND e.event_key <= c.event_key || decode(repeat('ff', 16), 'hex')
     ORDER BY c.event_key, e.position
"""

# Internal events have no connection ("-"). The index on the connection finds them.
INTERNAL_EVENTS_AFTER = """
    SELECT position, source, org, kind, event_key, content, occurred_at, recorded_at, ordinal, payload
      FROM ledger.events WHERE ledger_id = $1 AND connection_id = '-' AND kind = $2 AND position > $3 ORDER BY position
"""

CONFLICTS = """
    SELECT DISTINCT substr(event_key, 1, 16) AS event_key FROM ledger.events
     WHERE ledger_id = $1 AND position <= $2 AND octet_length(event_key) > 16
"""

# For each key only the first event in conflict: the index shows whether an earlier one of the same key exists.
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
    """One row of ledger.events. `payload` is None if the first event of the delivery holds the body."""

    entry: bytes
    leaf_hash: bytes
    event_key: bytes
    variant: bytes
    position: int
    delivery_position: int
    payload: bytes | None


class FirstConflict(NamedTuple):
    """The first conflict of an event key."""

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
    """Return the last position of a ledger, which is also the number of its events. 0 if the ledger is empty."""
    position: int = await connection.fetchval(TAIL, ledger_id)
    return position


async def events_after(
    connection: Connection, ledger_id: int, position: int, limit: int, bytes_max: int = BYTES_PER_READ_MAX
) -> list[Event]:
    """Read the next events after a position: at most `limit`, and about `bytes_max` of bodies.

    May return fewer, but returns no empty list before the end of the ledger. Events of one delivery share one body.
    """
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
    """Yield the events after position `after` up to position `last`, in blocks."""
    while after < last:
        events = await events_after(connection, ledger_id, after, min(per_read, last - after))
        if not events:
            return
        yield events
        after = events[-1].position


async def event_at(connection: Connection, ledger_id: int, position: int) -> Event:
    """Read one event. Raises PositionUnknown if the ledger has no such position."""
    events = await events_after(connection, ledger_id, position - 1, 1)
    if not events:
        raise PositionUnknown(position)
    return events[0]


async def stored_events_between(connection: Connection, ledger_id: int, after: int, last: int) -> list[StoredEvent]:
    """Read the rows of events after position `after` up to position `last`."""
    return [StoredEvent(*row) for row in await connection.fetch(STORED_EVENTS, ledger_id, after, last)]


async def leaf_hashes(connection: Connection, ledger_id: int, after: int, last: int) -> bytes:
    """Hash the entries after position `after` up to position `last`. Return 32 bytes each, joined into one string.

    Raises EventsChanged if an event is missing, or an entry does not have its stored leaf hash.
    """
    rows = await connection.fetch(ENTRIES_AND_HASHES, ledger_id, after, last)
    if len(rows) != last - after:
        raise EventsChanged(f"{last - after - len(rows)} missing of positions {after + 1} to {last}")
    # Hashed from the entries, because no hash that was stored earlier is trusted here. OpenSSL hashes five times faster
    # than PostgreSQL.
    hashes = [leaf_hash(row[0]) for row in rows]
    for index, (hashed, row) in enumerate(zip(hashes, rows, strict=True)):
        if hashed != row[1]:
            raise EventsChanged(f"position {after + 1 + index} does not have its hash")
    return b"".join(hashes)


async def entries_between(connection: Connection, ledger_id: int, after: int, last: int) -> list[bytes]:
    """Read the entries after position `after` up to position `last`."""
    return [row["entry"] for row in await connection.fetch(ENTRIES, ledger_id, after, last)]


async def events_with_key(connection: Connection, ledger_id: int, event_key: bytes) -> list[Event]:
    """Read all events of an event key, also those in conflict, by position. `event_key` has 16 bytes.

    Their `payload` is empty: one key may have thousands of large bodies. `with_bodies` reads the needed ones.
    """
    after = (int.from_bytes(event_key, "big") + 1).to_bytes(len(event_key) + 1, "big")[1:]
    return [Event(*row) for row in await connection.fetch(EVENTS_WITH_KEY, ledger_id, event_key, after)]


async def conflicting_events_of_kind(
    connection: Connection, ledger_id: int, source: str, kind: str, last: int
) -> list[Event]:
    """Read the events of a kind, up to position `last`, that share their key with another event. Ordered by key.

    Their `payload` is empty, see `with_bodies`.
    """
    return [Event(*row) for row in await connection.fetch(CONFLICTING_EVENTS_OF_KIND, ledger_id, source, kind, last)]


async def internal_events_after(connection: Connection, ledger_id: int, kind: str, position: int) -> list[Event]:
    """Read the internal events of a kind after a position, in order."""
    return [Event(*row) for row in await connection.fetch(INTERNAL_EVENTS_AFTER, ledger_id, kind, position)]


async def conflicting_keys(connection: Connection, ledger_id: int, last: int) -> set[bytes]:
    """Return the event keys with more than one content, up to position `last`."""
    return {row["event_key"] for row in await connection.fetch(CONFLICTS, ledger_id, last)}


async def first_conflicts_after(
    connection: Connection, ledger_id: int, position: int, limit: int, by: datetime
) -> list[FirstConflict]:
    """List event keys with more than one content, ordered by the position of their first conflict.

    Only conflicts after `position` that were recorded at or before `by` are listed.
    """
    rows = await connection.fetch(FIRST_CONFLICTS_AFTER, ledger_id, position, limit, by)
    return [FirstConflict(*row) for row in rows]


async def events_without_bodies(
    connection: Connection, ledger_id: int, event_keys: Sequence[bytes]
) -> dict[bytes, list[Event]]:
    """Read all events of each event key of 16 bytes, ordered by position. Their `payload` is empty."""
    found: dict[bytes, list[Event]] = {key: [] for key in event_keys}
    for row in await connection.fetch(EVENTS_WITHOUT_BODIES, ledger_id, list(event_keys)):
        event = Event(*row)
        found[event.event_key[:KEY_BYTES]].append(event)
    return found


async def bodies(connection: Connection, ledger_id: int, positions: Sequence[int]) -> dict[int, bytes]:
    """Read the bodies of events, keyed by position."""
    return {row[0]: row[1] for row in await connection.fetch(BODIES, ledger_id, list(positions))}


async def with_bodies(connection: Connection, ledger_id: int, events: Sequence[Event]) -> AsyncIterator[list[Event]]:
    """Read the bodies of events that were read without; yield the events in the same order, in bounded blocks."""
    for start in range(0, len(events), BODIES_PER_READ):
        block = events[start : start + BODIES_PER_READ]
        found = await bodies(connection, ledger_id, [event.position for event in block])
        yield [event._replace(payload=found[event.position]) for event in block]


async def conflicts_of_kind(connection: Connection, ledger_id: int, source: str, kind: str, last: int) -> list[bytes]:
    """Return the keys of events of a kind that were appended as conflicts, up to position `last`. Each has 32 bytes."""
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
    """List events after a position that match all given filters, without bodies. None means no filter."""
    rows = await connection.fetch(EVENT_HEADERS, ledger_id, position, kind, source, since, until, positions, limit)
    return [EventHeader(*row) for row in rows]
