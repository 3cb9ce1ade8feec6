"""Encrypt personal parts under a key of each person, which the master key wraps. Erasing a person destroys that key.

Invariant: when an event is appended, the key of each of its parts is in the database. Keys are cached in this process.
So `ledger.append` gets the number of erasures that the cache takes into account. If a person was erased since, it
refuses; then the keys of the ledger are read again.

An entry commits to its parts by hashes that are keyed with the persons' keys. So the entry reveals nothing about the
values, even after a key is destroyed.
"""

import asyncio
import hashlib
import hmac
import os
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.database import Connection
from ledger.events import Delivery
from ledger.privacy.encryption import KEY_BYTES, NONCE_BYTES, MasterKey, new_keyed_hash
from ledger.privacy.redaction import PersonalPart, RedactedSpan, restore_body
from ledger.vendors.personal_values import normalize_identifier

CACHED_KEYS_MAX = 50_000  # a key takes about 400 bytes, or 3 KB with its cipher, so ciphers are made for each use
KEY_ID_BYTES = 8
CACHED_LOOKUPS_MAX = 50_000  # of a ledger; about 150 bytes each
PARTS_PER_YIELD = 50  # then other tasks of the event loop run

KEYS = "SELECT subject, key_id, wrapped FROM ledger.ensure_person_keys($1, $2, $3, $4, $5, $6, $7, $8, $9)"
ERASURES = "SELECT ledger.erasure_count($1)"
PARTS = """
    SELECT p.subject, p.ciphertext, k.wrapped FROM ledger.events e
      JOIN ledger.personal p ON p.ledger_id = $1 AND p.position = e.delivery_position
      LEFT JOIN ledger.personal_keys k
             ON k.ledger_id = $1 AND k.subject = p.subject AND k.key_id = p.key_id
     WHERE e.ledger_id = $1 AND e.position = $2
     ORDER BY p.subject
"""
FIND = """
    SELECT DISTINCT subject FROM ledger.personal_index WHERE ledger_id = $1 AND blind = $2 AND subject > $3
     ORDER BY subject LIMIT $4
"""

Lookup = tuple[int, str, bytes]  # number of a delivery, subject, lookup hash


class EncryptedPart(NamedTuple):
    """A part as it is stored.

    `commitment` is a keyed hash of the spans. `fingerprint` is a keyed hash of the normalized values, which is the same
    for every spelling. Both are keyed with the person's key.
    """

    subject: str
    key_id: bytes
    ciphertext: bytes
    commitment: bytes
    fingerprint: bytes
    lookup_hashes: Sequence[bytes]


class PersonKey(NamedTuple):
    key_id: bytes
    key: bytes
    commitment_key: bytes


class LedgerKeyCache:
    """Cached keys of one ledger's persons. `erasure_count` is the number of erasures taken into account; None: not read
    yet. `stored_lookups` are hashes that the database holds, each followed by its subject, in bytes: garbage collection
    would walk tuples.
    """

    def __init__(self) -> None:
        self.erasure_count: int | None = None
        self.keys: dict[str, PersonKey] = {}
        self.stored_lookups: set[bytes] = set()


