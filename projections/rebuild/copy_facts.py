"""Copy the facts of the active generation into a new one. The copy ends at the checkpoint at the start of the rebuild.

Facts that the active generation receives later have later positions. The new generation gets them when it follows the
ledger.
"""

from ledger.database import Connection
from projections.engine import generations
from projections.engine.generations import checked_schema_name
from projections.engine.store import FACT_COLUMNS
from projections.rebuild.work_items import SubjectRange, Work

COLUMNS = ", ".join(FACT_COLUMNS)


async def copy_facts(connection: Connection, work: Work) -> int:
    """Copy the facts of some subjects; the new generation has none of them yet. Return their number."""
    assert isinstance(work, SubjectRange)
    active = checked_schema_name(await generations.active_schema(connection))
    status: str = await connection.execute(
        f"INSERT INTO facts ({COLUMNS}) SELECT {COLUMNS} FROM {active}.facts "  # noqa: S608
        "WHERE ledger_id = $1 AND subject_kind = $2 AND subject >= $3 AND ($4::text IS NULL OR subject < $4) "
        "AND position <= $5 ORDER BY ledger_id, subject_kind, subject, occurred_at, rank, tag, ordinal",
        work.ledger_id, work.subject_kind, work.low, work.high, work.last,
    )  # fmt: skip
    return int(status.rpartition(" ")[2])


async def copy_metadata(connection: Connection, schema: str) -> None:
    """Copy the active generation's checkpoints, unread events, retracted facts, policies and organisations.

    Call inside a transaction.
    """
    active = checked_schema_name(schema)
    await connection.execute(f"INSERT INTO checkpoints SELECT ledger_id, position FROM {active}.checkpoints")  # noqa: S608
    await connection.execute(
        "INSERT INTO unread (ledger_id, position, source, kind, unread, reason) "  # noqa: S608
        f"SELECT u.ledger_id, u.position, u.source, u.kind, u.unread, u.reason FROM {active}.unread u "
        "JOIN checkpoints c ON c.ledger_id = u.ledger_id AND u.position <= c.position"
    )
    await connection.execute(
        f"INSERT INTO withdrawn SELECT w.* FROM {active}.withdrawn w "  # noqa: S608
        "JOIN checkpoints c ON c.ledger_id = w.ledger_id AND w.until_position <= c.position"
    )
    await connection.execute(f"INSERT INTO policies SELECT ledger_id, source, kind, policy FROM {active}.policies")  # noqa: S608
    await connection.execute(f"INSERT INTO orgs SELECT ledger_id, source, org FROM {active}.orgs")  # noqa: S608
