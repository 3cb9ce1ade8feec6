"""Compare stored events with their entries: every column, the hash of the payload, the encrypted personal parts.

The tree is built from entries. The columns beside an entry are copies, used for search and folding. A changed column
leaves the tree intact, so each column is compared. Stored hashes are not trusted: payload hashes are computed again.
"""

from collections.abc import AsyncIterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from ledger.database import Connection
from ledger.errors import EventsChanged
from ledger.intake.identify import KEY_BYTES, format_time
from ledger.merkle import leaf_hash
from ledger.privacy.encryption import MasterKey
from ledger.store.registry import Ledger
from service.audit.personal_parts import DeliveryFingerprints, PersonalPartChecker

EVENTS_PER_BLOCK = 2_048

BLOCK = """
    SELECT e.position, e.connection_id AS connection, e.source, e.org, e.kind, e.event_key, e.content, e.variant,
           e.occurred_at, e.recorded_at, e.ordinal, e.entry, e.leaf_hash, e.delivery_position,
           (e.payload IS NULL) = (e.delivery_position = e.position) AS elsewhere,
           encode(sha256(coalesce(e.payload, (SELECT body.payload FROM ledger.events body
                                               WHERE body.ledger_id = $1
                                                 AND body.position = e.delivery_position))), 'hex') AS payload_sha256
      FROM ledger.events e
     WHERE e.ledger_id = $1 AND e.position > $2 AND e.position <= $3
     ORDER BY e.position
"""


class EntryChecker:
    """Reads a ledger's events in order and checks each of them. Yields their leaf hashes block by block."""

    def __init__(self, connection: Connection, master_key: MasterKey | None, ledger: Ledger) -> None:
        self._connection = connection
        self._ledger = ledger
        self.wrong: list[str] = []  # positions with the names of values that differ
        self.events = 0
        self.variants_not_derived = 0
        self.parts = PersonalPartChecker(connection, master_key, ledger)

    async def leaves(self, last: int) -> AsyncIterator[bytes]:
        """Yield the leaf hashes up to position `last`, concatenated for each block.

        Raises EventsChanged if positions are missing, because no tree can be built then.
        """
        recorded = None
        for after in range(0, last, EVENTS_PER_BLOCK):
            upto = min(after + EVENTS_PER_BLOCK, last)
            rows = await self._connection.fetch(BLOCK, self._ledger.ledger_id, after, upto)
            if len(rows) != upto - after:
                raise EventsChanged(f"{upto - after - len(rows)} missing of positions {after + 1} to {upto}")
            parts = await self.parts.of(row["delivery_position"] for row in rows)
            leaves = []
            for row in rows:
                leaves.append(leaf_hash(row["entry"]))
                differing = self._differing(row, parts.get(row["delivery_position"]))
                if leaves[-1] != row["leaf_hash"]:
                    differing.append("leaf_hash")
                if recorded is not None and row["recorded_at"] < recorded:
                    differing.append("recorded_at goes backwards")
                recorded = row["recorded_at"]
                if differing:
                    self.wrong.append(f"position {row['position']}: {', '.join(differing)}")
            self.events += len(rows)
            yield b"".join(leaves)

    def _differing(self, row: Mapping[str, Any], delivered: DeliveryFingerprints | None) -> list[str]:
        """Return the names of an event's values that differ from its entry."""
        try:
            entry = msgspec.json.decode(row["entry"], type=dict[str, Any])
        except msgspec.DecodeError:
            return ["the entry is not JSON"]
        key = row["event_key"]
        stored = {
            "ledger": self._ledger.name,
            "position": row["position"],
            "connection": row["connection"],
            "source": row["source"],
            "org": row["org"],
            "kind": row["kind"],
            "event_key": key[:KEY_BYTES].hex(),
            "content": row["content"].hex(),
            "occurred_at": None if row["occurred_at"] is None else format_time(row["occurred_at"]),
            "recorded_at": format_time(row["recorded_at"]),
            "ordinal": row["ordinal"],
            "payload_sha256": row["payload_sha256"],
            "personal": None if delivered is None else delivered.commitment,
        }
        differing = [name for name, value in stored.items() if entry.get(name) != value]
        if len(key) > KEY_BYTES and key[KEY_BYTES:] != row["variant"]:
            differing.append("the key of the conflict")
        variants = self._variants(row["content"], delivered)
        if not variants:
            self.variants_not_derived += 1
        elif row["variant"] not in variants:
            differing.append("variant")
        if row["elsewhere"]:
            differing.append("delivery_position")
        return differing

    def _variants(self, content: bytes, delivered: DeliveryFingerprints | None) -> list[bytes]:
        """Return the possible variants of an event, derived as in ledger/store/append.py. Empty if keys are missing."""
        if delivered is None:
            return [content]
        fingerprints = delivered.fingerprints or ()
        return [
            sha256(content + fingerprint).digest()[:KEY_BYTES] if fingerprint else content
            for fingerprint in fingerprints
        ]
