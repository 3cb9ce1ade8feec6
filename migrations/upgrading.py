"""Run the revisions by Alembic, which takes a second to import: only who migrates does."""

from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from migrations import Bind, head

ONE_MIGRATOR_AT_A_TIME = 1819239277
HANDED_OVER = """
    SELECT true FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
     WHERE n.nspname = 'ledger' AND r.rolname = 'loyalty_owner' AND pg_has_role(current_user, r.oid, 'MEMBER')
"""


def config() -> Config:
    """Give Alembic's configuration; it needs no file, also when installed from a wheel."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    return settings


async def upgrade(dsn: str, bind: Bind | None, to: str = "head") -> str:
    """Do what `migrations.upgrade` says, up to the revision `to`."""
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(dsn, timeout=60), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_MIGRATOR_AT_A_TIME})
            await connection.run_sync(_upgrade, bind, to)
    finally:
        await engine.dispose()
    return head()


def become_owner(connection: Connection) -> None:
    """Migrate as loyalty_owner where `loyalty roles apply` has handed the ledger over to it: what comes is its, too."""
    if connection.execute(text(HANDED_OVER)).scalar():
        connection.execute(text("SET LOCAL ROLE loyalty_owner"))


def _upgrade(connection: Connection, bind: Bind | None, to: str) -> None:
    settings = config()
    settings.attributes["connection"] = connection
    settings.attributes["bind"] = bind
    become_owner(connection)
    if MigrationContext.configure(connection, opts={"version_table_schema": "public"}).get_current_revision() != head():
        command.upgrade(settings, to)
