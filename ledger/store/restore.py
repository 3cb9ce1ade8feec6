"""Restore an exported ledger: the other INSERT on ledger.events, for entries that were made elsewhere.

Theory of operation. Positions, entries and hashes are taken from the export and never made again. Columns are filled
from the entry itself, so a column cannot contradict its entry. Each event is checked against:

1. the hash of its entry;
2. the hash of its payload and the commitment to its personal parts, which the entry names;
3. the position before it;
4. at the end, the root over all entries.

So an altered, missing or inserted event is found, unless all later events were altered to match. Only a signed
checkpoint shows such an alteration: its root differs.

Invariant: at any time the ledger holds a prefix of the export. Blocks are written under the ledger's lock. Restoring
the same file again resumes an interrupted restore. A ledger that holds other events is not changed.

A restore inserts entries with past times. It needs the role of the database owner, because the service's role may not
insert such entries.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg
import msgspec

from ledger.database import Connection
from ledger.errors import ExportWrong, MasterKeyWrong
from ledger.events import Origin
from ledger.intake.identify import KEY_BYTES, identify
from ledger.merkle import Frontier, leaf_hash
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault, person_key_context
from ledger.store import read, registry
from ledger.store.export import (
    FORMAT,
    READ_FORMATS,
    ExportedAccess,
    ExportedErasure,
    ExportedEvent,
    ExportedLookupHash,
    ExportedPersonKey,
    ExportHeader,
    ExportTrailer,
    SideRecord,
)
from ledger.store.registry import Ledger
from ledger.vendors.personal_values import MARKER_TEXT

EVENTS_PER_BLOCK = 1_000

LOCK = "SELECT ledger.lock($1)"
EVENT_COLUMNS = (
    *("ledger_id", "position", "connection_id", "source", "org", "kind", "event_key", "content", "variant"),
    *("occurred_at", "recorded_at", "delivery_position", "ordinal", "payload", "entry", "leaf_hash"),
)
PART_COLUMNS = ("ledger_id", "position", "subject", "key_id", "ciphertext", "commitment")
ADD_KEY = """
    INSERT INTO ledger.personal_keys (ledger_id, subject, key_id, wrapped) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING
"""
ADD_LOOKUP_HASH = """
    INSERT INTO ledger.personal_index (ledger_id, blind, subject) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
ADD_ERASURE = """
    INSERT INTO ledger.erasures (ledger_id, erasure, subject, erased_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""
ADD_ACCESS = """
    INSERT INTO ledger.access (ledger_id, access, at, key_id, what, why) VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT DO NOTHING RETURNING true
