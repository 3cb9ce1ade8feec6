"""A report role reads the views of its ledger, and nothing else."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from ledger.database import Connection
from ledger.errors import NameTaken, RequestInvalid
from ledger.store.append import append
from ledger.store.registry import Ledger, create_ledger
from projections.engine.worker import catch_up
from projections.reports.views import REPORT_VIEWS
from service.database_roles import apply_roles
from service.reporting.report_roles import create_report_role, drop_report_role, list_report_roles
from tests.support import citus
from tests.support.payloads import VAULT, delivery, issued

pytestmark = citus.needs_one_server("report roles need one server")
PASSWORD = "a-good-password"
REFUSED = (
    "SELECT * FROM generation_1.accounts",
    "SELECT * FROM ledger.events",
    "SELECT * FROM ledger.personal_keys",
    "SELECT * FROM ledger.report_roles",
    "SELECT * FROM ledger.api_keys",
    "SELECT * FROM outgoing.endpoints",
    "SELECT * FROM projections.generations",
    "CREATE TABLE mine (a int)",
    "CREATE TEMPORARY TABLE mine (a int)",
    "SET ROLE loyalty_projector",
)


def named(dsn: str, which: str) -> str:
    """Return a role's name of this test: roles are shared by all databases of the cluster."""
    return re.sub(r".*/(t_[0-9a-f]{16}).*", r"\1", dsn) + which


@asynccontextmanager
async def logged_in(dsn: str, role: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    session = await asyncpg.connect(re.sub(r"//[^@]*@", f"//{role}:{PASSWORD}@", dsn))
    try:
        yield session
    finally:
        await session.close()


async def fill(connection: Connection, ledger: Ledger) -> Ledger:
    """Give the ledger one account, and another ledger two. Return the other."""
    other = await create_ledger(connection, "other")
    for one, bodies in ((ledger, [issued("a", 0, 1, 10)]), (other, [issued("b", 0, 1, 20), issued("c", 0, 2, 30)])):
        await append(connection, VAULT, one.ledger_id, [delivery(body, ledger=one.name) for body in bodies])
        await catch_up(connection, one.ledger_id)
    return other


async def test_a_report_role_reads_every_view_of_its_ledger_and_nothing_else(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    await fill(connection, ledger)
    await apply_roles(connection, only_ours=True)
    role = named(dsn, "_acme")

    await create_report_role(connection, ledger, role, PASSWORD)

    async with logged_in(dsn, role) as analyst:
        for view in REPORT_VIEWS:
            rows = await analyst.fetch(f"SELECT * FROM {view.name}")  # noqa: S608 - names of our own views
            assert {row["ledger_id"] for row in rows} <= {ledger.ledger_id}, view.name
        assert await analyst.fetchval("SELECT sum(available)::int FROM balances") == 10
        for changed in ("SET app.ledger = '2'", "SET row_security = off", "SET default_transaction_read_only = off"):
            await analyst.execute(changed)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):  # row_security = off refuses rather than shows more
            await analyst.fetch("SELECT * FROM accounts")
        await analyst.execute("SET row_security = on")
        assert await analyst.fetchval("SELECT sum(available)::int FROM balances") == 10
        for statement in REFUSED:
            with pytest.raises(asyncpg.PostgresError) as refused:
                await analyst.execute(statement)
            assert "permission denied" in str(refused.value), statement


async def test_members_inherit_and_a_role_without_ledger_sees_no_row(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    other = await fill(connection, ledger)
    first, second, member = (named(dsn, which) for which in ("_one", "_two", "_member"))
    await create_report_role(connection, ledger, first, None)
    await create_report_role(connection, other, second, None)
    await connection.execute(f"CREATE ROLE {member} LOGIN PASSWORD '{PASSWORD}' IN ROLE loyalty_report, {first}")

    async with logged_in(dsn, member) as analyst:
        assert await analyst.fetchval("SELECT sum(available)::int FROM report.balances") == 10
        await connection.execute(f"GRANT {second} TO {member}")
        assert await analyst.fetchval("SELECT sum(available)::int FROM report.balances") == 60
        await analyst.execute("SET ROLE loyalty_report")
        assert await analyst.fetch("SELECT * FROM report.balances") == []
        await analyst.execute("RESET ROLE")
        for role in (first, second):
            await drop_report_role(connection, role)
        assert await analyst.fetch("SELECT * FROM report.balances") == []
    assert await list_report_roles(connection, None) == []


async def test_a_role_belongs_to_one_ledger_and_its_password_can_be_set_again(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    other = await create_ledger(connection, "other")
    role, foreign = named(dsn, "_again"), named(dsn, "_foreign")
    await connection.execute(f"CREATE ROLE {foreign} NOLOGIN")
    await create_report_role(connection, ledger, role, None)

    await create_report_role(connection, ledger, role, PASSWORD)

    [listed] = await list_report_roles(connection, ledger)
    assert (listed.role, listed.ledger, listed.can_login) == (role, "acme", True)
    assert await list_report_roles(connection, other) == []
    for taken in (role, foreign):
        with pytest.raises(NameTaken):
            await create_report_role(connection, other, taken, None)
    for name, password in (("Bad Name", None), ("loyalty_reader", None), (role, "short")):
        with pytest.raises(RequestInvalid):
            await create_report_role(connection, ledger, name, password)
    with pytest.raises(RequestInvalid):
        await drop_report_role(connection, foreign)
    await drop_report_role(connection, role)
    await connection.execute(f"DROP ROLE {foreign}")
