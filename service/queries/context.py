"""Context of a query: a connection, a ledger, and the caller."""

from typing import NamedTuple

from ledger.database import Connection
from ledger.store.registry import Ledger


class QueryContext(NamedTuple):
    """One caller's access to one ledger during one query."""

    connection: Connection
    ledger: Ledger
    key_id: str
    body_hash_key: bytes | None = None  # key that finds an address used as an id; None: such ids are not found
