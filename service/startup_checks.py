"""Checks before the service starts: the schema of the database, the rights of its role, and its replication."""

import asyncpg

import migrations
from ledger.database import Connection, connect
from ledger.errors import RoleTooPowerful, SchemaOutdated, SchemaUnsupported

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


# Rights that the role must not have on any table of the ledger. Tables of configuration may be updated.
TOO_POWERFUL = """
    SELECT 'it is a superuser' FROM pg_roles WHERE rolname = current_user AND rolsuper
    UNION ALL
    SELECT 'it bypasses row-level security' FROM pg_roles WHERE rolname = current_user AND rolbypassrls
    UNION ALL
    SELECT 'it may become ' || rolname FROM pg_roles
     WHERE (rolsuper OR rolbypassrls OR rolname IN ('loyalty_owner', 'loyalty_migrator'))
       AND pg_has_role(current_user, oid, 'MEMBER') AND rolname <> current_user
    UNION ALL
    SELECT 'it owns ledger.' || relname FROM pg_class
     WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p')
       AND pg_has_role(current_user, relowner, 'MEMBER')
    UNION ALL
    SELECT 'it may ' || what || ' on ledger.' || relname
      FROM pg_class, unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) what
     WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p')
       AND has_table_privilege(current_user, oid, what)
       AND NOT (what = 'UPDATE' AND relname = ANY ($1))
    LIMIT 1
"""


HIDE_SHARDS = "SELECT set_config('citus.override_table_visibility', 'on', false)"
MAY_CHANGE = ("api_keys", "connections", "public_logs")  # within the limits of their triggers


async def check_role(dsn: str) -> None:
    """Raise RoleTooPowerful if the role of the connection could change or remove stored events."""
    connection = await connect(dsn)
    try:
        await connection.execute(HIDE_SHARDS)
        why = await connection.fetchval(TOO_POWERFUL, MAY_CHANGE)
        if why:
            raise RoleTooPowerful(await connection.fetchval("SELECT current_user"), why)
    finally:
        await connection.close()


# Without more rights, the state of a replica is hidden, and a running backup counts as a replica.
REPLICATES_ASYNCHRONOUSLY = """
    SELECT current_setting('synchronous_standby_names') = ''
       AND EXISTS (SELECT FROM pg_stat_replication WHERE state IS DISTINCT FROM 'backup')
"""


async def check_replication(connection: Connection) -> str | None:
    """Return a warning if a failover could lose acknowledged events."""
    if not await connection.fetchval(REPLICATES_ASYNCHRONOUSLY):
        return None
    return (
        "A replica follows this PostgreSQL, but `synchronous_standby_names` is empty: a failover may lose acknowledged "
        "events, and the log then forks. See docs/operations.md, Failover."
    )
