"""What a query needs: a connection, a ledger, and the caller."""

from typing import NamedTuple

from ledger.database import Connection
from ledger.store.registry import Ledger


class QueryContext(NamedTuple):
    """One caller's view of one ledger while one request is answered."""

    connection: Connection
    ledger: Ledger
    key_id: str
    mask: bytes | None = None  # with which an address that serves as an id is found; None: it is not looked for
