"""Our own acts: events of this system, appended to the ledger like anybody's, so that replay knows of them.

What a vendor tells is stored whether or not it can be read; what we say ourselves must be read first. An act that would
give no facts is refused before it is appended, for nobody could take it back.
"""

import secrets
from datetime import datetime
from typing import Any

import orjson

from ledger import clock
from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.intake.identify import Delivery, Origin, identify
from ledger.intake.interpret import Event, interpret
from ledger.privacy.vault import Vault
from ledger.store.append import append
from ledger.store.registry import Ledger
from ledger.vendors.internal import SOURCE

CONNECTION = "-"  # our own events come over no connection


async def record_event(connection: Connection, vault: Vault, ledger: Ledger, kind: str, **said: Any) -> int:
    """Append an act of ours, which happens now; give its position. What it says is JSON; author and reason
    are sealed. Raises RequestInvalid where it could not be read again."""
    [[appended]] = await append(connection, vault, ledger.ledger_id, [build_event(vault, ledger, kind, **said)])
    return appended.position


def build_event(vault: Vault, ledger: Ledger, kind: str, identifier: str | None = None, **said: Any) -> Delivery:
    """Write down an act of ours, which happens now. Without an identifier it is like no other.

    Raises RequestInvalid where it could be stored, but never be read again: for a NUL character in it, or a figure or
    a day that is none.
    """
    now = clock.now()
    delivery = _written(vault, ledger, kind, identifier or secrets.token_hex(16), now, said)
    for draft in delivery.events:
        meaning = interpret(
            Event(
                position=0,
                source=draft.source,
                org=draft.org,
                kind=draft.kind,
                event_key=draft.event_key,
                content=draft.content,
                occurred_at=draft.occurred_at,
                recorded_at=now,
                ordinal=draft.ordinal,
                payload=delivery.payload,
            )
        )
        if meaning.status is not None:
            raise RequestInvalid(meaning.reason)
    return delivery


def event_key_of(vault: Vault, ledger: Ledger, kind: str, identifier: str) -> bytes:
    """Give the event key of an act of ours, whatever it says."""
    return _written(vault, ledger, kind, identifier, clock.now(), {}).events[0].event_key


def _written(vault: Vault, ledger: Ledger, kind: str, identifier: str, now: datetime, said: dict[str, Any]) -> Delivery:
    written = orjson.dumps({"event": kind, "id": identifier, "at": now.isoformat(), **said})
    if b"\\u0000" in written:
        raise RequestInvalid("a NUL character")
    return identify(Origin(ledger.name, CONNECTION, SOURCE, None, vault.body_hash_key(ledger.ledger_id)), written)
