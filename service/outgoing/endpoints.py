"""Endpoints: the receivers of a ledger's messages. Their secrets are stored encrypted, and each row carries a MAC.

A row that was made or changed by SQL alone gets no messages. So access to the database does not redirect facts.
"""

import logging
import secrets
from collections.abc import Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import Any, NamedTuple

import asyncpg
import msgspec

from ledger import clock
from ledger.credentials import make_standard
from ledger.database import Connection
from ledger.errors import EndpointUnknown, RequestInvalid
from ledger.privacy.encryption import MasterKey
from ledger.store.registry import Ledger, checked_label
from ledger.store.row_macs import endpoint_context, has_valid_mac, mac_of
from service.outgoing.addresses import Destinations, check_url
from service.outgoing.endpoint_options import CORRECTIONS, EndpointOptions, check_options, complete_types, stored_types
from service.outgoing.sinks.stream_addresses import is_stream, parse_stream_address
from service.outgoing.sinks.stream_credentials import StreamCredentials, check_credentials

SECRETS_MAX = 2  # live at once, during a rotation
ENDPOINTS_PER_LEDGER_MAX = 100
EXTRAS = {"nats": "nats", "kafka": "confluent_kafka"}  # the module that an extra brings

COUNT_ENDPOINTS = "SELECT count(*) FROM outgoing.endpoints WHERE ledger_id = $1"
CREATE_ENDPOINT = """
    INSERT INTO outgoing.endpoints
           (ledger_id, endpoint_id, url, types, kinds, events_per_request, notice_days, secrets, created_at,
            disabled_at, label, mac)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""
CREATE_CURSOR = "INSERT INTO outgoing.cursors (ledger_id, endpoint_id, position) VALUES ($1, $2, $3)"
_READ_ENDPOINTS = """
    SELECT e.ledger_id, l.name, e.endpoint_id, e.url, e.types, e.kinds, e.events_per_request, e.notice_days, e.secrets,
           e.created_at, e.disabled_at, e.label, e.mac
      FROM outgoing.endpoints e JOIN ledger.ledgers l ON l.ledger_id = e.ledger_id
"""
FIND_ENDPOINT = f"{_READ_ENDPOINTS} WHERE e.endpoint_id = $1"
LIST_ENDPOINTS = f"{_READ_ENDPOINTS} WHERE e.ledger_id = $1 ORDER BY e.created_at, e.endpoint_id"
LIST_ENABLED = f"{_READ_ENDPOINTS} WHERE e.disabled_at IS NULL ORDER BY e.ledger_id, e.created_at, e.endpoint_id"
_COLUMNS = """
    ledger_id, endpoint_id, url, types, kinds, events_per_request, notice_days, secrets, created_at, disabled_at, label
"""
SET_OPTIONS = f"""
    UPDATE outgoing.endpoints
       SET url = $3, types = $4, kinds = $5, events_per_request = $6, notice_days = $7, label = $8
     WHERE ledger_id = $1 AND endpoint_id = $2 RETURNING {_COLUMNS}
"""  # noqa: S608
SET_SECRETS = f"""
    UPDATE outgoing.endpoints SET secrets = $3 WHERE ledger_id = $1 AND endpoint_id = $2 RETURNING {_COLUMNS}
"""  # noqa: S608
SET_DISABLED = f"""
    UPDATE outgoing.endpoints SET disabled_at = $3 WHERE ledger_id = $1 AND endpoint_id = $2 RETURNING {_COLUMNS}
"""  # noqa: S608
BIND_ENDPOINT = "UPDATE outgoing.endpoints SET mac = $3 WHERE ledger_id = $1 AND endpoint_id = $2"
SET_STOP_REASON = """
    UPDATE outgoing.cursors
       SET stop_reason = $3, changes = changes + 1, resets = resets + 1,
           failures = 0, failing_since = NULL, retry_at = NULL
     WHERE ledger_id = $1 AND endpoint_id = $2