class Vault:
    """Encrypts and decrypts personal parts, with caches for one process."""

    def __init__(self, master_key: MasterKey) -> None:
        self._master_key = master_key
        self._caches: dict[int, LedgerKeyCache] = {}
        self._derived_keys: dict[tuple[int, str], bytes] = {}
        self._lookup_hashes: dict[int, hmac.HMAC] = {}

    async def erasure_count(self, connection: Connection, ledger_id: int) -> int:
        """Return the number of erasures that the cached keys take into account."""
        cache = self._cache_of(ledger_id)
        if cache.erasure_count is None:
            cache.erasure_count = await connection.fetchval(ERASURES, ledger_id)
        assert cache.erasure_count is not None
        return cache.erasure_count

    def leave_out_stored(self, ledger_id: int, lookups: Iterable[Lookup]) -> list[Lookup]:
        """Return the lookup hashes that no append of this process stored. The others need not be sent again."""
        stored = self._cache_of(ledger_id).stored_lookups
        return [(n, subject, found) for n, subject, found in lookups if found + subject.encode() not in stored]

    def cache_stored_lookups(self, ledger_id: int, erasure_count: int, lookups: Iterable[Lookup]) -> None:
        """Remember lookup hashes that an append stored, unless an erasure came after that append."""
        cache = self._cache_of(ledger_id)
        if cache.erasure_count != erasure_count:
            return
        if len(cache.stored_lookups) > CACHED_LOOKUPS_MAX:
            cache.stored_lookups.clear()
        cache.stored_lookups.update(found + subject.encode() for _, subject, found in lookups)

    def clear_caches(self) -> None:
        """Drop all cached keys, to free memory. They are read again when needed."""
        self._caches.clear()

    def clear_key_cache(self, ledger_id: int) -> None:
        """Drop the cached keys of a ledger, because a person was erased.

        A task that is reading keys now writes them to the dropped cache. Nothing reads that cache.
        """
        self._caches.pop(ledger_id, None)

    def _cache_of(self, ledger_id: int) -> LedgerKeyCache:
        cache = self._caches.get(ledger_id)
        if cache is None:
            cache = self._caches[ledger_id] = LedgerKeyCache()
        return cache

    async def encrypt(
        self, connection: Connection, ledger_id: int, deliveries: Sequence[Delivery]
    ) -> list[tuple[int, EncryptedPart]]:
        """Encrypt the parts of deliveries, each under its person's key. Create keys for new persons.

        Returns each part with the number of its delivery, counted from 1, in order.
        """
        if sum(len(cache.keys) for cache in self._caches.values()) > CACHED_KEYS_MAX:
            self._caches.clear()
        parts = [(n, part) for n, delivery in enumerate(deliveries, 1) for part in delivery.parts]
        keys = await self._keys_of(connection, ledger_id, deliveries, {part.subject for _, part in parts})
        nonces = os.urandom(NONCE_BYTES * len(parts))  # in one call: a call costs as much as an encryption
        encrypted = []
        for index, (n, part) in enumerate(parts):
            nonce = nonces[NONCE_BYTES * index : NONCE_BYTES * (index + 1)]
            encrypted.append((n, self._encrypt(ledger_id, part, keys[part.subject], nonce)))
            if index % PARTS_PER_YIELD == PARTS_PER_YIELD - 1:
                await asyncio.sleep(0)
        return encrypted

    def _encrypt(self, ledger_id: int, part: PersonalPart, key: PersonKey, nonce: bytes) -> EncryptedPart:
        plain = _ENCODER.encode(part.spans)
        says = part.normalized_values
        return EncryptedPart(
            part.subject,
            key.key_id,
            nonce + AESGCM(key.key).encrypt(nonce, plain, part.subject.encode()),
            hmac.digest(key.commitment_key, b"pieces" + plain, "sha256"),
            b"" if says is None else hmac.digest(key.commitment_key, b"says" + says, "sha256"),
            [self.lookup_hash(ledger_id, kind, value) for kind, value in part.identifiers],
        )

    async def _keys_of(
        self, connection: Connection, ledger_id: int, deliveries: Sequence[Delivery], subjects: Iterable[str]
    ) -> dict[str, PersonKey]:
        """Return the keys of persons: cached, stored or new. `ledger.append` detects an erasure by another task
        meanwhile.

        Keys are created in the order of subjects, so that two tasks cannot deadlock.

        A person who is named only by redelivered events of erased persons gets a key that is not stored.
        `ledger.append` answers "duplicate" and stores nothing that is encrypted under it.
        """
        cached = self._cache_of(ledger_id).keys
        keys = {subject: cached.get(subject) for subject in subjects}
        found = {subject: key for subject, key in keys.items() if key is not None}
        missing = sorted(keys.keys() - found.keys())
        if not missing:
            return found
        fresh = {subject: os.urandom(KEY_BYTES) for subject in missing}
        ids = [os.urandom(KEY_ID_BYTES) for _ in missing]
        wrapped = []
        for n, (subject, key) in enumerate(fresh.items(), 1):
            wrapped.append(self._master_key.encrypt(key, person_key_context(ledger_id, subject)))
            if n % PARTS_PER_YIELD == 0:
                await asyncio.sleep(0)
        columns = _columns(deliveries, frozenset(missing))
        for n, row in enumerate(await connection.fetch(KEYS, ledger_id, missing, ids, wrapped, *columns), 1):
            found[row["subject"]] = cached[row["subject"]] = self._unwrap(ledger_id, *row)
            if n % PARTS_PER_YIELD == 0:
                await asyncio.sleep(0)
        for subject, key_id in zip(missing, ids, strict=True):
            if subject not in found:
                found[subject] = _person_key(key_id, fresh[subject])
        return found

    def _unwrap(self, ledger_id: int, subject: str, key_id: bytes, wrapped: bytes) -> PersonKey:
        return _person_key(key_id, self._master_key.decrypt(wrapped, person_key_context(ledger_id, subject)))

    def body_hash_key(self, ledger_id: int) -> bytes:
        """Return the ledger's secret that identifies unreadable bodies and makes pseudonyms; see
        ledger/intake/identify.py.
        """
        return self._derived_key(ledger_id, "names")

    def lookup_hash(self, ledger_id: int, kind: str, value: str) -> bytes:
        """Return the keyed hash of an identifier. It allows look-ups with the master key, and no guesses without it."""
        if ledger_id not in self._lookup_hashes:
            self._lookup_hashes[ledger_id] = new_keyed_hash(self._derived_key(ledger_id, "blind index"))
        keyed_hash = self._lookup_hashes[ledger_id].copy()
        keyed_hash.update(f"{kind}\0{normalize_identifier(kind, value)}".encode())
        return keyed_hash.digest()

    def _derived_key(self, ledger_id: int, purpose: str) -> bytes:
        key = self._derived_keys.get((ledger_id, purpose))
        if key is None:
            key = self._master_key.derive(f"{purpose} of {ledger_id}".encode())
            self._derived_keys[ledger_id, purpose] = key
        return key

    async def find(
        self, connection: Connection, ledger_id: int, kind: str, value: str, *, after: str = "", limit: int = 100
    ) -> list[str]:
        """Return the references of customers that an identifier names, in order, after the reference `after`."""
        rows = await connection.fetch(FIND, ledger_id, self.lookup_hash(ledger_id, kind, value), after, limit)
        return [row["subject"] for row in rows]

    async def reveal(
        self,
        connection: Connection,
        ledger_id: int,
        position: int,
        payload: bytes,
        *,
        subjects: Collection[str] | None = None,
    ) -> bytes:
        """Return the delivered bytes of an event. Markers of erased persons stay.

        With `subjects`, only the values of these persons are revealed. Markers of all others stay.
        """
        spans: list[RedactedSpan] = []
        for subject, ciphertext, wrapped in await connection.fetch(PARTS, ledger_id, position):
            if wrapped is not None and (subjects is None or subject in subjects):
                key = AESGCM(self._master_key.decrypt(wrapped, person_key_context(ledger_id, subject)))
                try:
                    plain = key.decrypt(ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:], subject.encode())
                except InvalidTag:
                    raise AssertionError("a sealed part has been changed") from None
                spans += _DECODER.decode(plain)
        return restore_body(payload, spans)


