"""Addresses of logs that can be read without an API key. Existing verifiers send no bearer token.

None exists until an operator creates it. A log shows entries, hashes and signed checkpoints: the number, times and
kinds of events, and commitments to their content. It shows no payload and no personal value.
"""

import secrets
from datetime import datetime
from typing import NamedTuple

from ledger import clock
from ledger.database import Connection
from ledger.errors import LogUnknown
from ledger.privacy.encryption import MasterKey
from ledger.store.registry import Ledger
from ledger.store.row_macs import has_valid_mac, mac_of

TOKEN_BYTES = 18

CREATE = """
    INSERT INTO ledger.public_logs (ledger_id, token, created_at, withdrawn_at, mac) VALUES ($1, $2, $3, $4, $5)
"""
LIST = """
    SELECT token, created_at FROM ledger.public_logs WHERE ledger_id = $1 AND withdrawn_at IS NULL ORDER BY created_at
"""
FIND = """
    SELECT p.ledger_id, l.name, p.token, p.created_at, p.withdrawn_at, p.mac
      FROM ledger.public_logs p JOIN ledger.ledgers l USING (ledger_id)
     WHERE p.token = $1 AND p.withdrawn_at IS NULL
"""
WITHDRAW = """
    UPDATE ledger.public_logs SET withdrawn_at = now() WHERE ledger_id = $1 AND token = $2 AND withdrawn_at IS NULL
    RETURNING ledger_id, token, created_at, withdrawn_at
"""
BIND = "UPDATE ledger.public_logs SET mac = $3 WHERE ledger_id = $1 AND token = $2"


class PublicLog(NamedTuple):
    token: str
    created_at: datetime


async def publish(connection: Connection, master_key: MasterKey, ledger: Ledger) -> str:
    """Create an address, and return its unguessable token."""
    token = secrets.token_urlsafe(TOKEN_BYTES).replace("-", "a").replace("_", "b")
    row = {"ledger_id": ledger.ledger_id, "token": token, "created_at": clock.now(), "withdrawn_at": None}
    await connection.execute(CREATE, *row.values(), mac_of(master_key, "public_logs", row))
    return token


async def list_published(connection: Connection, ledger: Ledger) -> list[PublicLog]:
    """List the addresses that are not withdrawn."""
    return [PublicLog(*row) for row in await connection.fetch(LIST, ledger.ledger_id)]


async def find_published(connection: Connection, master_key: MasterKey, token: str) -> Ledger:
    """Return the ledger of an address. Raises LogUnknown if it is absent, withdrawn, or its row has a wrong MAC."""
    row = await connection.fetchrow(FIND, token)
    if row is None or not has_valid_mac(master_key, "public_logs", row):
        raise LogUnknown
    return Ledger(row["ledger_id"], row["name"])


async def withdraw(connection: Connection, master_key: MasterKey, ledger: Ledger, token: str) -> None:
    """Withdraw an address. Raises LogUnknown if it is absent or withdrawn already."""
    async with connection.transaction():
        row = await connection.fetchrow(WITHDRAW, ledger.ledger_id, token)
        if row is None:
            raise LogUnknown
        await connection.execute(BIND, ledger.ledger_id, token, mac_of(master_key, "public_logs", row))
