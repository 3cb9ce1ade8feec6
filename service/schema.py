"""Check that the database is at the schema of this version."""

import asyncpg

import migrations
from ledger.database import connect
from ledger.errors import SchemaOutdated

SCHEMA_VERSION = "SELECT version_num FROM public.alembic_version"


async def check_schema(dsn: str) -> None:
    """Raise SchemaOutdated unless the database is at the schema of this version."""
    connection = await connect(dsn)
    try:
        version = await connection.fetchval(SCHEMA_VERSION)
    except asyncpg.UndefinedTableError:
        version = None
    finally:
        await connection.close()
    if version != migrations.head():
        raise SchemaOutdated(f"it is at {version}, this version needs {migrations.head()}")
