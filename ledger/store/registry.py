"""Ledgers and their inbound connections. The secrets of connections are stored encrypted."""

import logging
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from ledger import clock
from ledger.credentials import SCHEMES, check_header, check_secret, make_secret
from ledger.database import Connection
from ledger.errors import ConnectionUnknown, LedgerUnknown, NameTaken, RequestInvalid
from ledger.events import Origin
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store.row_macs import has_valid_mac, mac_of, secret_context
from ledger.vendors import VENDORS
from ledger.vendors.fields import squeeze
from ledger.vendors.personal_values import refuse_personal_value
from ledger.vendors.vendor import Vendor

SECRETS_PER_CONNECTION_MAX = 4
LABEL_CHARACTERS_MAX = 100
CONNECTION_ID_PATTERN = re.compile(r"[0-9a-f]{32}")
LEDGER_NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

FREE_LEDGER_ID = """
    SELECT CASE WHEN $1::int IS NULL OR bool_or(ledger_id = $1) THEN coalesce(max(ledger_id), 0) + 1 ELSE $1 END
      FROM ledger.ledgers
"""
CREATE_LEDGER = """
    INSERT INTO ledger.ledgers (ledger_id, name) VALUES ($1, $2) ON CONFLICT (ledger_id) DO NOTHING RETURNING true
"""
FIND_LEDGER = "SELECT ledger_id, name FROM ledger.ledgers WHERE name = $1"
LIST_LEDGERS = "SELECT ledger_id, name FROM ledger.ledgers ORDER BY ledger_id"
CREATE_CONNECTION = """
    INSERT INTO ledger.connections
           (ledger_id, connection_id, source, kind, scheme, header, secrets, created_at, disabled_at, label, mac)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
FIND_CONNECTION = """
    SELECT c.ledger_id, l.name, c.connection_id, c.source, c.kind, c.scheme, c.header, c.secrets, c.created_at,
           c.disabled_at, c.label, c.mac
      FROM ledger.connections c JOIN ledger.ledgers l USING (ledger_id) WHERE c.connection_id = $1
"""
LIST_CONNECTIONS = """
    SELECT c.ledger_id, l.name, c.connection_id, c.source, c.kind, c.scheme, c.header, c.secrets, c.created_at,
           c.disabled_at, c.label, c.mac
      FROM ledger.connections c JOIN ledger.ledgers l USING (ledger_id) WHERE c.ledger_id = $1
     ORDER BY c.created_at, c.connection_id
"""
SET_SECRETS = """
    UPDATE ledger.connections SET secrets = $3 WHERE ledger_id = $1 AND connection_id = $2
    RETURNING ledger_id, connection_id, source, kind, scheme, header, secrets, created_at, disabled_at, label
"""
BIND_CONNECTION = "UPDATE ledger.connections SET mac = $3 WHERE ledger_id = $1 AND connection_id = $2"
DISABLE = """
    UPDATE ledger.connections SET disabled_at = least(disabled_at, now()) WHERE ledger_id = $1 AND connection_id = $2
    RETURNING ledger_id, connection_id, source, kind, scheme, header, secrets, created_at, disabled_at, label
"""
ENABLE = """
    UPDATE ledger.connections SET disabled_at = NULL WHERE ledger_id = $1 AND connection_id = $2
    RETURNING ledger_id, connection_id, source, kind, scheme, header, secrets, created_at, disabled_at, label
