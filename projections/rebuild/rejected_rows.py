"""Subjects whose rows PostgreSQL rejected during a rebuild. The failing event is found and excluded, as it would be
live.

Live, the failing event is the first one with which the rows are rejected (`advance.apply_batch`). The finished
generation finds the same event: it folds the subject from ever fewer of its facts.
"""

from collections.abc import Sequence

from ledger.database import Connection
from ledger.facts import RecordedFact
from ledger.intake.interpret import interpret
from ledger.store.read import event_at
from projections.definition import Projection
from projections.engine import advance, row_changes, store
from projections.engine.group_facts import read_group
from projections.engine.groups import groups_of
from projections.engine.programme_terms import load_terms
from projections.engine.subject_history import fold_from_start
from projections.registry import BY_SUBJECT

CREATE_REJECTED = """
    CREATE TABLE IF NOT EXISTS refused (ledger_id int NOT NULL, subject_kind text NOT NULL, subject text NOT NULL)
"""
WRITE_REJECTED = "INSERT INTO refused (ledger_id, subject_kind, subject) VALUES ($1, $2, $3)"
READ_REJECTED = "SELECT ledger_id, subject_kind, subject FROM refused ORDER BY ledger_id, subject_kind, subject"
DELETE_REJECTED = "DELETE FROM refused WHERE ledger_id = $1 AND subject_kind = $2 AND subject = $3"


async def resolve_rejected(connection: Connection) -> None:
    """Exclude the failing events, and write the rows of every rejected subject."""
    for ledger_id, subject_kind, subject in await connection.fetch(READ_REJECTED):
        projection = BY_SUBJECT[subject_kind]
        async with connection.transaction():
            while True:
                groups = await groups_of(connection, ledger_id, projection, [subject])
                members = groups.members.get(subject, [subject])
                facts = await read_group(connection, ledger_id, projection, members)
                error = await _try_write(connection, ledger_id, projection, subject, facts)
                if error is None:
                    break
                position = await _first_rejected_position(connection, ledger_id, projection, subject, facts)
                await _exclude_event(connection, ledger_id, position, error)
            await connection.execute(DELETE_REJECTED, ledger_id, subject_kind, subject)


async def _exclude_event(connection: Connection, ledger_id: int, position: int, error: Exception) -> None:
    """Delete the facts of an event, and fold its other subjects again."""
    event = await event_at(connection, ledger_id, position)
    facts = interpret(event).facts
    await store.delete_facts(connection, ledger_id, facts)
    await advance.write_unread(connection, ledger_id, [(event, advance.rejected_interpretation(error))])
    rejected = {(row["subject_kind"], row["subject"]) for row in await connection.fetch(READ_REJECTED)}
    await advance.refold_from_facts(
        connection,
        ledger_id,
        [recorded for recorded in facts if (recorded.fact.subject_kind, recorded.fact.subject) not in rejected],
    )


async def _try_write(
    connection: Connection, ledger_id: int, projection: Projection, subject: str, facts: Sequence[RecordedFact]
) -> Exception | None:
    """Write the rows of a subject folded from some facts. Return PostgreSQL's error if it rejects them."""
    terms = await load_terms(connection, ledger_id, projection)
    change = fold_from_start(projection, subject, facts, terms)
    try:
        async with connection.transaction():
            await row_changes.write_changes(connection, ledger_id, projection, [change])
    except store.ROW_REJECTED as rejection:
        error: Exception = rejection
        return error
    return None


async def _first_rejected_position(
    connection: Connection, ledger_id: int, projection: Projection, subject: str, facts: Sequence[RecordedFact]
) -> int:
    """Find the first position whose facts make PostgreSQL reject the rows. `facts` are all facts of the subject, in
    order.
    """
    positions = sorted({recorded.occurrence.position for recorded in facts})
    good, bad = -1, len(positions) - 1
    while bad - good > 1:
        middle = (good + bad) // 2
        facts_upto = [recorded for recorded in facts if recorded.occurrence.position <= positions[middle]]
        if await _try_write(connection, ledger_id, projection, subject, facts_upto):
            bad = middle
        else:
            good = middle
    return positions[bad]