"""
DELETE_ENDPOINT = (
    "DELETE FROM outgoing.attempts WHERE ledger_id = $1 AND endpoint_id = $2",
    "DELETE FROM outgoing.notices WHERE ledger_id = $1 AND endpoint_id = $2",
    "DELETE FROM outgoing.cursors WHERE ledger_id = $1 AND endpoint_id = $2",
    "DELETE FROM outgoing.endpoints WHERE ledger_id = $1 AND endpoint_id = $2",
)

_log = logging.getLogger(__name__)


class Endpoint(NamedTuple):
    """One receiver, with its secrets decrypted."""

    ledger: Ledger
    endpoint_id: str
    url: str
    types: tuple[str, ...]
    kinds: tuple[str, ...]  # of facts; empty means all
    events_per_request: int
    notice_days: int
    secrets: tuple[bytes, ...]
    created_at: datetime
    disabled_at: datetime | None
    label: str
    corrections: bool  # sent after a promotion

    @property
    def batched(self) -> bool:
        """True if a body is an array of CloudEvents."""
        return self.events_per_request > 1

    @property
    def signing_secrets(self) -> tuple[bytes, ...]:
        """The secrets that sign requests. A stream has none: its only secret is its credentials in JSON."""
        return () if is_stream(self.url) else self.secrets

    @property
    def newest_secret(self) -> str | None:
        """The secret to show when it is made; None for a stream."""
        return self.signing_secrets[-1].decode() if self.signing_secrets else None


async def create_endpoint(
    connection: Connection,
    master_key: MasterKey,
    ledger: Ledger,
    url: str,
    options: EndpointOptions,
    *,
    destinations: Destinations,
    after: int,
    credentials: StreamCredentials | None = None,
) -> Endpoint:
    """Create an endpoint, which gets the messages of all events after the position `after`. Raises RequestInvalid.

    `credentials` are for a stream only.
    """
    endpoint_id = f"ep_{secrets.token_hex(12)}"
    url = check_endpoint(url, options, destinations)
    secret = _first_secret(url, credentials)
    row: dict[str, Any] = {
        "ledger_id": ledger.ledger_id,
        "endpoint_id": endpoint_id,
        "url": url,
        "types": stored_types(complete_types(options.types), corrections=options.corrections),
        "kinds": sorted(set(options.kinds)),
        "events_per_request": options.events_per_request,
        "notice_days": options.notice_days,
        "secrets": [master_key.encrypt(secret, endpoint_context(ledger.ledger_id, endpoint_id))],
        "created_at": clock.now(),
        "disabled_at": None,
        "label": checked_label(options.label),
    }
    async with connection.transaction():
        if await connection.fetchval(COUNT_ENDPOINTS, ledger.ledger_id) >= ENDPOINTS_PER_LEDGER_MAX:
            raise RequestInvalid(f"a ledger has at most {ENDPOINTS_PER_LEDGER_MAX} endpoints; delete one first")
        await connection.execute(CREATE_ENDPOINT, *row.values(), mac_of(master_key, "endpoints", row))
        await connection.execute(CREATE_CURSOR, ledger.ledger_id, endpoint_id, after)
    return _decrypted_endpoint({**row, "name": ledger.name}, master_key)


def _first_secret(url: str, credentials: StreamCredentials | None) -> bytes:
    """Return the secret of a new endpoint: a new one for a webhook, the given credentials of a stream."""
    if is_stream(url):
        return _encoded_credentials(url, credentials or StreamCredentials())
    if credentials is not None:
        raise RequestInvalid("`credentials` are for streams; the signature authenticates requests to a webhook")
    return make_standard().encode()


def _encoded_credentials(url: str, credentials: StreamCredentials) -> bytes:
    address = parse_stream_address(url)
    if find_spec(EXTRAS[address.kind]) is None:
        raise RequestInvalid(f"streams of {address.kind} need more packages: install loyalty-ledger[{address.kind}]")
    check_credentials(credentials, address)
    return msgspec.json.encode(credentials)


def check_endpoint(url: str, options: EndpointOptions, destinations: Destinations) -> str:
    """Check the address and the options of an endpoint. Return the address as it is stored. Raises RequestInvalid."""
    checked_label(options.label)
    check_options(options)
    return check_url(url, destinations)


async def find_endpoint(connection: Connection, master_key: MasterKey, endpoint_id: str) -> Endpoint:
    """Find an endpoint by its id, also a disabled one. Raises EndpointUnknown, also for a row with a wrong MAC."""
    row = await connection.fetchrow(FIND_ENDPOINT, endpoint_id)
    if row is None or not _is_valid(master_key, row):
        raise EndpointUnknown(endpoint_id)
    return _decrypted_endpoint(row, master_key)


async def find_endpoint_of(connection: Connection, master_key: MasterKey, ledger: Ledger, endpoint_id: str) -> Endpoint:
    """Find an endpoint of one ledger. Raises EndpointUnknown, also for an endpoint of another ledger."""
    endpoint = await find_endpoint(connection, master_key, endpoint_id)
    if endpoint.ledger.ledger_id != ledger.ledger_id:
        raise EndpointUnknown(endpoint_id)
    return endpoint


async def list_endpoints(connection: Connection, master_key: MasterKey, ledger: Ledger) -> list[Endpoint]:
    """List a ledger's endpoints, oldest first, including disabled ones. Rows with a wrong MAC are left out."""
    rows = await connection.fetch(LIST_ENDPOINTS, ledger.ledger_id)
    return [_decrypted_endpoint(row, master_key) for row in rows if _is_valid(master_key, row)]


