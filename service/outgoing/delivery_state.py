"""The state of the sender about each endpoint: its cursor, its failures, and the log of attempts.

Invariant: a cursor moves only after a receiver has accepted the messages before it, in the statement that logs the
attempt. It moves by compare-and-swap. So two senders, or a replay during a request, cannot lose a message.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.errors import EndpointUnknown
from service.outgoing.endpoints import Endpoint
from service.outgoing.messages import FeedCursor
from service.outgoing.sinks.message_sink import AnswerReceived

ATTEMPTS_KEPT = 10_000  # of each endpoint
ATTEMPTS_PER_PRUNING = 500

READ_STATES = """
    SELECT ledger_id, endpoint_id, position, ordinal, changes, attempts, succeeded, failures, failing_since, retry_at,
           stop_reason, resets
      FROM outgoing.cursors WHERE endpoint_id = ANY ($1)
"""
LOG_ATTEMPT = """
    WITH moved AS (
        UPDATE outgoing.cursors
           SET position = $4, ordinal = $5, changes = changes + 1, attempts = attempts + 1,
               succeeded = succeeded + CASE WHEN $6 = 0 THEN 1 ELSE 0 END, failures = $6, failing_since = $7,
               retry_at = $8
         WHERE ledger_id = $1 AND endpoint_id = $2 AND changes = $3
        RETURNING attempts
    )
    INSERT INTO outgoing.attempts (ledger_id, endpoint_id, attempt, at, message_id, events, first_id, last_id, outcome,
                                   status, milliseconds, detail)
    SELECT $1, $2, attempts, $9, $10, $11, $12, $13, $14, $15, $16, $17 FROM moved
    RETURNING attempt
"""
LOG_TEST = """
    WITH counted AS (
        UPDATE outgoing.cursors
           SET attempts = attempts + 1,
               succeeded = succeeded + CASE WHEN $12 THEN 1 ELSE 0 END
         WHERE ledger_id = $1 AND endpoint_id = $2
        RETURNING attempts
    )
    INSERT INTO outgoing.attempts (ledger_id, endpoint_id, attempt, at, message_id, events, first_id, last_id, outcome,
                                   status, milliseconds, detail)
    SELECT $1, $2, attempts, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM counted
    RETURNING attempt
"""
MOVE_CURSOR = """
    UPDATE outgoing.cursors SET position = $4, ordinal = $5, changes = changes + 1
     WHERE ledger_id = $1 AND endpoint_id = $2 AND changes = $3
    RETURNING changes
"""
PRUNE_ATTEMPTS = "DELETE FROM outgoing.attempts WHERE ledger_id = $1 AND endpoint_id = $2 AND attempt <= $3"
SET_CURSOR = """
    UPDATE outgoing.cursors
       SET position = $3, ordinal = 0, changes = changes + 1, resets = resets + 1,
           failures = 0, failing_since = NULL, retry_at = NULL
     WHERE ledger_id = $1 AND endpoint_id = $2
    RETURNING position
"""
LIST_ATTEMPTS = """
    SELECT attempt, at, message_id, events, first_id, last_id, outcome, status, milliseconds, detail
      FROM outgoing.attempts WHERE ledger_id = $1 AND endpoint_id = $2 AND attempt < $3
     ORDER BY attempt DESC LIMIT $4
"""
FIRST_PAGE = 2**62  # above every number of an attempt


class DeliveryState(NamedTuple):
    """The state of one endpoint. `changes` is the number that the next change must find."""

    cursor: FeedCursor
    changes: int
    attempts: int
    succeeded: int
    failures: int = 0
    failing_since: datetime | None = None
    retry_at: datetime | None = None
    stop_reason: str | None = None
    resets: int = 0


class Attempt(NamedTuple):
    """One attempt, as it is logged. `outcome` is delivered, failed, gone or test."""

    at: datetime
    message_id: str
    events: int
    first_id: str
    last_id: str
    outcome: str
    answer: AnswerReceived

    @property
    def columns(self) -> tuple[Any, ...]:
        """The columns from `at` to `detail`."""
        *before, answer = self
        return (*before, answer.status, answer.milliseconds, answer.detail)


class StateChanged(Exception):
    """Another sender, an operator or a replay has changed the state. It must be read again."""


async def read_states(connection: Connection, endpoint_ids: Sequence[str]) -> dict[str, DeliveryState]:
    """Read the states of some endpoints, by the id of the endpoint."""
    rows = await connection.fetch(READ_STATES, endpoint_ids)
    return {
        row["endpoint_id"]: DeliveryState(
            FeedCursor(row["position"], row["ordinal"]),
            *(row[name] for name in DeliveryState._fields[1:]),
        )
        for row in rows
    }


async def log_attempt(
    connection: Connection, endpoint: Endpoint, old: DeliveryState, new: DeliveryState, attempt: Attempt
) -> DeliveryState:
    """Log an attempt, and write the state after it. Return that state. Raises StateChanged."""
    ids = endpoint.ledger.ledger_id, endpoint.endpoint_id
    number: int | None = await connection.fetchval(
        LOG_ATTEMPT, *ids, old.changes, *new.cursor, new.failures, new.failing_since, new.retry_at, *attempt.columns
    )
    if number is None:
        raise StateChanged
    if number % ATTEMPTS_PER_PRUNING == 0:
        await connection.execute(PRUNE_ATTEMPTS, *ids, number - ATTEMPTS_KEPT)
    return new._replace(changes=old.changes + 1, attempts=number)


async def log_test(connection: Connection, endpoint: Endpoint, attempt: Attempt) -> None:
    """Log the attempt of a test. The cursor stays. Raises EndpointUnknown."""
    ids = endpoint.ledger.ledger_id, endpoint.endpoint_id
    if await connection.fetchval(LOG_TEST, *ids, *attempt.columns, attempt.answer.is_success) is None:
        raise EndpointUnknown(endpoint.endpoint_id)


async def move_cursor(
    connection: Connection, endpoint: Endpoint, old: DeliveryState, cursor: FeedCursor
) -> DeliveryState:
    """Move the cursor past events without messages for the endpoint. Raises StateChanged."""
    ids = endpoint.ledger.ledger_id, endpoint.endpoint_id
    changes = await connection.fetchval(MOVE_CURSOR, *ids, old.changes, *cursor)
    if changes is None:
        raise StateChanged
    return old._replace(cursor=cursor, changes=changes)


async def replay_after(connection: Connection, endpoint: Endpoint, position: int) -> None:
    """Send all messages after a position again, at once. Raises EndpointUnknown."""
    if await connection.fetchval(SET_CURSOR, endpoint.ledger.ledger_id, endpoint.endpoint_id, position) is None:
        raise EndpointUnknown(endpoint.endpoint_id)


async def list_attempts(
    connection: Connection, endpoint: Endpoint, *, before: int | None, limit: int
) -> list[dict[str, Any]]:
    """List attempts, newest first; with `before`, those with a smaller number."""
    rows = await connection.fetch(
        LIST_ATTEMPTS,
        endpoint.ledger.ledger_id,
        endpoint.endpoint_id,
        FIRST_PAGE if before is None else before,
        limit,
    )
    return [dict(row) for row in rows]