def _person_key(key_id: bytes, key: bytes) -> PersonKey:
    return PersonKey(key_id, key, hmac.digest(key, b"commitment", "sha256"))


def _columns(deliveries: Sequence[Delivery], subjects: frozenset[str]) -> list[list[object]]:
    """Build the arrays of `ledger.ensure_person_keys`: the subjects that each delivery names, and its events."""
    parts: list[tuple[str, int]] = []
    events: list[tuple[int, bytes, bytes]] = []
    for n, delivery in enumerate(deliveries, 1):
        named = [(part.subject, n) for part in delivery.parts if part.subject in subjects]
        if named:
            parts += named
            events += [(n, event.event_key, event.content) for event in delivery.events]
    return [
        [subject for subject, _ in parts],
        [n for _, n in parts],
        [n for n, _, _ in events],
        [event_key for _, event_key, _ in events],
        [content for _, _, content in events],
    ]


def commitment_of(parts: Sequence[EncryptedPart]) -> bytes | None:
    """Return the hash by which an entry commits to the parts of its delivery, in order of subject; None without."""
    if not parts:
        return None
    return hashlib.sha256(b"".join(part.commitment for part in parts)).digest()


def person_key_context(ledger_id: int, subject: str) -> bytes:
    """Return the associated data of a person's wrapped key, so that it decrypts for no other person."""
    return f"{ledger_id} {subject}".encode()


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[RedactedSpan])