async def list_enabled_endpoints(connection: Connection, master_key: MasterKey) -> list[Endpoint]:
    """List the endpoints of all ledgers that get messages."""
    rows = await connection.fetch(LIST_ENABLED)
    return [_decrypted_endpoint(row, master_key) for row in rows if _is_valid(master_key, row)]


async def change_options(
    connection: Connection,
    master_key: MasterKey,
    endpoint: Endpoint,
    url: str,
    options: EndpointOptions,
    *,
    destinations: Destinations,
) -> None:
    """Change the address and the options of an endpoint. Its position and its secrets stay. Raises RequestInvalid."""
    url = check_endpoint(url, options, destinations)
    check_same_place(endpoint, url)
    ids = endpoint.ledger.ledger_id, endpoint.endpoint_id
    values = (
        url,
        stored_types(complete_types(options.types), corrections=options.corrections),
        sorted(set(options.kinds)),
        options.events_per_request,
        options.notice_days,
    )
    async with connection.transaction():
        row = await connection.fetchrow(SET_OPTIONS, *ids, *values, checked_label(options.label))
        await _bind(connection, master_key, row, ids)


def check_same_place(endpoint: Endpoint, url: str) -> None:
    """Raise RequestInvalid if a new address would send stored credentials to another server, or without encryption."""
    if is_stream(endpoint.url) != is_stream(url):
        raise RequestInvalid("`url` must stay a webhook, or stay a stream; create another endpoint instead")
    if is_stream(url) and _place_of(endpoint.url) != _place_of(url):
        raise RequestInvalid(
            "`url` must keep the servers and the encryption of its credentials; create another endpoint instead"
        )


def _place_of(url: str) -> tuple[object, ...]:
    address = parse_stream_address(url)
    return address.kind, address.servers, address.uses_tls


async def rotate_secret(connection: Connection, master_key: MasterKey, endpoint: Endpoint) -> str:
    """Add a secret, and return it. Requests are signed by the new and the previous secret, until `settle_secret`.

    Raises RequestInvalid for a stream.
    """
    _refuse_stream(endpoint)
    added = make_standard()
    kept = [*endpoint.secrets, added.encode()][-SECRETS_MAX:]
    await _set_secrets(connection, master_key, endpoint, kept)
    return added


async def settle_secret(connection: Connection, master_key: MasterKey, endpoint: Endpoint) -> None:
    """End a rotation: requests are signed by the newest secret only. Raises RequestInvalid for a stream."""
    _refuse_stream(endpoint)
    await _set_secrets(connection, master_key, endpoint, endpoint.secrets[-1:])


