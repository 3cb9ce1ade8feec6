"""Database roles that read the report views of one ledger.

Row-level security confines a role to its ledger, also if it asks a view without a condition. It sees no other schema:
no events, no personal values, no keys. Its sessions are read-only and end a transaction that is left idle, because a
promotion waits for transactions that have read a view.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from ledger.database import Connection, has_several_servers
from ledger.errors import NameTaken, RequestInvalid
from ledger.store.registry import Ledger
from service.database_roles import LOGIN_NAME, LOGIN_PASSWORD, ROLE_PURPOSES, scram_verifier

GROUP = "loyalty_report"
SETTINGS = {
    "search_path": "report",
    "default_transaction_read_only": "on",
    "statement_timeout": "10min",
    "idle_in_transaction_session_timeout": "1min",
}
EXISTS = "SELECT rolcanlogin FROM pg_roles WHERE rolname = $1"
LEDGER_OF = "SELECT ledger_id FROM ledger.report_roles WHERE role_name = $1"
INSERT_ROLE = "INSERT INTO ledger.report_roles (role_name, ledger_id) VALUES ($1, $2)"
DELETE_ROLE = "DELETE FROM ledger.report_roles WHERE role_name = $1 RETURNING true"
LIST_ROLES = """
    SELECT r.role_name AS role, l.name AS ledger, coalesce(p.rolcanlogin, false) AS can_login, r.created_at
      FROM ledger.report_roles r JOIN ledger.ledgers l ON l.ledger_id = r.ledger_id
      LEFT JOIN pg_roles p ON p.rolname = r.role_name
     WHERE $1::int IS NULL OR r.ledger_id = $1 ORDER BY r.role_name
"""
FORMAT = "SELECT format($1, $2::text, $3::text)"


class ReportRole(NamedTuple):
    """One role, its ledger, and whether it logs in itself."""

    role: str
    ledger: str
    can_login: bool
    created_at: datetime


async def create_report_role(connection: Connection, ledger: Ledger, name: str, password: str | None) -> None:
    """Create a role that reads the views of a ledger. Again: set its password.

    Without a password it cannot log in: grant it to roles that do, for example of a cloud's identity service.
    Raises RequestInvalid. Raises NameTaken if the name belongs to another ledger, or to a role that reads no reports.
    """
    if await has_several_servers(connection):
        raise RequestInvalid("report roles need one server: distributed tables cannot look up the ledger of a role")
    if not LOGIN_NAME.fullmatch(name) or name in ROLE_PURPOSES:
        raise RequestInvalid("the name of a role consists of up to 63 small letters, digits and underscores")
    if password is not None and not LOGIN_PASSWORD.fullmatch(password):
        raise RequestInvalid("a password has 12 to 200 letters, digits and signs of ASCII, without blanks")
    async with connection.transaction():
        of = await connection.fetchval(LEDGER_OF, name)
        exists = await connection.fetchval(EXISTS, name) is not None
        if of not in (None, ledger.ledger_id) or (of is None and exists):
            raise NameTaken(name)
        if not exists:
            await _execute(connection, "CREATE ROLE %I NOLOGIN", name)
            await _execute(connection, "GRANT %2$I TO %1$I", name, GROUP)
            for setting, value in SETTINGS.items():
                await _execute(connection, f"ALTER ROLE %I SET {setting} = %L", name, value)
            await _execute(connection, "GRANT CONNECT ON DATABASE %2$I TO %1$I", name, await _database(connection))
        if password is not None:
            await _execute(connection, "ALTER ROLE %I LOGIN PASSWORD %L", name, scram_verifier(password))
        if of is None:
            await connection.execute(INSERT_ROLE, name, ledger.ledger_id)


async def drop_report_role(connection: Connection, name: str) -> None:
    """Drop a role that reads the views. Its sessions see no rows from now on. Raises RequestInvalid."""
    async with connection.transaction():
        if not await connection.fetchval(DELETE_ROLE, name):
            raise RequestInvalid(f"{name} is no role that reads reports: see `loyalty report role list`")
        if await connection.fetchval(EXISTS, name) is None:
            return
        await _execute(connection, "REVOKE CONNECT ON DATABASE %2$I FROM %1$I", name, await _database(connection))
        try:
            async with connection.transaction():
                await _execute(connection, "DROP ROLE %I", name)
        except asyncpg.DependentObjectsStillExistError:
            await _execute(connection, "ALTER ROLE %I NOLOGIN", name)  # it owns or reads something elsewhere


async def list_report_roles(connection: Connection, ledger: Ledger | None) -> Sequence[ReportRole]:
    """List the roles, of one ledger or of all."""
    rows = await connection.fetch(LIST_ROLES, None if ledger is None else ledger.ledger_id)
    return [ReportRole(**dict(row)) for row in rows]


async def _database(connection: Connection) -> str:
    name: str = await connection.fetchval("SELECT current_database()")
    return name


async def _execute(connection: Connection, template: str, *names: str) -> None:
    """Execute a statement in which PostgreSQL quotes the names."""
    await connection.execute(await connection.fetchval(FORMAT, template, names[0], names[1] if names[1:] else None))
