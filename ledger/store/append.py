"""The only INSERT on ledger.events: one call of ledger.append, one transaction, one fsync for many deliveries.

The function (migrations/versions/r0001/append.sql) numbers densely under the ledger's lock and is idempotent: whoever
does not know whether a call was committed calls again, and is answered with the positions of the first time.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from ledger.database import CONNECTION_LOST, Connection
from ledger.errors import LedgerBusy, LedgerUnavailable, LedgerUnknown
from ledger.intake.identify import KEY_BYTES, Delivery
from ledger.privacy.vault import EncryptedPart, Vault, commitment_of

APPEND = """
    SELECT position, outcome FROM ledger.append(
        $1, $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::bytea[], $9::timestamptz[],
        $10::int[], $11::int[], $12::text[], $13::text[], $14::bytea[],
        $15, $16::int[], $17::text[], $18::bytea[], $19::bytea[], $20::bytea[], $21::int[], $22::text[], $23::bytea[])
"""
TRIES_MAX = 5


class Appended(NamedTuple):
    """What became of one event: "appended", "duplicate" (its first position is given) or "conflict" (appended too)."""

    position: int
    outcome: str


class AppendBatch(NamedTuple):
    """Some deliveries, their personal parts sealed, laid out as the function takes them: one array a column."""

    ledger_id: int
    deliveries: Sequence[Delivery]
    arguments: Sequence[object]


async def append(
    connection: Connection, vault: Vault, ledger_id: int, deliveries: Sequence[Delivery]
) -> list[list[Appended]]:
    """Append all events of some deliveries, in order; answer for each delivery with one outcome an event.

    Raises LedgerUnknown, or LedgerUnavailable if the database cannot store now: then it may or may not have stored,
    and the same call may be made again.
    """
    return await append_arranged(connection, vault, await prepare_append(connection, vault, ledger_id, deliveries))


async def append_arranged(connection: Connection, vault: Vault, arranged: AppendBatch) -> list[list[Appended]]:
    """Append what was arranged before, as `append` does. Raises what that raises."""
    ledger_id, deliveries, _ = arranged
    try:
        for _ in range(TRIES_MAX):
            try:
                rows = await connection.fetch(APPEND, *arranged.arguments)
                break
            except asyncpg.LockNotAvailableError:  # where lock_timeout is set
                raise LedgerBusy from None
            except asyncpg.ObjectNotInPrerequisiteStateError:  # a person has been forgotten since the keys were read
                vault.forget_keys(ledger_id)
                arranged = await prepare_append(connection, vault, ledger_id, deliveries)
        else:
            raise LedgerUnavailable("keys change too fast")
    except asyncpg.ForeignKeyViolationError:
        raise LedgerUnknown(ledger_id) from None
    except CONNECTION_LOST as error:
        raise LedgerUnavailable(type(error).__name__) from None
    outcomes = iter([Appended(row["position"], row["outcome"]) for row in rows])
    return [[next(outcomes) for _ in delivery.drafts] for delivery in deliveries]


async def prepare_append(
    connection: Connection, vault: Vault, ledger_id: int, deliveries: Sequence[Delivery]
) -> AppendBatch:
    """Seal the personal parts of some deliveries, and lay out what the function takes. Raises LedgerUnavailable."""
    try:
        erasures = await vault.erasures(connection, ledger_id)
        sealed = await vault.seal(connection, ledger_id, deliveries)
    except asyncpg.LockNotAvailableError:
        raise LedgerBusy from None
    except CONNECTION_LOST as error:
        raise LedgerUnavailable(type(error).__name__) from None
    by_delivery: dict[int, list[EncryptedPart]] = {}
    for n, one in sealed:
        by_delivery.setdefault(n, []).append(one)
    events = [(n, draft, by_delivery.get(n)) for n, delivery in enumerate(deliveries, 1) for draft in delivery.drafts]
    blinds = [(n, one.subject, blind) for n, of in by_delivery.items() for one in of for blind in one.blinds]
    arguments: list[object] = [
        ledger_id,
        [draft.connection_id for _, draft, _ in events],
        [draft.source for _, draft, _ in events],
        [draft.org for _, draft, _ in events],
        [draft.kind for _, draft, _ in events],
        [draft.event_key for _, draft, _ in events],
        [draft.content for _, draft, _ in events],
        [_full_content_hash(draft.content, of) for _, draft, of in events],
        [draft.occurred_at for _, draft, _ in events],
        [n for n, _, _ in events],
        [draft.ordinal for _, draft, _ in events],
        [_head(draft.entry_head, of) for _, draft, of in events],
        [draft.entry_tail for _, draft, _ in events],
        [delivery.payload for delivery in deliveries],
        erasures,
        [n for n, _ in sealed],
        [one.subject for _, one in sealed],
        [one.key_id for _, one in sealed],
        [one.ciphertext for _, one in sealed],
        [one.commitment for _, one in sealed],
        [n for n, _, _ in blinds],
        [subject for _, subject, _ in blinds],
        [blind for _, _, blind in blinds],
    ]
    return AppendBatch(ledger_id, deliveries, arguments)


def _full_content_hash(content: bytes, sealed: Sequence[EncryptedPart] | None) -> bytes:
    """Name what an event says, its personal part included. What a capture wrapped around it is no part of it."""
    said = [part.fingerprint for part in sealed or () if part.fingerprint]
    if not said:
        return content
    return hashlib.sha256(b"".join((content, *said))).digest()[:KEY_BYTES]


def _head(entry_head: str, sealed: Sequence[EncryptedPart] | None) -> str:
    commitment = commitment_of(sealed or ())
    personal = "" if commitment is None else f'"personal":"{commitment.hex()}",'
    return f'{entry_head}{personal}"position":'