"""

_log = logging.getLogger(__name__)


class Ledger(NamedTuple):
    ledger_id: int
    name: str


class InboundConnection(NamedTuple):
    """One configured webhook, with its secrets decrypted."""

    ledger: Ledger
    connection_id: str
    source: str
    kind: str | None  # the kind of all its events, for a vendor that sends objects without an envelope
    scheme: str
    header: str
    secrets: tuple[bytes, ...]
    disabled_at: datetime | None
    label: str = ""  # free text for operators

    def origin(self, vault: Vault) -> Origin:
        """Return the origin of its deliveries."""
        body_hash_key = vault.body_hash_key(self.ledger.ledger_id)
        return Origin(self.ledger.name, self.connection_id, self.source, self.kind, body_hash_key)


async def create_ledger(connection: Connection, name: str, wanted_id: int | None = None) -> Ledger:
    """Create a ledger, with the number `wanted_id` if it is free.

    Raises NameTaken, or RequestInvalid if the name is not 1 to 63 characters of [a-z0-9_-].
    """
    if not LEDGER_NAME_PATTERN.fullmatch(name):
        raise RequestInvalid(f"a ledger's name has 1 to 63 characters of a-z, 0-9, _ and -: {name!r}")
    try:
        while True:
            ledger_id: int = await connection.fetchval(FREE_LEDGER_ID, wanted_id)
            if await connection.fetchval(CREATE_LEDGER, ledger_id, name):
                return Ledger(ledger_id, name)  # otherwise another process took the number meanwhile
    except asyncpg.UniqueViolationError:
        raise NameTaken(name) from None


async def find_ledger(connection: Connection, name: str) -> Ledger:
    """Find a ledger by name. Raises LedgerUnknown."""
    row = await connection.fetchrow(FIND_LEDGER, name)
    if row is None:
        raise LedgerUnknown(name)
    return Ledger(*row)


async def list_ledgers(connection: Connection) -> list[Ledger]:
    """List all ledgers, oldest first."""
    return [Ledger(*row) for row in await connection.fetch(LIST_LEDGERS)]


async def create_connection(
    connection: Connection,
    master_key: MasterKey,
    ledger: Ledger,
    *,
    source: str,
    kind: str | None = None,
    scheme: str | None = None,
    header: str | None = None,
    secret: str | None = None,
    label: str = "",
) -> InboundConnection:
    """Configure an inbound webhook. Scheme and header default to the vendor's usual ones.

    Without `secret` a secret is generated, if the scheme allows it. Raises RequestInvalid for:

    - an unknown source, kind or scheme;
    - a header that cannot be used;
    - a missing secret, or one that could not authenticate a delivery;
    - a label that is too long.
    """
    vendor = VENDORS.get(source)
    if vendor is None:
        raise RequestInvalid(f"unknown source {source!r}; choose one of {', '.join(VENDORS)}")
    scheme = scheme or vendor.scheme
    if scheme not in SCHEMES:
        raise RequestInvalid(f"unknown scheme {scheme!r}; choose one of {', '.join(SCHEMES)}")
    header = check_header(scheme, header, vendor.header)
    kind = None if kind is None else _known_kind(vendor, kind)
    chosen = check_secret(scheme, make_secret(scheme) if secret is None else secret)
    created = InboundConnection(ledger, secrets.token_hex(16), source, kind, scheme, header, (chosen,), None, label)
    context = secret_context(ledger.ledger_id, created.connection_id)
    row = {
        "ledger_id": ledger.ledger_id,
        "connection_id": created.connection_id,
        "source": source,
        "kind": kind,
        "scheme": scheme,
        "header": header,
        "secrets": [master_key.encrypt(chosen, context)],
        "created_at": clock.now(),
        "disabled_at": None,
        "label": checked_label(label),
    }
    await connection.execute(CREATE_CONNECTION, *row.values(), mac_of(master_key, "connections", row))
    return created


def _known_kind(vendor: Vendor, kind: str) -> str:
    """Return a kind in the vendor's canonical spelling. Raises RequestInvalid if the vendor has no such kind."""
    names = {**vendor.repair_rules.event_aliases, **{name.lower(): name for name in vendor.kinds}}
    found = names.get(squeeze(kind).lower())
    if found is None:
        raise RequestInvalid(f"{vendor.name} has no kind {kind!r}; it has {', '.join(sorted(vendor.kinds))}")
    return found


async def find_connection(connection: Connection, master_key: MasterKey, connection_id: str) -> InboundConnection:
    """Find a connection by its id. Raises ConnectionUnknown if it is absent, disabled, or has a wrong MAC."""
    row = await connection.fetchrow(FIND_CONNECTION, connection_id)
    if row is None or row["disabled_at"] is not None:
        raise ConnectionUnknown(connection_id)
    if not has_valid_mac(master_key, "connections", row):
        _log.error("connection %s was made or changed in the database, not by this service: refused", connection_id)
        raise ConnectionUnknown(connection_id)
    return _decrypted_connection(row, master_key)


