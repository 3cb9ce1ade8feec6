"""Check that the database is at the schema of this version."""

import asyncpg

import migrations
from ledger.database import connect
from ledger.errors import SchemaOutdated, SchemaUnsupported

SCHEMA_VERSION = "SELECT version_num FROM public.alembic_version"


async def check_schema(dsn: str) -> None:
    """Raise SchemaOutdated if the database must be migrated, and SchemaUnsupported if it cannot be."""
    connection = await connect(dsn)
    try:
        version = await connection.fetchval(SCHEMA_VERSION)
    except asyncpg.UndefinedTableError:
        version = None
    finally:
        await connection.close()
    if version == migrations.head():
        return
    try:
        migrations.check_migratable(version)
    except migrations.NotMigratable as error:
        raise SchemaUnsupported(error) from None
    raise SchemaOutdated(f"it is at {version}, this version needs {migrations.head()}")