def _refuse_stream(endpoint: Endpoint) -> None:
    if is_stream(endpoint.url):
        raise RequestInvalid("a stream has no secret that signs; replace its credentials")


async def replace_credentials(
    connection: Connection, master_key: MasterKey, endpoint: Endpoint, credentials: StreamCredentials
) -> None:
    """Replace the credentials of a stream. A stream that was failing is tried at once. Raises RequestInvalid."""
    if not is_stream(endpoint.url):
        raise RequestInvalid("`credentials` are for streams; rotate the secret of a webhook")
    encoded = _encoded_credentials(endpoint.url, credentials)
    async with connection.transaction():
        await _set_secrets(connection, master_key, endpoint, [encoded])
        if endpoint.disabled_at is None:
            await connection.execute(SET_STOP_REASON, endpoint.ledger.ledger_id, endpoint.endpoint_id, None)


async def enable_endpoint(connection: Connection, master_key: MasterKey, endpoint: Endpoint) -> None:
    """Send messages again, from the cursor on. Earlier failures are forgotten."""
    await _set_disabled(connection, master_key, endpoint, None, None)


async def disable_endpoint(
    connection: Connection, master_key: MasterKey, endpoint: Endpoint, reason: str | None = None
) -> None:
    """Send nothing until the endpoint is enabled again. `reason` is why the sender does it; None for an operator."""
    await _set_disabled(connection, master_key, endpoint, clock.now(), reason)


async def delete_endpoint(connection: Connection, endpoint: Endpoint) -> None:
    """Remove an endpoint with its cursor and its log."""
    async with connection.transaction():
        for statement in DELETE_ENDPOINT:
            await connection.execute(statement, endpoint.ledger.ledger_id, endpoint.endpoint_id)


async def _set_secrets(
    connection: Connection, master_key: MasterKey, endpoint: Endpoint, kept: Sequence[bytes]
) -> None:
    ids = endpoint.ledger.ledger_id, endpoint.endpoint_id
    encrypted = [master_key.encrypt(secret, endpoint_context(*ids)) for secret in kept]
    async with connection.transaction():
        await _bind(connection, master_key, await connection.fetchrow(SET_SECRETS, *ids, encrypted), ids)


async def _set_disabled(
    connection: Connection, master_key: MasterKey, endpoint: Endpoint, at: datetime | None, reason: str | None
) -> None:
    ids = endpoint.ledger.ledger_id, endpoint.endpoint_id
    async with connection.transaction():
        await _bind(connection, master_key, await connection.fetchrow(SET_DISABLED, *ids, at), ids)
        await connection.execute(SET_STOP_REASON, *ids, reason)


async def _bind(
    connection: Connection, master_key: MasterKey, row: asyncpg.Record | None, ids: tuple[int, str]
) -> None:
    """Write the MAC of a changed row. Raises EndpointUnknown if the row is gone."""
    if row is None:
        raise EndpointUnknown(ids[1])
    await connection.execute(BIND_ENDPOINT, *ids, mac_of(master_key, "endpoints", row))


def _is_valid(master_key: MasterKey, row: asyncpg.Record) -> bool:
    if has_valid_mac(master_key, "endpoints", row):
        return True
    _log.error("endpoint %s was made or changed in the database, not by this service: refused", row["endpoint_id"])
    return False


def _decrypted_endpoint(row: Any, master_key: MasterKey) -> Endpoint:
    context = endpoint_context(row["ledger_id"], row["endpoint_id"])
    return Endpoint(
        Ledger(row["ledger_id"], row["name"]),
        row["endpoint_id"],
        row["url"],
        tuple(name for name in row["types"] if name != CORRECTIONS),
        tuple(row["kinds"]),
        row["events_per_request"],
        row["notice_days"],
        tuple(master_key.decrypt(encrypted, context) for encrypted in row["secrets"]),
        row["created_at"],
        row["disabled_at"],
        row["label"],
        CORRECTIONS in row["types"],
    )
