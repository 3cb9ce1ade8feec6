"""Export a whole ledger as lines of JSON, from which ledger/store/restore.py makes an equal ledger.

The lines are, in this order:

1. a header about the ledger;
2. each event, with its entry as the exact text that is hashed;
3. side records: persons' keys, lookup hashes, erasures, the access log;
4. a trailer with the root of the Merkle tree over all entries. A file without it is truncated.

Personal parts are exported encrypted, as they are stored. Keys of persons are exported only on request, wrapped by the
master key as they are stored.
"""

from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import datetime

import msgspec

from ledger.database import Connection
from ledger.merkle import Frontier
from ledger.privacy.encryption import MasterKey
from ledger.store.read import StoredEvent, stored_events_between, tail
from ledger.store.registry import Ledger

FORMAT = "loyalty-ledger-export/2"
READ_FORMATS = ("loyalty-ledger-export/1", FORMAT)  # files of format 1 hold no access log
EVENTS_PER_READ = 1_000
LINE_BYTES_MAX = 32 * 1024 * 1024  # the longest body, its parts encrypted and in base64

PARTS = """
    SELECT position, subject, key_id, ciphertext, commitment FROM ledger.personal
     WHERE ledger_id = $1 AND position > $2 AND position <= $3 ORDER BY position, subject
"""
KEYS = "SELECT subject, key_id, wrapped FROM ledger.personal_keys WHERE ledger_id = $1 ORDER BY subject"
LOOKUP_HASHES = "SELECT blind, subject FROM ledger.personal_index WHERE ledger_id = $1 ORDER BY blind, subject"
ERASURES = "SELECT erasure, subject, erased_at FROM ledger.erasures WHERE ledger_id = $1 ORDER BY erasure"

ACCESSES = "SELECT access, at, key_id, what, why FROM ledger.access WHERE ledger_id = $1 ORDER BY access"


class ExportHeader(msgspec.Struct, frozen=True, tag_field="line", tag="ledger"):
    """The exported ledger. `master_key` is the name of the key that wraps the persons' keys; it does not reveal the
    key.
    """

    format: str
    ledger: str
    ledger_id: int
    events: int
    master_key: str
    with_keys: bool


class ExportedPart(msgspec.Struct, frozen=True):
    """The encrypted personal values of one person in one delivery."""

    subject: str
    key_id: bytes
    ciphertext: bytes
    commitment: bytes


class ExportedEvent(msgspec.Struct, frozen=True, tag_field="line", tag="event", omit_defaults=True):
    """One event. Fields of the entry are not repeated. `payload` is None unless the event holds its delivery's body."""

    entry: str
    leaf_hash: bytes
    event_key: bytes
    variant: bytes
    delivery_position: int
    payload: str | None = None
    parts: tuple[ExportedPart, ...] = ()


class ExportedPersonKey(msgspec.Struct, frozen=True, tag_field="line", tag="key"):
    subject: str
    key_id: bytes
    wrapped: bytes


class ExportedLookupHash(msgspec.Struct, frozen=True, tag_field="line", tag="blind"):
    """A keyed hash of an identifier, to look up a person."""

    blind: bytes
    subject: str


class ExportedErasure(msgspec.Struct, frozen=True, tag_field="line", tag="erasure"):
    erasure: int
    subject: str
    erased_at: datetime


class ExportedAccess(msgspec.Struct, frozen=True, tag_field="line", tag="access"):
    """One entry of the access log: the use of personal values, or a change by an API key or a command."""

    access: int
    at: datetime
    key_id: str
    what: str
    why: str


class ExportTrailer(msgspec.Struct, frozen=True, tag_field="line", tag="end"):
    """The number of events, and the root over their entries (ledger/merkle.py)."""

    events: int
    root: bytes


SideRecord = ExportedPersonKey | ExportedLookupHash | ExportedErasure | ExportedAccess
ExportLine = ExportHeader | ExportedEvent | SideRecord | ExportTrailer


async def export_ledger(
    connection: Connection, master_key: MasterKey, ledger: Ledger, *, with_keys: bool
) -> AsyncIterator[list[bytes]]:
    """Yield the lines of a ledger in blocks, each line with its newline. Memory use does not grow with the ledger."""
    ledger_id = ledger.ledger_id
    last = await tail(connection, ledger_id)
    yield [_line(ExportHeader(FORMAT, ledger.name, ledger_id, last, master_key.name, with_keys))]
    frontier = Frontier()
    for after in range(0, last, EVENTS_PER_READ):
        events = await exported_events(connection, ledger_id, after, min(after + EVENTS_PER_READ, last))
        for _ in frontier.extend(b"".join(event.leaf_hash for event in events)):
            pass
        yield [_line(event) for event in events]
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for line in side_records(connection, ledger_id, with_keys=with_keys):
            yield [_line(line)]
    yield [_line(ExportTrailer(last, frontier.root()))]


async def exported_events(connection: Connection, ledger_id: int, after: int, upto: int) -> list[ExportedEvent]:
    """Read the events after a position up to another, with their encrypted parts."""
    events = await stored_events_between(connection, ledger_id, after, upto)
    parts: dict[int, list[ExportedPart]] = defaultdict(list)
    for position, *part in await connection.fetch(PARTS, ledger_id, after, upto):
        parts[position].append(ExportedPart(*part))
    return [_exported_event(event, parts.get(event.position, [])) for event in events]


def _exported_event(event: StoredEvent, parts: list[ExportedPart]) -> ExportedEvent:
    return ExportedEvent(
        entry=event.entry.decode(),
        leaf_hash=event.leaf_hash,
        event_key=event.event_key,
        variant=event.variant,
        delivery_position=event.delivery_position,
        payload=None if event.payload is None else event.payload.decode(),
        parts=tuple(parts),
    )


async def side_records(connection: Connection, ledger_id: int, *, with_keys: bool) -> AsyncIterator[SideRecord]:
    """Read the side records. Call it inside a transaction with one snapshot, or under the ledger's lock.

    An erasure deletes a key and its lookup hashes together.
    """
    if with_keys:
        async for row in connection.cursor(KEYS, ledger_id):
            yield ExportedPersonKey(*row)
        async for row in connection.cursor(LOOKUP_HASHES, ledger_id):
            yield ExportedLookupHash(*row)
    async for row in connection.cursor(ERASURES, ledger_id):
        yield ExportedErasure(*row)
    async for row in connection.cursor(ACCESSES, ledger_id):
        yield ExportedAccess(*row)


def _line(line: ExportLine) -> bytes:
    return _ENCODER.encode(line) + b"\n"


_ENCODER = msgspec.json.Encoder()
EXPORT_LINES = msgspec.json.Decoder(ExportLine)
