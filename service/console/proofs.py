"""The proof badge of an event: the newest tree head that includes it, and the witnesses that cosigned that head."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ledger.transparency import tree_heads
from service.queries.context import QueryContext


class ProofBadge(NamedTuple):
    """State of the proof of an event. `size` is 0 if no tree head includes the event yet."""

    size: int
    signed_at: datetime | None
    witnesses: Sequence[str]
    problem: str | None  # the reason why nothing is signed


async def proof_badge(query: QueryContext, position: int) -> ProofBadge:
    """Return the state of the proof of the event at a position."""
    connection, ledger_id = query.connection, query.ledger.ledger_id
    signed = await tree_heads.latest_checkpoint(connection, ledger_id)
    problem = await tree_heads.current_seal_problem(connection, ledger_id)
    sentence = None if problem is None else problem.detail
    if signed is None or signed.size < position:
        return ProofBadge(0, None, (), sentence)
    witnesses = await connection.fetch(COSIGNED, ledger_id, signed.checkpoint)
    return ProofBadge(signed.size, signed.signed_at, [row["witness"] for row in witnesses], sentence)


COSIGNED = "SELECT witness FROM ledger.cosignatures WHERE ledger_id = $1 AND checkpoint = $2 ORDER BY witness"
