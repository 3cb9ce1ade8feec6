"""API keys of a ledger: each opens a part of the API. Only hashes of their secrets are stored."""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ledger import clock
from ledger.database import Connection
from ledger.errors import BadCredentials, RequestInvalid
from ledger.privacy.encryption import MasterKey
from ledger.store.registry import Ledger, checked_label
from ledger.store.row_macs import has_valid_mac, mac_of

OPERATOR = "operator"  # for resources that all ledgers share; `admin` of one ledger does not include it
SCOPES = ("read", "audit", "reveal", "admin", OPERATOR)
API_KEY_PATTERN = re.compile(r"ll_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")

CREATE_KEY = """
    INSERT INTO ledger.api_keys (ledger_id, key_id, secret_hash, scopes, created_at, revoked_at, label, mac)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
FIND_KEY = """
    SELECT k.ledger_id, l.name, k.key_id, k.secret_hash, k.scopes, k.created_at, k.revoked_at, k.label, k.mac
      FROM ledger.api_keys k JOIN ledger.ledgers l USING (ledger_id) WHERE k.key_id = $1 AND k.revoked_at IS NULL
"""
LIST_KEYS = """
    SELECT ledger_id, key_id, secret_hash, scopes, created_at, revoked_at, label, mac FROM ledger.api_keys
     WHERE ledger_id = $1 ORDER BY created_at, key_id
"""
REVOKE_KEY = """
    UPDATE ledger.api_keys SET revoked_at = least(revoked_at, now())
     WHERE ledger_id = $1 AND key_id = $2
    RETURNING ledger_id, key_id, secret_hash, scopes, created_at, revoked_at, label
"""
BIND_KEY = "UPDATE ledger.api_keys SET mac = $3 WHERE ledger_id = $1 AND key_id = $2"

_log = logging.getLogger(__name__)


class ApiKey(NamedTuple):
    """An API key as it is listed, without its secret."""

    key_id: str
    label: str
    scopes: Sequence[str]
    created_at: datetime
    revoked_at: datetime | None


class ApiAccess(NamedTuple):
    """The access that an API key grants."""

    ledger: Ledger
    key_id: str
    scopes: frozenset[str]


async def create_key(
    connection: Connection, master_key: MasterKey, ledger: Ledger, scopes: Sequence[str], label: str = ""
) -> str:
    """Create an API key of a ledger and return it. It cannot be shown again.

    Raises RequestInvalid for an unknown scope, no scope, or a label that is too long.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise RequestInvalid(f"a scope must be one of {', '.join(SCOPES)}: {', '.join(unknown) or 'none given'}")
    key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    row = {
        "ledger_id": ledger.ledger_id,
        "key_id": key_id,
        "secret_hash": _hash_secret(secret),
        "scopes": sorted(set(scopes)),
        "created_at": clock.now(),
        "revoked_at": None,
        "label": checked_label(label),
    }
    await connection.execute(CREATE_KEY, *row.values(), mac_of(master_key, "api_keys", row))
    return f"ll_{key_id}_{secret}"


async def find_key(connection: Connection, master_key: MasterKey, key: str) -> ApiAccess:
    """Return the access that a key grants. Raises BadCredentials, also for a key whose row has a wrong MAC.

    A wrong secret takes as long as an unknown key.
    """
    match = API_KEY_PATTERN.fullmatch(key)
    if match is None:
        raise BadCredentials
    key_id, secret = match.groups()
    row = await connection.fetchrow(FIND_KEY, key_id)
    expected = row["secret_hash"] if row else bytes(32)
    if not hmac.compare_digest(_hash_secret(secret), expected) or row is None:
        raise BadCredentials
    if not has_valid_mac(master_key, "api_keys", row):
        _log.error("API key %s was made or changed in the database, not by this service: refused", key_id)
        raise BadCredentials
    return ApiAccess(Ledger(row["ledger_id"], row["name"]), key_id, frozenset(row["scopes"]))


async def list_keys(connection: Connection, master_key: MasterKey, ledger: Ledger) -> list[ApiKey]:
    """List a ledger's API keys, oldest first, including revoked ones. Keys with a wrong MAC are left out."""
    rows = await connection.fetch(LIST_KEYS, ledger.ledger_id)
    return [
        ApiKey(row["key_id"], row["label"], row["scopes"], row["created_at"], row["revoked_at"])
        for row in rows
        if has_valid_mac(master_key, "api_keys", row)
    ]


async def revoke_key(connection: Connection, master_key: MasterKey, ledger: Ledger, key_id: str) -> None:
    """Revoke an API key. Raises RequestInvalid if the ledger has no such key."""
    async with connection.transaction():
        row = await connection.fetchrow(REVOKE_KEY, ledger.ledger_id, key_id)
        if row is None:
            raise RequestInvalid(f"the ledger has no API key {key_id!r}")
        await connection.execute(BIND_KEY, ledger.ledger_id, key_id, mac_of(master_key, "api_keys", row))


def _hash_secret(secret: str) -> bytes:
    """Hash a key's secret. A slow hash would add no safety to 256 random bits, and would block the event loop."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
