"""Check encrypted personal parts: decrypt each part, put it back into its body, and identify the body as on arrival.

These results must equal the stored values:
- the commitment in the entry;
- the variant, which distinguishes a redelivery from a conflict;
- the look-ups of the person.

None of them can be derived without the person's key. A key may be missing for two valid reasons: the person was erased,
or the events were copied without keys from another ledger. Any other missing key was destroyed by hand. A body that
today's rules redact differently is counted but not judged.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import asyncpg
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.database import Connection
from ledger.errors import MasterKeyWrong
from ledger.events import Delivery, Origin
from ledger.intake.identify import identify
from ledger.privacy.encryption import NONCE_BYTES, MasterKey
from ledger.privacy.redaction import RedactedSpan, restore_body
from ledger.privacy.vault import Vault, person_key_context
from ledger.store.registry import Ledger
from ledger.vendors.personal_values import MARKER_TEXT
from service.audit.lookup_index import LookupChecker

PARTS = """
    SELECT p.position, p.subject, p.ciphertext, p.commitment, k.wrapped,
           k.wrapped IS NULL AND EXISTS (SELECT FROM ledger.erasures f
                                          WHERE f.ledger_id = $1 AND f.subject = p.subject) AS forgotten
      FROM ledger.personal p
      LEFT JOIN ledger.personal_keys k
             ON k.ledger_id = $1 AND k.subject = p.subject AND k.key_id = p.key_id
     WHERE p.ledger_id = $1 AND p.position = ANY ($2)
     ORDER BY p.position, p.subject COLLATE "C"
"""
BODIES = """
    SELECT e.position, e.connection_id, e.source, e.kind, e.payload, c.connection_id IS NOT NULL AS connected,
           c.kind AS connection_kind,
           e.recorded_at < (SELECT created_at FROM ledger.ledgers WHERE ledger_id = $1) AS before_the_ledger
      FROM ledger.events e
      LEFT JOIN ledger.connections c ON c.ledger_id = $1 AND c.connection_id = e.connection_id
     WHERE e.ledger_id = $1 AND e.position = ANY ($2)
