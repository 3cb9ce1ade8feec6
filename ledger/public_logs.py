"""Addresses at which a log is read without a key, by whoever was told them: existing verifiers send no bearer token.

There is none until somebody asks for one. It shows entries, hashes and signed checkpoints: no payload and no personal
value, but how much happened when, of which kind, and commitments to what.
"""

import secrets
from datetime import datetime
from typing import NamedTuple

from ledger.database import Connection
from ledger.errors import LedgerUnknown
from ledger.registry import Ledger

TOKEN_BYTES = 18

CREATE = "INSERT INTO ledger.public_logs (ledger_id, token) VALUES ($1, $2)"
LIST = """
    SELECT token, created_at FROM ledger.public_logs WHERE ledger_id = $1 AND withdrawn_at IS NULL ORDER BY created_at
"""
FIND = """
    SELECT p.ledger_id, l.name FROM ledger.public_logs p JOIN ledger.ledgers l USING (ledger_id)
     WHERE p.token = $1 AND p.withdrawn_at IS NULL
"""
WITHDRAW = """
    UPDATE ledger.public_logs SET withdrawn_at = now() WHERE ledger_id = $1 AND token = $2 AND withdrawn_at IS NULL
    RETURNING true
"""


class PublicLog(NamedTuple):
    token: str
    created_at: datetime


async def publish(connection: Connection, ledger: Ledger) -> str:
    """Make an address, and give its unguessable part."""
    token = secrets.token_urlsafe(TOKEN_BYTES).replace("-", "a").replace("_", "b")
    await connection.execute(CREATE, ledger.ledger_id, token)
    return token


async def list_published(connection: Connection, ledger: Ledger) -> list[PublicLog]:
    """List the addresses that are open."""
    return [PublicLog(*row) for row in await connection.fetch(LIST, ledger.ledger_id)]


async def find_published(connection: Connection, token: str) -> Ledger:
    """Give the ledger that an address shows. Raises LedgerUnknown."""
    row = await connection.fetchrow(FIND, token)
    if row is None:
        raise LedgerUnknown
    return Ledger(*row)


async def withdraw(connection: Connection, ledger: Ledger, token: str) -> None:
    """Close an address. Raises LedgerUnknown if there is none such."""
    if not await connection.fetchval(WITHDRAW, ledger.ledger_id, token):
        raise LedgerUnknown
