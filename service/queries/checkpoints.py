"""The newest checkpoint of a ledger, with the cosignatures of witnesses."""

from ledger.database import Connection
from ledger.errors import NotSealedYet
from ledger.store.registry import Ledger
from ledger.transparency import tree_heads
from ledger.transparency.tree_heads import SignedCheckpoint

COSIGNATURES = "SELECT line FROM ledger.cosignatures WHERE ledger_id = $1 AND checkpoint = $2 ORDER BY witness"


async def cosigned_note(connection: Connection, ledger: Ledger, signed: SignedCheckpoint) -> bytes:
    """Return a checkpoint as signed, followed by the cosignatures collected so far."""
    rows = await connection.fetch(COSIGNATURES, ledger.ledger_id, signed.checkpoint)
    return signed.note + "".join(row["line"] for row in rows).encode()


async def newest_checkpoint(connection: Connection, ledger: Ledger) -> SignedCheckpoint:
    """Return the newest checkpoint. Raises NotSealedYet if there is none yet."""
    signed = await tree_heads.latest_checkpoint(connection, ledger.ledger_id)
    if signed is None:
        raise NotSealedYet
    return signed
