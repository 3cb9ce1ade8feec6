"""Our own acts: events of this system, appended to the ledger like anybody's, so that replay knows of them."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from ledger.append import append
from ledger.database import Connection
from ledger.errors import RequestInvalid
from ledger.identify import Delivery, Origin, identify
from ledger.registry import Ledger
from ledger.vault import Vault
from ledger.vendors.own import SOURCE

CONNECTION = "-"  # our own events come over no connection


async def append_act(connection: Connection, vault: Vault, ledger: Ledger, kind: str, **said: Any) -> int:
    """Append an act of ours, which happens now; give its position. What it says is JSON; author and reason
    are sealed."""
    [[appended]] = await append(connection, vault, ledger.ledger_id, [act(vault, ledger, kind, **said)])
    return appended.position


def act(vault: Vault, ledger: Ledger, kind: str, identifier: str | None = None, **said: Any) -> Delivery:
    """Write down an act of ours, which happens now. Without an identifier it is like no other.

    Raises RequestInvalid for a NUL character in it: it could be stored, but never read again.
    """
    body: Mapping[str, Any] = {
        "event": kind,
        "id": identifier or secrets.token_hex(16),
        "at": datetime.now(UTC).isoformat(),
        **said,
    }
    origin = Origin(ledger.name, CONNECTION, SOURCE, None, vault.mask(ledger.ledger_id))
    written = orjson.dumps(body)
    if b"\\u0000" in written:
        raise RequestInvalid("a NUL character")
    return identify(origin, written)
