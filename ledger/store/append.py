"""Append deliveries to a ledger: the only INSERT on ledger.events for new events.

One call of the SQL function `ledger.append` stores many deliveries in one transaction, with one fsync. The function
(migrations/versions/r0009/append.sql) numbers events densely under the ledger's lock. It is idempotent. A caller may
not know if a call was committed. It repeats the call, and gets the first positions.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from ledger.database import CONNECTION_LOST, Connection
from ledger.errors import LedgerBusy, LedgerMoved, LedgerUnavailable, LedgerUnknown
from ledger.events import Delivery
from ledger.intake.identify import KEY_BYTES
from ledger.privacy.vault import EncryptedPart, Lookup, Vault, commitment_of

LEDGER_MOVED = "LM001"  # SQLSTATE of ledger.reject_moved
APPEND = """
    SELECT position, outcome FROM ledger.append(
        $1, $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::bytea[], $9::timestamptz[],
        $10::int[], $11::int[], $12::text[], $13::text[], $14::bytea[],
        $15, $16::int[], $17::text[], $18::bytea[], $19::bytea[], $20::bytea[], $21::int[], $22::text[], $23::bytea[])
"""
# A commit that changes nothing. It waits until replicas have all that was committed before.
CONFIRM_REPLICATION = """
    SELECT pg_logical_emit_message(true, 'loyalty', 'confirm') WHERE current_setting('synchronous_standby_names') <> ''
