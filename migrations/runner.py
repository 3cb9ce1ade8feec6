"""Run the revisions by Alembic. Only a process that migrates imports this: importing Alembic takes a second."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from migrations import check_migratable, head
from migrations.sql import run

LOCK_MIGRATIONS = "SELECT pg_advisory_xact_lock(1819239277)"  # MIGRATIONS of ledger/locks.py
OWNED_BY_LOYALTY_OWNER = """
    SELECT true FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
     WHERE n.nspname = 'ledger' AND r.rolname = 'loyalty_owner' AND pg_has_role(current_user, r.oid, 'MEMBER')
"""


async def upgrade(dsn: str) -> str:
    """Do the work of `migrations.upgrade`."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: asyncpg.connect(dsn, timeout=60, target_session_attrs="read-write"),
        poolclass=NullPool,
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(text(LOCK_MIGRATIONS))
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()
    return head()


def _upgrade(connection: Connection) -> None:
    config = Config()  # no file, so that it works from an installed wheel, too
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    revision = MigrationContext.configure(connection, opts={"version_table_schema": "public"}).get_current_revision()
    check_migratable(revision)
    if revision != head():
        _become_owner(connection)
        command.upgrade(config, "head")
        run(connection, "grants.sql")  # rights of all revisions together, so last


def _become_owner(connection: Connection) -> None:
    """Migrate as loyalty_owner if `loyalty roles apply` has given it the ledger. Then it owns the new objects, too."""
    if connection.execute(text(OWNED_BY_LOYALTY_OWNER)).scalar():
        connection.execute(text("SET LOCAL ROLE loyalty_owner"))
