"""Copy from the active generation the rows outside the rebuild's scope.

This happens in one repeatable-read snapshot. The new generation first advances to the position of that snapshot. So
copied and rebuilt rows are at the same position.
"""

from collections.abc import Sequence

from ledger.database import Connection, connect
from ledger.errors import RebuildDue
from ledger.store.registry import list_ledgers
from projections.definition import Projection
from projections.engine import generations, promotion, row_changes, store
from projections.engine.generations import Generation, checked_schema_name
from projections.rebuild.scope import RebuildScope
from projections.registry import PROJECTIONS


async def copy_unselected(dsn: str, generation: Generation, scope: RebuildScope) -> None:
    """Replace the rows outside a scope by the active generation's rows.

    Raises RebuildDue if another version made those rows, so that they must be rebuilt too.
    """
    if not scope.projections and not scope.ledgers:
        return
    connection = await connect(dsn, search_path=generation.schema_name)
    try:
        active = await generations.active_generation(connection)
        outdated = set(generations.mismatched(active.versions, active.shapes or {}))
        if outdated - set(scope.projections) or (outdated and scope.ledgers):
            raise RebuildDue(", ".join(sorted(outdated)))
        schema = checked_schema_name(active.schema_name)
        async with connection.transaction(isolation="repeatable_read"):
            for ledger_id, name in await list_ledgers(connection):
                async with generations.in_schema(connection, schema):
                    position = await store.read_checkpoint(connection, ledger_id)
                await promotion.advance_to(connection, ledger_id, position)
                copies_ledger = bool(scope.ledgers) and name not in scope.ledgers
                for projection in PROJECTIONS:
                    if copies_ledger or (scope.projections and projection.name not in scope.projections):
                        await _copy_projection(connection, schema, ledger_id, projection)
                if copies_ledger:
                    await _replace_rows(connection, schema, ledger_id, "facts", store.FACT_COLUMNS, "")
    finally:
        await connection.close()


async def _copy_projection(connection: Connection, schema: str, ledger_id: int, projection: Projection) -> None:
    """Copy the rows and flags of one projection."""
    kind_condition = f" AND subject_kind = '{projection.subject}'"
    await _replace_rows(connection, schema, ledger_id, "subjects", row_changes.SUBJECT_COLUMNS, kind_condition)
    for table in projection.tables:
        await _replace_rows(connection, schema, ledger_id, table.name, ("ledger_id", "subject", *table.columns), "")


async def _replace_rows(
    connection: Connection, schema: str, ledger_id: int, table: str, columns: Sequence[str], condition: str
) -> None:
    """Replace a ledger's rows of one table. Names come only from our own Table values."""
    column_list = ", ".join(columns)
    await connection.execute(f"DELETE FROM {table} WHERE ledger_id = $1{condition}", ledger_id)  # noqa: S608
    await connection.execute(
        f"INSERT INTO {table} ({column_list}) SELECT {column_list} FROM {schema}.{table} "  # noqa: S608
        f"WHERE ledger_id = $1{condition}",
        ledger_id,
    )
