"""Put an exported ledger back: the other INSERT on ledger.events, for entries that were made elsewhere.

Theory. Positions, entries and hashes are taken as they stand, never made anew: what the entry says is read off the
entry itself, so a column cannot say otherwise. Each line is held against what it must agree with: the hash of its
entry, the hash of its payload and the commitment to its parts that the entry names, the position before it, and at the
end the root over all entries. So what was altered, left out or put in between is found, unless everything after it was
altered with it; that only a signed checkpoint shows, which must have the same root.

Invariant: the ledger holds a prefix of the export at any moment, block by block under the ledger's lock. So what broke
off goes on when the file is put back again; a ledger that holds anything else is not touched. Backdating entries is not
for the role of the service: this needs the owner of the database.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg
import msgspec

from ledger.database import Connection
from ledger.errors import ExportWrong, MasterKeyWrong
from ledger.intake.identify import KEY_BYTES, Origin, identify
from ledger.locks import APPENDS
from ledger.merkle import Frontier, leaf_hash
from ledger.privacy.encryption import MasterKey
from ledger.privacy.redaction import MARKER_TEXT
from ledger.privacy.vault import Vault, person_key_context
from ledger.store import read, registry
from ledger.store.export import (
    FORMAT,
    ExportedErasure,
    ExportedEvent,
    ExportedLookupHash,
    ExportedPersonKey,
    ExportHeader,
    ExportTrailer,
    SideRecord,
)
from ledger.store.registry import Ledger

EVENTS_PER_BLOCK = 1_000

LOCK = "SELECT pg_advisory_xact_lock($1, $2)"
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
POSITIONS_WITH_PARTS = "SELECT DISTINCT position FROM ledger.personal WHERE ledger_id = $1 ORDER BY position"


class RestoredEntry(msgspec.Struct, frozen=True):
    """What an entry says: see ledger/intake/identify.py and the append function."""

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
    """The last delivered body that was put back: later events of its delivery name it."""

    position: int
    sha256: str
    personal: str | None


async def find_or_create_ledger(connection: Connection, header: ExportHeader, name: str) -> Ledger:
    """Find or make the ledger that an export is put back into; with the exported one's number where that is free, so
    that keys and names made with it stay good. Raises ExportWrong for another format."""
    if header.format != FORMAT:
        raise ExportWrong(f"its format is {header.format}, this version reads {FORMAT}")
    for ledger in await registry.list_ledgers(connection):
        if ledger.name == name:
            return ledger
    return await registry.create_ledger(connection, name, wanted_id=header.ledger_id)


class LedgerRestore:
    """Puts one export back, block by block."""

    def __init__(self, connection: Connection, header: ExportHeader, ledger: Ledger) -> None:
        self._connection = connection
        self._header = header
        self.ledger = ledger
        self.position = 0
        self._recorded_at: datetime | None = None
        self._frontier = Frontier()
        self._body = RestoredBody(0, "", None)

    async def put(self, events: Sequence[ExportedEvent]) -> None:
        """Put back the next events, or hold them against those that are there already.

        Raises ExportWrong, and then nothing of this block is put back.
        """
        ledger_id = self.ledger.ledger_id
        async with self._connection.transaction():
            await self._connection.execute(LOCK, APPENDS, ledger_id)
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
        """Hold an event against everything it must agree with. Raises ExportWrong."""
        text = event.entry.encode()
        try:
            entry = _ENTRIES.decode(text)
        except msgspec.DecodeError:
            raise ExportWrong(f"after position {self.position}: no entry") from None
        position = self.position + 1
        commitment = hashlib.sha256(b"".join(part.commitment for part in event.parts)).hexdigest()
        if event.payload is not None:
            payload_hash = hashlib.sha256(event.payload.encode()).hexdigest()
            self._body = RestoredBody(position, payload_hash, commitment if event.parts else None)
        mismatches = {
            "the hash of its entry": event.leaf_hash != leaf_hash(text),
            "its position": entry.position != position,
            "its payload": (event.delivery_position, entry.payload_sha256) != self._body[:2],
            "its sealed parts": entry.personal != self._body.personal,
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
        """Put back what the ledger held beside its events, persons' keys under our own master key.

        Raises MasterKeyWrong if `exporter_key` is not the one that the export names.
        """
        ledger_id, connection = self.ledger.ledger_id, self._connection
        is_unchanged = ledger_id == self._header.ledger_id and master_key.name == self._header.master_key
        async with connection.transaction():
            for line in lines:
                if isinstance(line, ExportedPersonKey):
                    wrapped = line.wrapped if is_unchanged else self._rewrapped(line, exporter_key, master_key)
                    await connection.execute(ADD_KEY, ledger_id, line.subject, line.key_id, wrapped)
                elif isinstance(line, ExportedLookupHash) and is_unchanged:
                    await connection.execute(ADD_LOOKUP_HASH, ledger_id, line.blind, line.subject)
                elif isinstance(line, ExportedErasure):
                    await connection.execute(ADD_ERASURE, ledger_id, line.erasure, line.subject, line.erased_at)

    def _rewrapped(self, line: ExportedPersonKey, exporter_key: MasterKey, master_key: MasterKey) -> bytes:
        if exporter_key.name != self._header.master_key:
            raise MasterKeyWrong(f"the keys are wrapped by {self._header.master_key}, ours is {exporter_key.name}")
        key = exporter_key.decrypt(line.wrapped, person_key_context(self._header.ledger_id, line.subject))
        return master_key.encrypt(key, person_key_context(self.ledger.ledger_id, line.subject))

    async def finish(self, trailer: ExportTrailer, master_key: MasterKey) -> None:
        """See that nothing is missing, and let persons be looked up. Raises ExportWrong."""
        if (trailer.events, trailer.root) != (self.position, self._frontier.root()):
            raise ExportWrong(f"its last line is of {trailer.events} events and another root")
        if self._header.with_keys and (self.ledger.ledger_id, master_key.name) != (
            self._header.ledger_id,
            self._header.master_key,
        ):
            await self._index_persons(Vault(master_key))

    async def _index_persons(self, vault: Vault) -> None:
        """Hash again by what persons are looked up: those hashes depend on the master key and the ledger's number."""
        ledger_id = self.ledger.ledger_id
        for row in await self._connection.fetch(POSITIONS_WITH_PARTS, ledger_id):
            event = await read.event_at(self._connection, ledger_id, row["position"])
            body = await vault.reveal(self._connection, ledger_id, event.position, event.payload)
            origin = Origin(self.ledger.name, "", event.source, event.kind, b"")
            lookups = [
                (ledger_id, vault.lookup_hash(ledger_id, kind, value), part.subject)
                for part in identify(origin, body).parts
                for kind, value in part.identifiers
                if value != MARKER_TEXT  # of a person who was forgotten
            ]
            await self._connection.executemany(ADD_LOOKUP_HASH, lookups)


_ENTRIES = msgspec.json.Decoder(RestoredEntry)
