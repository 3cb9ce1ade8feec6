"""The only INSERT on ledger.events: one call of ledger.append, one transaction, one fsync for many deliveries.

The function (migrations/versions/r0001_ledger.sql) numbers densely under the ledger's lock and is idempotent: whoever
does not know whether a call was committed calls again, and is answered with the positions of the first time.
"""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from ledger.database import Connection
from ledger.errors import LedgerUnavailable, LedgerUnknown
from ledger.identify import Delivery

APPEND = """
    SELECT position, outcome FROM ledger.append(
        $1, $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::timestamptz[],
        $9::int[], $10::int[], $11::text[], $12::text[], $13::bytea[])
"""


class Appended(NamedTuple):
    """What became of one event: "appended", "duplicate" (its first position is given) or "conflict" (appended too)."""

    position: int
    outcome: str


async def append(connection: Connection, ledger_id: int, deliveries: Sequence[Delivery]) -> list[list[Appended]]:
    """Append all events of some deliveries, in order; answer for each delivery with one outcome an event.

    Raises LedgerUnknown, or LedgerUnavailable if the database cannot store now: then it may or may not have stored,
    and the same call may be made again.
    """
    drafts = [(n, draft) for n, delivery in enumerate(deliveries, 1) for draft in delivery.drafts]
    try:
        rows = await connection.fetch(
            APPEND,
            ledger_id,
            [draft.connection_id for _, draft in drafts],
            [draft.source for _, draft in drafts],
            [draft.org for _, draft in drafts],
            [draft.kind for _, draft in drafts],
            [draft.event_key for _, draft in drafts],
            [draft.content for _, draft in drafts],
            [draft.occurred_at for _, draft in drafts],
            [n for n, _ in drafts],
            [draft.ordinal for _, draft in drafts],
            [draft.entry_head for _, draft in drafts],
            [draft.entry_tail for _, draft in drafts],
            [delivery.payload for delivery in deliveries],
        )
    except asyncpg.ForeignKeyViolationError:
        raise LedgerUnknown(ledger_id) from None
    except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.OperatorInterventionError) as error:
        raise LedgerUnavailable(type(error).__name__) from None
    except (asyncpg.InsufficientResourcesError, asyncpg.PostgresSystemError, OSError, TimeoutError) as error:
        raise LedgerUnavailable(type(error).__name__) from None
    outcomes = iter([Appended(row["position"], row["outcome"]) for row in rows])
    return [[next(outcomes) for _ in delivery.drafts] for delivery in deliveries]
