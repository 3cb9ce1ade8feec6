"""Apply the roles of the database: a role for each kind of work, what it may do, and an owner that nobody logs in as.

The SQL is that of the migrations (migrations/roles.sql and grants.sql), and only ever adds; what it takes away is what
PostgreSQL gives everybody: temporary tables and, if asked to, the way in. So it may be run at any time: after a restore
into another cluster, where roles are missing, or after a generation was made by an older version.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg

import migrations
from ledger.database import Connection
from projections.engine import generations

OWNER = "loyalty_owner"
DOES = {
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
HAND_OVER = """
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
# Everybody may make temporary tables in a database, and connect to it, unless that is taken back.
NO_TEMPORARY = """
DO $$ BEGIN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END $$
"""
ONLY_OURS = """
DO $$ BEGIN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO loyalty_owner, loyalty_migrator, loyalty_service, loyalty_ingest, '
                   'loyalty_projector, loyalty_reader, loyalty_auditor, loyalty_eraser, loyalty_backup',
                   current_database());
    EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database());
END $$
"""
OPEN_TO_ALL = """
    SELECT EXISTS (SELECT FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
                    WHERE datname = current_database() AND grantee = 0 AND privilege_type = 'CONNECT')
"""


class RolesApplied(NamedTuple):
    """Each role, what it does and who has it; who owns the ledger, and if that is not OWNER, why; whether any role of
    the cluster may connect."""

    roles: Sequence[tuple[str, str, str]]
    owner: str
    kept_because: str | None
    open_to_all: bool


async def create_roles(connection: Connection) -> list[str]:
    """Make the roles alone, before a backup is restored into a cluster that does not have them; name them."""
    await connection.execute((Path(migrations.__file__).parent / "roles.sql").read_text())
    return list(DOES)


async def apply_roles(connection: Connection, *, only_ours: bool = False) -> RolesApplied:
    """Make roles, grants and the hand-over to OWNER; a hand-over that is refused leaves all else done. With
    `only_ours`, nobody connects to the database from now on but its owner, superusers and members of our roles."""
    folder = Path(migrations.__file__).parent
    async with connection.transaction():
        for name in ("roles.sql", "grants.sql"):
            await connection.execute((folder / name).read_text())
        await connection.execute(NO_TEMPORARY)
        if only_ours:
            await connection.execute(ONLY_OURS)
    await generations.ensure_active_generation(connection)
    await generations.grant_access_to_all(connection)
    kept_because = None
    try:
        async with connection.transaction():
            await connection.execute(HAND_OVER)
            await connection.execute(OWNER_READS_VIEWS)
    except asyncpg.InsufficientPrivilegeError as error:
        kept_because = error.message or "it is refused"
    members = {row["rolname"]: ", ".join(row["members"]) for row in await connection.fetch(MEMBERS, list(DOES))}
    owner: str = await connection.fetchval(OWNER_NOW)
    open_to_all: bool = await connection.fetchval(OPEN_TO_ALL)
    roles = [(role, does, members.get(role, "")) for role, does in DOES.items()]
    return RolesApplied(roles, owner, kept_because, open_to_all)
