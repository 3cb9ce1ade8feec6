"""Check stored events against their entries: every column that one names, the hash of the payload, the sealed parts.

An entry is what was hashed into the tree; the columns beside it are copies, by which the ledger is searched and folded.
Whoever changes a column and not the entry leaves the tree as it is: so each is compared. Nothing is believed because it
was stored: hashes of payloads are made here and now.
"""

import hmac
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.database import Connection
from ledger.errors import EventsChanged, MasterKeyWrong
from ledger.identify import KEY_BYTES, text_of
from ledger.merkle import leaf_hash
from ledger.registry import Ledger
from ledger.sealing import NONCE_BYTES, MasterKey

EVENTS_PER_BLOCK = 2_048

BLOCK = """
    SELECT e.position, e.connection_id AS connection, e.source, e.org, e.kind, e.event_key, e.content, e.variant,
           e.occurred_at, e.recorded_at, e.ordinal, e.entry, e.leaf_hash, e.delivery_position,
           (e.payload IS NULL) = (e.delivery_position = e.position) AS elsewhere,
           encode(sha256(coalesce(e.payload, (SELECT body.payload FROM ledger.events body
                                               WHERE body.ledger_id = e.ledger_id
                                                 AND body.position = e.delivery_position))), 'hex') AS payload_sha256
      FROM ledger.events e
     WHERE e.ledger_id = $1 AND e.position > $2 AND e.position <= $3
     ORDER BY e.position
"""
PARTS = """
    SELECT p.position, p.subject, p.ciphertext, p.commitment, k.wrapped,
           k.wrapped IS NULL AND EXISTS (SELECT FROM ledger.erasures f
                                          WHERE f.ledger_id = p.ledger_id AND f.subject = p.subject) AS forgotten
      FROM ledger.personal p
      LEFT JOIN ledger.personal_keys k
             ON k.ledger_id = p.ledger_id AND k.subject = p.subject AND k.key_id = p.key_id
     WHERE p.ledger_id = $1 AND p.position = ANY ($2)
     ORDER BY p.position, p.subject COLLATE "C"
"""


class Entries:
    """Reads a ledger's events in order and checks each; gives their leaf hashes, block by block."""

    def __init__(self, connection: Connection, master_key: MasterKey | None, ledger: Ledger) -> None:
        self._connection = connection
        self._master_key = master_key
        self._ledger = ledger
        self.wrong: list[str] = []  # what is not as its entry says, the first few
        self.events = 0
        self.parts_opened = 0
        self.parts_forgotten = 0
        self.parts_without_key = 0  # before any that has one: of a copy that was made without the keys of persons
        self._keys_seen = False

    async def leaves(self, last: int) -> AsyncIterator[bytes]:
        """Give the leaf hashes of the positions up to `last`, one after another in one string for each block.

        Raises EventsChanged if positions are missing: no tree can then be made.
        """
        recorded = None
        for after in range(0, last, EVENTS_PER_BLOCK):
            upto = min(after + EVENTS_PER_BLOCK, last)
            rows = await self._connection.fetch(BLOCK, self._ledger.ledger_id, after, upto)
            if len(rows) != upto - after:
                raise EventsChanged(f"{upto - after - len(rows)} missing of positions {after + 1} to {upto}")
            parts = await self._parts([row["delivery_position"] for row in rows])
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

    def _differing(self, row: Mapping[str, Any], commitment: str | None) -> list[str]:
        """Name what of an event is not as its entry says."""
        try:
            says = msgspec.json.decode(row["entry"], type=dict[str, Any])
        except msgspec.DecodeError:
            return ["the entry is no JSON"]
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
            "occurred_at": None if row["occurred_at"] is None else text_of(row["occurred_at"]),
            "recorded_at": text_of(row["recorded_at"]),
            "ordinal": row["ordinal"],
            "payload_sha256": row["payload_sha256"],
            "personal": commitment,
        }
        differing = [name for name, value in stored.items() if says.get(name) != value]
        if len(key) > KEY_BYTES and key[KEY_BYTES:] != row["variant"]:
            differing.append("the key of the conflict")
        if row["elsewhere"]:
            differing.append("where its body stands")
        return differing

    async def _parts(self, positions: Sequence[int]) -> dict[int, str]:
        """Give what entries commit to of sealed parts, by where the body stands; each that can be opened is."""
        commitments: dict[int, list[bytes]] = {}
        for row in await self._connection.fetch(PARTS, self._ledger.ledger_id, sorted(set(positions))):
            commitments.setdefault(row["position"], []).append(row["commitment"])
            self._keys_seen = self._keys_seen or row["wrapped"] is not None
            if row["forgotten"]:
                self.parts_forgotten += 1
            elif row["wrapped"] is None and self._keys_seen:
                self.wrong.append(
                    f"position {row['position']}: the key of a sealed part is gone, and nobody was forgotten"
                )
            elif row["wrapped"] is None:
                self.parts_without_key += 1
            elif self._master_key is not None and not self._opens(row):
                self.wrong.append(f"position {row['position']}: a sealed part was changed")
        return {position: sha256(b"".join(of)).hexdigest() for position, of in commitments.items()}

    def _opens(self, row: Mapping[str, Any]) -> bool:
        """Say whether a sealed part opens to what was committed to; see ledger/vault.py for how it was sealed."""
        assert self._master_key is not None
        subject: str = row["subject"]
        try:
            key = self._master_key.open(row["wrapped"], f"{self._ledger.ledger_id} {subject}".encode())
            sealed: bytes = row["ciphertext"]
            plain = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], subject.encode())
        except (InvalidTag, MasterKeyWrong, ValueError):
            return False
        self.parts_opened += 1
        committing = hmac.digest(key, b"commitment", "sha256")
        return hmac.compare_digest(hmac.digest(committing, b"pieces" + plain, "sha256"), row["commitment"])
