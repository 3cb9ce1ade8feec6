"""Apply the database roles: one for each kind of work with its grants, and an owner that cannot log in.

The migrations define the SQL (migrations/roles.sql and grants.sql). The SQL only adds rights, with one exception: it
revokes rights that PostgreSQL grants to everybody. These are temporary tables and, if asked, the right to connect. So
the SQL can run at any time: after a restore into a cluster without the roles, or after an older version made a
generation.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import asyncpg

import migrations
from ledger.database import Connection
from ledger.errors import RequestInvalid
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
    "loyalty_report": "reads the report views; each of its members one ledger",
}
LOGIN_ROLES = ("loyalty_service", "loyalty_migrator", "loyalty_auditor", "loyalty_backup")
LOGIN_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
LOGIN_PASSWORD = re.compile(r"[!-~]{12,200}")
SCRAM_ITERATIONS = 4096  # PostgreSQL's default
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
         WHERE nspname IN ('ledger', 'projections', 'outgoing', 'report')
        UNION ALL
        SELECT format('ALTER TABLE %s OWNER TO loyalty_owner', oid::regclass) FROM pg_class
         WHERE relkind IN ('r', 'p', 'v')
           AND (relnamespace IN ('ledger'::regnamespace, 'projections'::regnamespace, 'outgoing'::regnamespace)
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
                   'loyalty_projector, loyalty_reader, loyalty_auditor, loyalty_eraser, loyalty_backup, '
                   'loyalty_report',
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


async def create_login(connection: Connection, name: str, password: str, role: str = "loyalty_service") -> None:
    """Create a role that can log in and has the rights of `role`, or give an existing one this password and role.

    The server gets a SCRAM verifier, so the password is in none of its logs. Raises RequestInvalid.
    """
    if role not in LOGIN_ROLES:
        raise RequestInvalid(f"no role logs in as {role}; roles: {', '.join(LOGIN_ROLES)}")
    if not LOGIN_NAME.fullmatch(name) or name in ROLE_PURPOSES:
        raise RequestInvalid("the name of a login consists of up to 63 small letters, digits and underscores")
    if not LOGIN_PASSWORD.fullmatch(password):
        raise RequestInvalid("a password has 12 to 200 letters, digits and signs of ASCII, without blanks")
    exists = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", name)
    for template, arguments in (
        (f"{'ALTER' if exists else 'CREATE'} ROLE %I LOGIN PASSWORD %L", (name, scram_verifier(password))),
        ("GRANT %I TO %I", (role, name)),
    ):
        await connection.execute(
            await connection.fetchval("SELECT format($1, $2::text, $3::text)", template, *arguments)
        )


def scram_verifier(password: str) -> str:
    """Return what PostgreSQL stores of a password (RFC 5802, SHA-256)."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt_text, stored_text, server_text = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{salt_text}${stored_text}:{server_text}"


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