async def list_connections(connection: Connection, master_key: MasterKey, ledger: Ledger) -> list[InboundConnection]:
    """List a ledger's connections, oldest first, including disabled ones. Raises MasterKeyWrong.

    Connections with a wrong MAC are left out; `row_macs.check_row_macs` names them.
    """
    rows = await connection.fetch(LIST_CONNECTIONS, ledger.ledger_id)
    valid_rows = [row for row in rows if has_valid_mac(master_key, "connections", row)]
    if not valid_rows:  # if the master key is wrong, no MAC is valid, and decryption raises MasterKeyWrong
        for row in rows:
            _decrypted_connection(row, master_key)
    return [_decrypted_connection(row, master_key) for row in valid_rows]


async def add_secret(
    connection: Connection, master_key: MasterKey, inbound: InboundConnection, secret: str | None = None
) -> str:
    """Add a further valid secret to a connection, for rotation, and return it. The oldest is dropped beyond the limit.

    Raises RequestInvalid for a secret that is missing, could not authenticate, or is in use already.
    """
    chosen = make_secret(inbound.scheme) if secret is None else secret
    added = check_secret(inbound.scheme, chosen)
    if added in inbound.secrets:
        raise RequestInvalid("the connection has this secret already; give another one")
    await _set_secrets(connection, master_key, inbound, [*inbound.secrets, added][-SECRETS_PER_CONNECTION_MAX:])
    return chosen


async def drop_old_secrets(connection: Connection, master_key: MasterKey, inbound: InboundConnection) -> None:
    """End a rotation: only the newest secret stays."""
    await _set_secrets(connection, master_key, inbound, inbound.secrets[-1:])


async def disable_connection(connection: Connection, master_key: MasterKey, ledger: Ledger, connection_id: str) -> None:
    """Stop taking deliveries over a connection. Its stored events stay. Raises ConnectionUnknown."""
    await _update_bound(connection, master_key, DISABLE, ledger, connection_id)


async def enable_connection(connection: Connection, master_key: MasterKey, connection_id: str) -> Ledger:
    """Take deliveries again over a disabled connection, with the same secrets. Return its ledger.

    Raises ConnectionUnknown, also for a connection with a wrong MAC.
    """
    row = await connection.fetchrow(FIND_CONNECTION, connection_id)
    if row is None or not has_valid_mac(master_key, "connections", row):
        raise ConnectionUnknown(connection_id)
    ledger = Ledger(row["ledger_id"], row["name"])
    await _update_bound(connection, master_key, ENABLE, ledger, connection_id)
    return ledger


async def _update_bound(
    connection: Connection, master_key: MasterKey, statement: str, ledger: Ledger, connection_id: str
) -> None:
    """Execute an UPDATE of a connection's row, and bind the new values. Raises ConnectionUnknown."""
    async with connection.transaction():
        row = await connection.fetchrow(statement, ledger.ledger_id, connection_id)
        if row is None:
            raise ConnectionUnknown(connection_id)
        mac = mac_of(master_key, "connections", row)
        await connection.execute(BIND_CONNECTION, ledger.ledger_id, connection_id, mac)


async def _set_secrets(
    connection: Connection, master_key: MasterKey, inbound: InboundConnection, new_secrets: Sequence[bytes]
) -> None:
    ids = inbound.ledger.ledger_id, inbound.connection_id
    encrypted = [master_key.encrypt(secret, secret_context(*ids)) for secret in new_secrets]
    async with connection.transaction():
        row = await connection.fetchrow(SET_SECRETS, *ids, encrypted)
        if row is None:
            raise ConnectionUnknown(inbound.connection_id)
        await connection.execute(BIND_CONNECTION, *ids, mac_of(master_key, "connections", row))


def _decrypted_connection(row: asyncpg.Record, master_key: MasterKey) -> InboundConnection:
    context = secret_context(row["ledger_id"], row["connection_id"])
    return InboundConnection(
        Ledger(row["ledger_id"], row["name"]),
        row["connection_id"],
        row["source"],
        row["kind"],
        row["scheme"],
        row["header"],
        tuple(master_key.decrypt(encrypted, context) for encrypted in row["secrets"]),
        row["disabled_at"],
        row["label"],
    )


def checked_label(label: str) -> str:
    """Return a label without white space around it.

    Raises RequestInvalid if it is too long, not printable, or contains a personal value.
    """
    if len(label) > LABEL_CHARACTERS_MAX or not label.isprintable():
        raise RequestInvalid(f"a label is printable text of at most {LABEL_CHARACTERS_MAX} characters")
    return refuse_personal_value("label", label.strip())
