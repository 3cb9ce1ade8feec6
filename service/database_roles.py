"""Apply the database roles: one for each kind of work with its grants, and an owner that cannot log in.

The migrations define the SQL (migrations/roles.sql and grants.sql). The SQL only adds rights, with one exception: it
revokes rights that PostgreSQL grants to everybody. These are temporary tables and, if asked, the right to connect. So
the SQL can run at any time: after a restore into a cluster without the roles, or after an older version made a
generation.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg

import migrations
from ledger.database import Connection
from projections.engine import generations

OWNER = "loyalty_owner"
ROLE_PURPOSES = {
    OWNER: "owns the ledger; nobody logs in as it",
    "loyalty_migrator": "may become loyalty_owner, to migrate",
    "loyalty_service": "what `loyalty serve` does: the four below",
    "loyalty_ingest": "appends, by one function; sees no table",
    "loyalty_projector": "reads events, owns the views",
    "loyalty_reader": "reads one ledger at a time, writes down who looked",
    "loyalty_eraser": "destroys keys of persons, by one function",
    "loyalty_auditor": "reads everything but keys",
    "loyalty_backup": "reads everything, for pg_dump",
}
MEMBERS = """
    SELECT g.rolname, array_agg(m.rolname::text ORDER BY m.rolname) AS members
      FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
     WHERE g.rolname = ANY ($1) GROUP BY g.rolname
"""
OWNER_NOW = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'ledger'"
TRANSFER_OWNERSHIP = """
DO $$
DECLARE
    handed text;
BEGIN
    FOR handed IN
        SELECT format('ALTER SCHEMA %I OWNER TO loyalty_owner', nspname) FROM pg_namespace
         WHERE nspname IN ('ledger', 'projections')
        UNION ALL
        SELECT format('ALTER TABLE %s OWNER TO loyalty_owner', oid::regclass) FROM pg_class
         WHERE relkind IN ('r', 'p', 'v')
           AND (relnamespace IN ('ledger'::regnamespace, 'projections'::regnamespace)
                OR oid = 'public.alembic_version'::regclass)
        UNION ALL
        SELECT format('ALTER ROUTINE %s OWNER TO loyalty_owner', oid::regprocedure) FROM pg_proc
         WHERE pronamespace = 'ledger'::regnamespace
    LOOP
        EXECUTE handed;
    END LOOP;
END $$
"""
OWNER_READS_VIEWS = "GRANT loyalty_projector TO loyalty_owner"
# By default PostgreSQL lets everybody connect to a database and make temporary tables in it.
REVOKE_TEMPORARY = """
DO $$ BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END $$
"""
RESTRICT_CONNECT = """
DO $$ BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO loyalty_owner, loyalty_migrator, loyalty_service, loyalty_ingest, '
                   'loyalty_projector, loyalty_reader, loyalty_auditor, loyalty_eraser, loyalty_backup',
                   current_database());
    EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database());
END $$
"""
IS_OPEN_TO_ALL = """
    SELECT EXISTS (SELECT FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
                    WHERE datname = current_database() AND grantee = 0 AND privilege_type = 'CONNECT')
"""


class RolesApplied(NamedTuple):
    """The roles with their purpose and members; the owner of the ledger, and the reason if that is not OWNER; and
    whether any role of the cluster may connect.
    """

    roles: Sequence[tuple[str, str, str]]
    owner: str
    kept_because: str | None
    open_to_all: bool


async def create_roles(connection: Connection) -> list[str]:
    """Create the roles alone, before a backup is restored into a cluster without them. Return their names."""
    await connection.execute((Path(migrations.__file__).parent / "roles.sql").read_text())
    return list(ROLE_PURPOSES)


async def apply_roles(connection: Connection, *, only_ours: bool = False) -> RolesApplied:
    """Create roles and grants, and hand the ledger over to OWNER. If the hand-over is refused, all else is still done.

    With `only_ours`, only the owner, superusers and members of our roles may connect to the database from now on.
    """
    folder = Path(migrations.__file__).parent
    async with connection.transaction():
        for name in ("roles.sql", "grants.sql"):
            await connection.execute((folder / name).read_text())
        await connection.execute(REVOKE_TEMPORARY)
        if only_ours:
            await connection.execute(RESTRICT_CONNECT)
    await generations.ensure_active_generation(connection)
    await generations.grant_access_to_all(connection)
    kept_because = None
    try:
        async with connection.transaction():
            await connection.execute(TRANSFER_OWNERSHIP)
            await connection.execute(OWNER_READS_VIEWS)
    except asyncpg.InsufficientPrivilegeError as error:
        kept_because = error.message or "it is refused"
    members = {
        row["rolname"]: ", ".join(row["members"]) for row in await connection.fetch(MEMBERS, list(ROLE_PURPOSES))
    }
    owner: str = await connection.fetchval(OWNER_NOW)
    open_to_all: bool = await connection.fetchval(IS_OPEN_TO_ALL)
    roles = [(role, does, members.get(role, "")) for role, does in ROLE_PURPOSES.items()]
    return RolesApplied(roles, owner, kept_because, open_to_all)