"""
TRIES_MAX = 5


class AppendResult(NamedTuple):
    """Result for one event. The outcome is "appended", "duplicate" (its first position is returned) or "conflict" (also
    appended).
    """

    position: int
    outcome: str


class AppendBatch(NamedTuple):
    """Deliveries with encrypted personal parts, as arguments of `ledger.append`: one array per column.

    `lookups` are the lookup hashes to store, each with the number of its delivery and its subject.
    """

    ledger_id: int
    deliveries: Sequence[Delivery]
    arguments: Sequence[object]
    erasure_count: int
    lookups: Sequence[Lookup]


async def append(
    connection: Connection, vault: Vault, ledger_id: int, deliveries: Sequence[Delivery]
) -> list[list[AppendResult]]:
    """Append all events of some deliveries, in order. Return a list per delivery with one result per event.

    Raises LedgerUnknown if there is no such ledger. Raises LedgerUnavailable if the database cannot store now. The
    events may be stored or not; repeat the same call.
    """
    return await append_batch(connection, vault, await prepare_append(connection, vault, ledger_id, deliveries))


async def append_batch(connection: Connection, vault: Vault, batch: AppendBatch) -> list[list[AppendResult]]:
    """Append a batch that `prepare_append` made. Raises the same errors as `append`."""
    ledger_id, deliveries = batch.ledger_id, batch.deliveries
    try:
        for _ in range(TRIES_MAX):
            try:
                rows = await connection.fetch(APPEND, *batch.arguments)
                break
            except asyncpg.LockNotAvailableError:  # if the session has a lock_timeout
                raise LedgerBusy from None
            except asyncpg.ObjectNotInPrerequisiteStateError:  # a person was erased after the keys were read
                vault.clear_key_cache(ledger_id)
                batch = await prepare_append(connection, vault, ledger_id, deliveries)
        else:
            raise LedgerUnavailable("keys change too fast")
    except asyncpg.ForeignKeyViolationError:
        raise LedgerUnknown(ledger_id) from None
    except asyncpg.PostgresError as error:
        if error.sqlstate == LEDGER_MOVED:
            raise LedgerMoved(error.detail or "") from None
        if isinstance(error, CONNECTION_LOST):
            raise LedgerUnavailable(type(error).__name__) from None
        raise
    except CONNECTION_LOST as error:
        raise LedgerUnavailable(type(error).__name__) from None
    outcomes = iter([AppendResult(row["position"], row["outcome"]) for row in rows])
    results = [[next(outcomes) for _ in delivery.events] for delivery in deliveries]
    stored = [lookup for lookup in batch.lookups if any(one.outcome != "duplicate" for one in results[lookup[0] - 1])]
    vault.cache_stored_lookups(ledger_id, batch.erasure_count, stored)
    return results


async def append_replicated(
    connection: Connection, vault: Vault, ledger_id: int, deliveries: Sequence[Delivery]
) -> list[list[AppendResult]]:
    """Append as `append` does, and make sure that duplicates are replicated too, if replication is synchronous.

    A stored event may not be replicated: its commit becomes visible when its wait for the replica is cancelled. Only a
    later commit proves that it is.
    """
    results = await append(connection, vault, ledger_id, deliveries)
    if all(result.outcome == "duplicate" for of_delivery in results for result in of_delivery):
        await connection.execute(CONFIRM_REPLICATION)
    return results


async def prepare_append(
    connection: Connection, vault: Vault, ledger_id: int, deliveries: Sequence[Delivery]
) -> AppendBatch:
    """Encrypt the personal parts of some deliveries, and build the arguments of `ledger.append`.

    Raises LedgerUnavailable if the database cannot be reached.
    """
    try:
        erasure_count = await vault.erasure_count(connection, ledger_id)
        encrypted = await vault.encrypt(connection, ledger_id, deliveries)
    except asyncpg.LockNotAvailableError:
        raise LedgerBusy from None
    except CONNECTION_LOST as error:
        raise LedgerUnavailable(type(error).__name__) from None
    by_delivery: dict[int, list[EncryptedPart]] = {}
    for n, part in encrypted:
        by_delivery.setdefault(n, []).append(part)
    events = [(n, event, by_delivery.get(n)) for n, delivery in enumerate(deliveries, 1) for event in delivery.events]
    found = [
        (n, part.subject, lookup_hash)
        for n, parts in by_delivery.items()
        for part in parts
        for lookup_hash in part.lookup_hashes
    ]
    lookups = vault.leave_out_stored(ledger_id, found)
    arguments: list[object] = [
        ledger_id,
        [event.connection_id for _, event, _ in events],
        [event.source for _, event, _ in events],
        [event.org for _, event, _ in events],
        [event.kind for _, event, _ in events],
        [event.event_key for _, event, _ in events],
        [event.content for _, event, _ in events],
        [_variant_of(event.content, parts) for _, event, parts in events],
        [event.occurred_at for _, event, _ in events],
        [n for n, _, _ in events],
        [event.ordinal for _, event, _ in events],
        [_entry_prefix(event.entry_prefix, parts) for _, event, parts in events],
        [event.entry_suffix for _, event, _ in events],
        [delivery.payload for delivery in deliveries],
        erasure_count,
        [n for n, _ in encrypted],
        [part.subject for _, part in encrypted],
        [part.key_id for _, part in encrypted],
        [part.ciphertext for _, part in encrypted],
        [part.commitment for _, part in encrypted],
        [n for n, _, _ in lookups],
        [subject for _, subject, _ in lookups],
        [lookup_hash for _, _, lookup_hash in lookups],
    ]
    return AppendBatch(ledger_id, deliveries, arguments, erasure_count, lookups)


def _variant_of(content: bytes, parts: Sequence[EncryptedPart] | None) -> bytes:
    """Return the variant of an event: its content hash, combined with the fingerprints of its personal parts.

    Values in the wrapper that a capture tool added do not count. Without fingerprints the content itself is returned.
    """
    fingerprints = [part.fingerprint for part in parts or () if part.fingerprint]
    if not fingerprints:
        return content
    return hashlib.sha256(b"".join((content, *fingerprints))).digest()[:KEY_BYTES]


def _entry_prefix(entry_prefix: str, parts: Sequence[EncryptedPart] | None) -> str:
    commitment = commitment_of(parts or ())
    personal = "" if commitment is None else f'"personal":"{commitment.hex()}",'
    return f'{entry_prefix}{personal}"position":'
