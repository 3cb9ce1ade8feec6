"""Create the keys and indexes of one table of a generation, after all its rows are written."""

from ledger.database import Connection
from projections.rebuild.work_items import IndexStatements, Work


async def make_indexes(connection: Connection, work: Work) -> int:
    """Run the statements of a work item. Return their number."""
    assert isinstance(work, IndexStatements)
    for statement in work.statements:
        await connection.execute(statement)
    return len(work.statements)