"""
INTERNAL_CONNECTION = "-"  # of internal events


class DeliveryFingerprints(NamedTuple):
    """Expected values of one delivery. `commitment` is the value for its entries. `fingerprints` are the additions to
    its variant, by the current and by the first derivation; None if they cannot be derived.
    """

    commitment: str
    fingerprints: Sequence[bytes] | None


class DecryptedPart(NamedTuple):
    """A decrypted part that matches its commitment."""

    subject: str
    pieces: Sequence[RedactedSpan]
    committing: bytes  # the key of its hashes


class PersonalPartChecker:
    """Checks the encrypted parts of one ledger, block by block in order of position."""

    def __init__(self, connection: Connection, master_key: MasterKey | None, ledger: Ledger) -> None:
        self._connection = connection
        self._master_key = master_key
        self._vault = None if master_key is None else Vault(master_key)
        self._ledger = ledger
        self.lookups = LookupChecker()
        self.wrong: list[str] = []
        self.intact = 0
        self.erased = 0
        self.without_key = 0  # of events copied from another ledger
        self.redacted_differently = 0  # deliveries
        self._keys_seen = False
        self._last: dict[int, DeliveryFingerprints] = {}  # a delivery may continue in the next block

    async def of(self, positions: Iterable[int]) -> dict[int, DeliveryFingerprints]:
        """Check the parts of the deliveries at some positions. Deliveries without parts are left out."""
        asked = set(positions)
        wanted = sorted(asked - self._last.keys())
        parts: dict[int, list[asyncpg.Record]] = {}
        for row in await self._connection.fetch(PARTS, self._ledger.ledger_id, wanted):
            parts.setdefault(row["position"], []).append(row)
        bodies = await self._connection.fetch(BODIES, self._ledger.ledger_id, list(parts)) if parts else []
        body_at = {row["position"]: row for row in bodies}
        checked = {position: self._delivered(of, body_at.get(position)) for position, of in parts.items()}
        self._last = {at: fingerprints for at, fingerprints in (self._last | checked).items() if at in asked}
        return self._last

    def _delivered(self, rows: Sequence[asyncpg.Record], body: asyncpg.Record | None) -> DeliveryFingerprints:
        opened = [self._open(row, body) for row in rows]
        commitment = sha256(b"".join(row["commitment"] for row in rows)).hexdigest()
        decrypted = [decrypted_part for decrypted_part in opened if decrypted_part is not None]
        if not decrypted or body is None or body["payload"] is None:
            return DeliveryFingerprints(commitment, None)
        read = self._identify_again(decrypted, body)
        if read is None or len(decrypted) < len(rows) or len(read.parts) > len(decrypted):
            return DeliveryFingerprints(commitment, None)
        now = at_first = b""
        for decrypted_part, part in zip(decrypted, read.parts, strict=True):
            says = hmac.digest(decrypted_part.committing, b"says" + (part.normalized_values or b""), "sha256")
            now += says if part.normalized_values is not None else b""
            at_first += (
                hmac.digest(decrypted_part.committing, b"says" + part.normalized_values_wrapped, "sha256")
                if part.normalized_values_wrapped
                else says
            )
        return DeliveryFingerprints(commitment, (now, at_first))

    def _open(self, row: asyncpg.Record, body: asyncpg.Record | None) -> DecryptedPart | None:
        """Decrypt one part, and count or report a part that cannot be decrypted. None then, and without the master
        key."""
        self._keys_seen = self._keys_seen or row["wrapped"] is not None
        if row["wrapped"] is None:
            if row["forgotten"]:
                self.erased += 1
            elif self._keys_seen or body is None or _is_own_event(body):
                self.wrong.append(
                    f"position {row['position']}: the key of an encrypted part is missing, and nobody was erased"
                )
            else:
                self.without_key += 1
            return None
        if self._master_key is None:
            return None
        opened = self._decrypt(self._master_key, row)
        if opened is None:
            self.wrong.append(f"position {row['position']}: an encrypted part was changed")
        else:
            self.intact += 1
        return opened

    def _decrypt(self, master_key: MasterKey, row: Mapping[str, Any]) -> DecryptedPart | None:
        """Decrypt a part and compare it with its commitment. None if it was changed. The encryption is in
        ledger/privacy/vault.py.
        """
        subject, sealed = row["subject"], row["ciphertext"]
        try:
            key = master_key.decrypt(row["wrapped"], person_key_context(self._ledger.ledger_id, subject))
            plain = AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], subject.encode())
            pieces = _PIECES.decode(plain)
        except (InvalidTag, MasterKeyWrong, ValueError):
            return None
        committing = hmac.digest(key, b"commitment", "sha256")
        if not hmac.compare_digest(hmac.digest(committing, b"pieces" + plain, "sha256"), row["commitment"]):
            return None
        return DecryptedPart(subject, pieces, committing)

    def _identify_again(self, decrypted: Sequence[DecryptedPart], body: asyncpg.Record) -> Delivery | None:
        """Restore the body and identify it as on arrival. None if today's rules redact it differently."""
        assert self._vault is not None
        ledger_id, name = self._ledger.ledger_id, self._ledger.name
        whole = restore_body(
            body["payload"], sorted(piece for decrypted_part in decrypted for piece in decrypted_part.pieces)
        )
        subjects = {decrypted_part.subject for decrypted_part in decrypted}
        for kind in (body["connection_kind"], *(() if body["connected"] else (body["kind"],))):
            origin = Origin(name, body["connection_id"], body["source"], kind, self._vault.body_hash_key(ledger_id))
            read = identify(origin, whole)
            if read.payload != body["payload"] or not subjects <= {part.subject for part in read.parts}:
                continue
            for part in read.parts:
                if part.subject in subjects:
                    known = [(what, value) for what, value in part.identifiers if value != MARKER_TEXT]
                    self.lookups.derive(
                        (self._vault.lookup_hash(ledger_id, *identifier), part.subject) for identifier in known
                    )
            return read
        self.redacted_differently += 1
        return None

    async def check_lookups(self) -> list[str]:
        """Compare the collected look-ups with the index. Call it after all blocks."""
        return await self.lookups.compare(
            self._connection, self._ledger.ledger_id, judge_more=not self.redacted_differently and not self.without_key
        )

    def describe(self) -> str:
        """Return a sentence about the checked parts."""
        sentence = f"{self.intact:,} encrypted parts are intact, {self.erased:,} belong to erased persons"
        if self.without_key:
            sentence += (
                f", {self.without_key:,} have no key, because their events were copied from another ledger without keys"
            )
        if self.redacted_differently:
            sentence += (
                f", {self.redacted_differently:,} deliveries redacted by other rules than today's were not compared"
            )
        return sentence


def _is_own_event(body: Mapping[str, Any]) -> bool:
    """Return True if this ledger received the event itself. False if it was copied from another ledger."""
    if body["connection_id"] == INTERNAL_CONNECTION:
        return not body["before_the_ledger"]
    return bool(body["connected"])


_PIECES = msgspec.msgpack.Decoder(list[RedactedSpan])
