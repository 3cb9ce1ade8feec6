"""Make the keys and indexes of one table of a generation, once it holds all of its rows."""

from ledger.database import Connection
from projections.rebuild.work_items import IndexStatements, Work


async def make_indexes(connection: Connection, work: Work) -> int:
    """Make them; give how many."""
    assert isinstance(work, IndexStatements)
    for statement in work.statements:
        await connection.execute(statement)
    return len(work.statements)
