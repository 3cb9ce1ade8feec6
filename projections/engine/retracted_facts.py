"""Retracted facts: they were folded until their event lost a conflict to a later event with the same key.

Answers as known at an earlier position still hold these facts: projections/queries/as_of.py adds them again. They are
always recorded from all events of one key together, so live and rebuild record the same.
"""

from collections.abc import Sequence
from contextlib import suppress

from ledger.database import Connection
from ledger.events import Event
from ledger.facts import RecordedFact, encode, kind_of
from ledger.intake.interpret import interpret
from ledger.store.read import with_bodies
from projections.engine.conflicts import PolicyByKind, retractions
from projections.engine.store import ROW_REJECTED, stored_alias

CREATE_WITHDRAWN = """
    CREATE TABLE IF NOT EXISTS withdrawn (
        ledger_id int NOT NULL, subject_kind text COLLATE "C" NOT NULL, subject text COLLATE "C" NOT NULL,
        tag bytea NOT NULL, ordinal smallint NOT NULL, occurred_at timestamptz NOT NULL, position bigint NOT NULL,
        untimed boolean NOT NULL, kind text NOT NULL, body bytea NOT NULL,
        until_position bigint NOT NULL,  -- of the twin that won
        alias text COLLATE "C",
        PRIMARY KEY (ledger_id, subject_kind, subject, tag, ordinal))
"""
INDEX_WITHDRAWN = "CREATE INDEX IF NOT EXISTS withdrawn_position ON withdrawn (ledger_id, position)"

DELETE_RETRACTED = "DELETE FROM withdrawn WHERE ledger_id = $1 AND position = ANY ($2)"
COLUMNS = (
    "ledger_id",
    "subject_kind",
    "subject",
    "tag",
    "ordinal",
    "occurred_at",
    "position",
    "untimed",
    "kind",
    "body",
    "until_position",
    "alias",
)


async def record_retracted(
    connection: Connection, ledger_id: int, events: Sequence[Event], policies: PolicyByKind, since: int = 1
) -> None:
    """Record the retracted facts of all events with one key, in place of those recorded before.

    Only retractions by an event at position `since` or later are written. Earlier ones stay as they were recorded.
    Facts that PostgreSQL rejects were never folded, and are left out.
    """
    retracted = [(event, until) for event, until in retractions(events, policies) if until >= since]
    until_by_position = {event.position: until for event, until in retracted}
    replaced = list(until_by_position) if since > 1 else [event.position for event in events]
    await connection.execute(DELETE_RETRACTED, ledger_id, replaced)
    async for block in with_bodies(connection, ledger_id, [event for event, _ in retracted]):
        for event in block:
            until = until_by_position[event.position]
            records = [_row_of_fact(ledger_id, fact, until) for fact in interpret(event).facts]
            with suppress(*ROW_REJECTED):
                async with connection.transaction():
                    await connection.copy_records_to_table("withdrawn", records=records, columns=COLUMNS)


def _row_of_fact(ledger_id: int, recorded: RecordedFact, until: int) -> tuple[object, ...]:
    fact, at = recorded
    return (
        ledger_id,
        fact.subject_kind,
        fact.subject,
        at.event_tag,
        at.ordinal,
        at.occurred_at,
        at.position,
        at.untimed,
        kind_of(fact),
        encode(fact),
        until,
        stored_alias(fact),
    )
