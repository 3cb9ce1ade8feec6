"""MACs on configuration rows. Access to the database without the master key is not enough to make a valid row.

Each row of a table in MAC_COLUMNS carries a MAC over its other important columns. A row with a wrong MAC has no effect:
the API key or published log is unknown, the connection takes no deliveries, and the endpoint gets none. `loyalty
verify` names such rows.
"""

import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from ledger.database import Connection
from ledger.privacy.encryption import MasterKey

MAC_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "api_keys": ("ledger_id", "key_id", "secret_hash", "scopes", "created_at", "revoked_at"),
    "connections": (
        *("ledger_id", "connection_id", "source", "kind", "scheme", "header", "secrets", "created_at", "disabled_at"),
    ),
    "public_logs": ("ledger_id", "token", "created_at", "withdrawn_at"),
    "endpoints": (
        *("ledger_id", "endpoint_id", "url", "types", "kinds", "events_per_request", "notice_days", "secrets"),
        *("created_at", "disabled_at"),
    ),
}
LABELLED = ("api_keys", "connections", "endpoints")  # the MAC covers the label too, unless it is empty
NAMED_BY = {"api_keys": "key_id", "connections": "connection_id", "public_logs": "token", "endpoints": "endpoint_id"}
TITLES = {
    "api_keys": "API key",
    "connections": "connection",
    "public_logs": "published log",
    "endpoints": "endpoint",
}
SCHEMAS = {"endpoints": "outgoing"}  # of a table outside the schema `ledger`
ROWS = {
    table: f"SELECT {', '.join(columns)}{', label' if table in LABELLED else ''}, mac "  # noqa: S608
    f"FROM {SCHEMAS.get(table, 'ledger')}.{table} WHERE ledger_id = $1 ORDER BY created_at"
    for table, columns in MAC_COLUMNS.items()
}


def mac_of(master_key: MasterKey, table: str, row: Mapping[str, Any]) -> bytes:
    """Return the MAC of a row."""
    values = [table, *(row[column] for column in MAC_COLUMNS[table])]
    if row.get("label"):
        values.append(row["label"])
    return hmac.digest(master_key.derive(b"configuration"), msgspec.msgpack.encode(values), "sha256")


def has_valid_mac(master_key: MasterKey, table: str, row: Mapping[str, Any]) -> bool:
    """Return True if a row still has the values for which its MAC was made with this master key."""
    return hmac.compare_digest(row["mac"] or b"", mac_of(master_key, table, row))


def endpoint_context(ledger_id: int, endpoint_id: str) -> bytes:
    """Return the associated data of an endpoint's encrypted secret, so that it decrypts in no other row."""
    return f"endpoint {ledger_id} {endpoint_id}".encode()


def secret_context(ledger_id: int, connection_id: str) -> bytes:
    """Return the associated data of a connection's encrypted secret, so that it decrypts in no other row."""
    return f"connection {ledger_id} {connection_id}".encode()


class RowMacReport(NamedTuple):
    """The number of configuration rows with a valid MAC, and a sentence for each row with a wrong MAC."""

    valid_count: int
    wrong: list[str]


async def check_row_macs(connection: Connection, master_key: MasterKey, ledger_id: int) -> RowMacReport:
    """Check the MAC of every API key, connection, published log and endpoint of a ledger."""
    valid_count, wrong = 0, []
    for table, query in ROWS.items():
        for row in await connection.fetch(query, ledger_id):
            if has_valid_mac(master_key, table, row):
                valid_count += 1
            else:
                name = f"{TITLES[table]} {row[NAMED_BY[table]]}"
                wrong.append(f"{name} was made or changed in the database, not by this service")
    return RowMacReport(valid_count, wrong)