"""
READ_ACCESSES = "SELECT at, key_id, what, why FROM ledger.access WHERE ledger_id = $1"
POSITIONS_WITH_PARTS = "SELECT DISTINCT position FROM ledger.personal WHERE ledger_id = $1 ORDER BY position"


class RestoredEntry(msgspec.Struct, frozen=True):
    """The fields of an entry. See ledger/intake/identify.py and the SQL function `ledger.append`."""

    connection: str
    content: str
    event_key: str
    kind: str
    occurred_at: datetime | None
    ordinal: int
    org: str
    payload_sha256: str
    position: int
    recorded_at: datetime
    source: str
    personal: str | None = None


class RestoredBody(NamedTuple):
    """The last restored body. Later events of its delivery refer to it."""

    position: int
    sha256: str
    personal: str | None


async def find_or_create_ledger(connection: Connection, header: ExportHeader, name: str) -> Ledger:
    """Find or create the ledger that an export is restored into. Raises ExportWrong for another format.

    A new ledger gets the exported ledger's number if it is free. Then keys and names derived from the number stay
    valid.
    """
    if header.format not in READ_FORMATS:
        raise ExportWrong(f"its format is {header.format}, this version reads up to {FORMAT}")
    for ledger in await registry.list_ledgers(connection):
        if ledger.name == name:
            return ledger
    return await registry.create_ledger(connection, name, wanted_id=header.ledger_id)


class LedgerRestore:
    """Restores one export, block by block."""

    def __init__(self, connection: Connection, header: ExportHeader, ledger: Ledger) -> None:
        self._connection = connection
        self._header = header
        self.ledger = ledger
        self.position = 0
        self._recorded_at: datetime | None = None
        self._frontier = Frontier()
        self._body = RestoredBody(0, "", None)
        self._accesses: set[tuple[object, ...]] | None = None  # in the access log; None: not read yet

    async def put(self, events: Sequence[ExportedEvent]) -> None:
        """Restore the next events, or compare them with those that are stored already.

        Raises ExportWrong; then no event of this block is stored.
        """
        ledger_id = self.ledger.ledger_id
        async with self._connection.transaction():
            await self._connection.execute(LOCK, ledger_id)
            stored, after = await read.tail(self._connection, ledger_id), self.position
            entries = [self._check_event(event) for event in events]
            known_count = max(0, min(stored, self.position) - after)
            stored_hashes = (
                await read.leaf_hashes(self._connection, ledger_id, after, after + known_count) if known_count else b""
            )
            if stored > self._header.events or stored_hashes != b"".join(
                event.leaf_hash for event in events[:known_count]
            ):
                raise ExportWrong(f"the ledger {self.ledger.name} holds other events")
            await self._write(list(zip(entries, events, strict=True))[known_count:])

    def _check_event(self, event: ExportedEvent) -> RestoredEntry:
        """Check an event against its entry, its body and the event before it. Raises ExportWrong."""
        text = event.entry.encode()
        try:
            entry = _ENTRIES.decode(text)
        except msgspec.DecodeError:
            raise ExportWrong(f"after position {self.position}: the entry is malformed") from None
        position = self.position + 1
        commitment = hashlib.sha256(b"".join(part.commitment for part in event.parts)).hexdigest()
        if event.payload is not None:
            payload_hash = hashlib.sha256(event.payload.encode()).hexdigest()
            self._body = RestoredBody(position, payload_hash, commitment if event.parts else None)
        mismatches = {
            "the hash of its entry": event.leaf_hash != leaf_hash(text),
            "its position": entry.position != position,
            "its payload": (event.delivery_position, entry.payload_sha256) != self._body[:2],
            "its personal parts": entry.personal != self._body.personal,
            "its key": event.event_key[:KEY_BYTES].hex() != entry.event_key
            or event.event_key[KEY_BYTES:] not in (b"", event.variant),
            "when it was recorded": self._recorded_at is not None and entry.recorded_at < self._recorded_at,
        }
        if any(mismatches.values()):
            names = ", ".join(name for name, is_wrong in mismatches.items() if is_wrong)
            raise ExportWrong(f"the event at position {position} does not agree in {names}")
        for _ in self._frontier.extend(event.leaf_hash):
            pass
        self.position, self._recorded_at = position, entry.recorded_at
        return entry

    async def _write(self, events: Sequence[tuple[RestoredEntry, ExportedEvent]]) -> None:
        ledger_id = self.ledger.ledger_id
        rows = [
            (
                *(ledger_id, entry.position, entry.connection, entry.source, entry.org, entry.kind, event.event_key),
                *(bytes.fromhex(entry.content), event.variant, entry.occurred_at, entry.recorded_at),
                *(event.delivery_position, entry.ordinal, None if event.payload is None else event.payload.encode()),
                *(event.entry.encode(), event.leaf_hash),
            )
            for entry, event in events
        ]
        parts = [
            (ledger_id, entry.position, part.subject, part.key_id, part.ciphertext, part.commitment)
            for entry, event in events
            for part in event.parts
        ]
        copy = self._connection.copy_records_to_table
        try:
            await copy("events", schema_name="ledger", records=rows, columns=EVENT_COLUMNS)
            await copy("personal", schema_name="ledger", records=parts, columns=PART_COLUMNS)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise ExportWrong(type(error).__name__) from None

    async def put_side_records(
        self, lines: Iterable[SideRecord], exporter_key: MasterKey, master_key: MasterKey
    ) -> None:
        """Restore persons' keys, lookup hashes, erasures and accesses. Keys are wrapped by our own master key.

        Raises MasterKeyWrong if `exporter_key` is not the master key that the export names.
        """
        ledger_id, connection = self.ledger.ledger_id, self._connection
        is_unchanged = ledger_id == self._header.ledger_id and master_key.name == self._header.master_key
        keys, lookups, erasures, accesses = [], [], [], []
        for line in lines:
            if isinstance(line, ExportedPersonKey):
                wrapped = line.wrapped if is_unchanged else self._rewrapped(line, exporter_key, master_key)
                keys.append((ledger_id, line.subject, line.key_id, wrapped))
            elif isinstance(line, ExportedLookupHash):
                lookups.append((ledger_id, line.blind, line.subject))
            elif isinstance(line, ExportedErasure):
                erasures.append((ledger_id, line.erasure, line.subject, line.erased_at))
            else:
                accesses.append(line)
        async with connection.transaction():
            await connection.executemany(ADD_KEY, keys)
            await connection.executemany(ADD_LOOKUP_HASH, lookups if is_unchanged else ())
            await connection.executemany(ADD_ERASURE, erasures)
            for access in accesses:
                await self._put_access(access)

    async def _put_access(self, line: ExportedAccess) -> None:
        """Add an entry to the access log, unless it is there.

        It gets its old number, but if the log has entries of this installation, then the next one.
        """
        ledger_id = self.ledger.ledger_id
        if self._accesses is None:
            self._accesses = {tuple(row) async for row in self._connection.cursor(READ_ACCESSES, ledger_id)}
        entry = (line.at, line.key_id, line.what, line.why)
        if entry in self._accesses:
            return
        self._accesses.add(entry)
        number = len(self._accesses)  # numbers have no gaps
        while not await self._connection.fetchval(ADD_ACCESS, ledger_id, number, *entry):
            number += 1

    def _rewrapped(self, line: ExportedPersonKey, exporter_key: MasterKey, master_key: MasterKey) -> bytes:
        if exporter_key.name != self._header.master_key:
            raise MasterKeyWrong(f"the keys are wrapped by {self._header.master_key}, ours is {exporter_key.name}")
        key = exporter_key.decrypt(line.wrapped, person_key_context(self._header.ledger_id, line.subject))
        return master_key.encrypt(key, person_key_context(self.ledger.ledger_id, line.subject))

    async def finish(self, trailer: ExportTrailer, master_key: MasterKey) -> None:
        """Check that nothing is missing, and index persons for look-up. Raises ExportWrong."""
        if (trailer.events, trailer.root) != (self.position, self._frontier.root()):
            raise ExportWrong(f"its last line names {trailer.events} events or another root than it holds")
        if self._header.with_keys and (self.ledger.ledger_id, master_key.name) != (
            self._header.ledger_id,
            self._header.master_key,
        ):
            await self._index_persons(Vault(master_key))

    async def _index_persons(self, vault: Vault) -> None:
        """Compute the lookup hashes again, because they depend on the master key and on the ledger's number."""
        ledger_id = self.ledger.ledger_id
        for row in await self._connection.fetch(POSITIONS_WITH_PARTS, ledger_id):
            event = await read.event_at(self._connection, ledger_id, row["position"])
            body = await vault.reveal(self._connection, ledger_id, event.position, event.payload)
            origin = Origin(self.ledger.name, "", event.source, event.kind, b"")
            lookups = [
                (ledger_id, vault.lookup_hash(ledger_id, kind, value), part.subject)
                for part in identify(origin, body).parts
                for kind, value in part.identifiers
                if value != MARKER_TEXT  # of an erased person
            ]
            await self._connection.executemany(ADD_LOOKUP_HASH, lookups)


_ENTRIES = msgspec.json.Decoder(RestoredEntry)
