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
from ledger.privacy.redaction import MARKED
from ledger.privacy.vault import Vault, bound_to
from ledger.store import read, registry
from ledger.store.export import FORMAT, Begin, Beside, Blind, End, Erasure, ExportedEvent, PersonsKey
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
ADD_BLIND = """
    INSERT INTO ledger.personal_index (ledger_id, blind, subject) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
ADD_ERASURE = """
    INSERT INTO ledger.erasures (ledger_id, erasure, subject, erased_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING
"""
SEALED_POSITIONS = "SELECT DISTINCT position FROM ledger.personal WHERE ledger_id = $1 ORDER BY position"


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


class Body(NamedTuple):
    """The last delivered body that was put back: later events of its delivery name it."""

    position: int
    sha256: str
    personal: str | None


async def ledger_for(connection: Connection, begin: Begin, name: str) -> Ledger:
    """Find or make the ledger that an export is put back into; with the exported one's number where that is free, so
    that keys and names made with it stay good. Raises ExportWrong for another format."""
    if begin.format != FORMAT:
        raise ExportWrong(f"its format is {begin.format}, this version reads {FORMAT}")
    for ledger in await registry.all_ledgers(connection):
        if ledger.name == name:
            return ledger
    return await registry.create_ledger(connection, name, wanted_id=begin.ledger_id)


class LedgerRestore:
    """Puts one export back, block by block."""

    def __init__(self, connection: Connection, begin: Begin, ledger: Ledger) -> None:
        self._connection = connection
        self._begin = begin
        self.ledger = ledger
        self.position = 0
        self._recorded_at: datetime | None = None
        self._frontier = Frontier()
        self._body = Body(0, "", None)

    async def put(self, events: Sequence[ExportedEvent]) -> None:
        """Put back the next events, or hold them against those that are there already.

        Raises ExportWrong, and then nothing of this block is put back.
        """
        ledger_id = self.ledger.ledger_id
        async with self._connection.transaction():
            await self._connection.execute(LOCK, APPENDS, ledger_id)
            there, after = await read.tail(self._connection, ledger_id), self.position
            entries = [self._checked(event) for event in events]
            known = max(0, min(there, self.position) - after)
            held = await read.leaf_hashes(self._connection, ledger_id, after, after + known) if known else b""
            if there > self._begin.events or held != b"".join(event.leaf_hash for event in events[:known]):
                raise ExportWrong(f"the ledger {self.ledger.name} holds other events")
            await self._write(list(zip(entries, events, strict=True))[known:])

    def _checked(self, event: ExportedEvent) -> RestoredEntry:
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
            self._body = Body(position, payload_hash, commitment if event.parts else None)
        wrong = {
            "the hash of its entry": event.leaf_hash != leaf_hash(text),
            "its position": entry.position != position,
            "its payload": (event.delivery_position, entry.payload_sha256) != self._body[:2],
            "its sealed parts": entry.personal != self._body.personal,
            "its key": event.event_key[:KEY_BYTES].hex() != entry.event_key
            or event.event_key[KEY_BYTES:] not in (b"", event.variant),
            "when it was recorded": self._recorded_at is not None and entry.recorded_at < self._recorded_at,
        }
        if any(wrong.values()):
            what = ", ".join(name for name, is_wrong in wrong.items() if is_wrong)
            raise ExportWrong(f"the event at position {position} does not agree in {what}")
        for _ in self._frontier.extend(event.leaf_hash):
            pass
        self.position, self._recorded_at = position, entry.recorded_at
        return entry

    async def _write(self, checked: Sequence[tuple[RestoredEntry, ExportedEvent]]) -> None:
        ledger_id = self.ledger.ledger_id
        events = [
            (
                *(ledger_id, entry.position, entry.connection, entry.source, entry.org, entry.kind, event.event_key),
                *(bytes.fromhex(entry.content), event.variant, entry.occurred_at, entry.recorded_at),
                *(event.delivery_position, entry.ordinal, None if event.payload is None else event.payload.encode()),
                *(event.entry.encode(), event.leaf_hash),
            )
            for entry, event in checked
        ]
        parts = [
            (ledger_id, entry.position, part.subject, part.key_id, part.ciphertext, part.commitment)
            for entry, event in checked
            for part in event.parts
        ]
        copy = self._connection.copy_records_to_table
        try:
            await copy("events", schema_name="ledger", records=events, columns=EVENT_COLUMNS)
            await copy("personal", schema_name="ledger", records=parts, columns=PART_COLUMNS)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise ExportWrong(type(error).__name__) from None

    async def put_beside(self, lines: Iterable[Beside], exporter_key: MasterKey, master_key: MasterKey) -> None:
        """Put back what the ledger held beside its events, persons' keys under our own master key.

        Raises MasterKeyWrong if `exporter_key` is not the one that the export names.
        """
        ledger_id, connection = self.ledger.ledger_id, self._connection
        as_they_are = ledger_id == self._begin.ledger_id and master_key.name == self._begin.master_key
        async with connection.transaction():
            for line in lines:
                if isinstance(line, PersonsKey):
                    wrapped = line.wrapped if as_they_are else self._wrapped_anew(line, exporter_key, master_key)
                    await connection.execute(ADD_KEY, ledger_id, line.subject, line.key_id, wrapped)
                elif isinstance(line, Blind) and as_they_are:
                    await connection.execute(ADD_BLIND, ledger_id, line.blind, line.subject)
                elif isinstance(line, Erasure):
                    await connection.execute(ADD_ERASURE, ledger_id, line.erasure, line.subject, line.erased_at)

    def _wrapped_anew(self, line: PersonsKey, exporter_key: MasterKey, master_key: MasterKey) -> bytes:
        if exporter_key.name != self._begin.master_key:
            raise MasterKeyWrong(f"the keys are wrapped by {self._begin.master_key}, ours is {exporter_key.name}")
        key = exporter_key.open(line.wrapped, bound_to(self._begin.ledger_id, line.subject))
        return master_key.seal(key, bound_to(self.ledger.ledger_id, line.subject))

    async def finish(self, end: End, master_key: MasterKey) -> None:
        """See that nothing is missing, and let persons be looked up. Raises ExportWrong."""
        if (end.events, end.root) != (self.position, self._frontier.root()):
            raise ExportWrong(f"its last line is of {end.events} events and another root")
        if self._begin.with_keys and (self.ledger.ledger_id, master_key.name) != (
            self._begin.ledger_id,
            self._begin.master_key,
        ):
            await self._index_persons(Vault(master_key))

    async def _index_persons(self, vault: Vault) -> None:
        """Hash again by what persons are looked up: those hashes depend on the master key and the ledger's number."""
        ledger_id = self.ledger.ledger_id
        for row in await self._connection.fetch(SEALED_POSITIONS, ledger_id):
            event = await read.event_at(self._connection, ledger_id, row["position"])
            body = await vault.reveal(self._connection, ledger_id, event.position, event.payload)
            origin = Origin(self.ledger.name, "", event.source, event.kind, b"")
            blinds = [
                (ledger_id, vault.blind(ledger_id, what, value), part.subject)
                for part in identify(origin, body).parts
                for what, value in part.identifiers
                if value != MARKED  # of a person who was forgotten
            ]
            await self._connection.executemany(ADD_BLIND, blinds)


_ENTRIES = msgspec.json.Decoder(RestoredEntry)
