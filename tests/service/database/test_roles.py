"""The roles can be applied at any time: the ledger gets an owner that cannot log in, and work continues."""

import re
from urllib.parse import quote

import asyncpg
import pytest

import migrations
from ledger.database import connect
from ledger.errors import RequestInvalid, RoleTooPowerful
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine.worker import catch_up
from service.database_roles import ROLE_PURPOSES, apply_roles, create_login
from service.startup_checks import check_role
from tests.support import citus
from tests.support.payloads import VAULT, delivery, issued


async def login(connection: "asyncpg.Connection[asyncpg.Record]", dsn: str, grants: str, which: str = "") -> str:
    """Create a role that can log in, in a cluster shared with other tests. Return its address."""
    name = re.sub(r".*/(t_[0-9a-f]{16}).*", r"\1_login", dsn) + which
    await connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'x' {grants}")
    return re.sub(r"//[^@]*@", f"//{name}:x@", dsn)


async def test_handed_over_the_ledger_is_appended_to_projected_and_migrated_as_before(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger
) -> None:
    first = await apply_roles(connection)
    again = await apply_roles(connection)

    owners = await connection.fetch(
        "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relnamespace = 'ledger'::regnamespace"
    )
    assert [row[0] for row in owners] == ["loyalty_owner"]
    assert first == again
    assert (first.owner, first.kept_because) == ("loyalty_owner", None)
    assert [role for role, _, _ in first.roles] == list(ROLE_PURPOSES)
    ingest = await connect(dsn, role="loyalty_ingest")
    await append(ingest, VAULT, ledger.ledger_id, [delivery(issued("e1", 0, 1, 10))])
    await ingest.close()
    projector = await connect(dsn, role="loyalty_projector")
    assert await catch_up(projector, ledger.ledger_id) == 1
    await projector.close()
    assert await migrations.upgrade(dsn) == migrations.head()


async def test_only_the_roles_that_need_it_connect_or_make_temporary_tables(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    stranger, service = await login(connection, dsn, ""), await login(connection, dsn, "IN ROLE loyalty_service", "_s")
    name = stranger.split("//")[1].split(":")[0]
    may = "SELECT has_database_privilege($1, current_database(), $2)"

    before = await apply_roles(connection)
    still = [await connection.fetchval(may, name, what) for what in ("CONNECT", "TEMPORARY")]
    after = await apply_roles(connection, only_ours=True)

    assert (before.open_to_all, after.open_to_all) == (True, False)
    assert still == [True, False]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connect(stranger)
    await check_role(service)  # a member of our roles works as before
    for one in (stranger, service):
        await connection.execute(f"DROP ROLE {one.split('//')[1].split(':')[0]}")


@pytest.mark.parametrize(
    ("grants", "why"),
    [
        ("SUPERUSER", "it is a superuser"),
        ("BYPASSRLS IN ROLE loyalty_service", "it bypasses row-level security"),
        ("IN ROLE loyalty_migrator", "it may become loyalty_"),
    ],
)
async def test_the_service_does_not_start_with_more_rights_than_it_needs(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", grants: str, why: str
) -> None:
    powerful = await login(connection, dsn, grants)

    with pytest.raises(RoleTooPowerful, match=why):
        await check_role(powerful)

    await connection.execute(f"DROP ROLE {powerful.split('//')[1].split(':')[0]}")


@pytest.mark.parametrize("privilege", ["UPDATE", "DELETE", "TRUNCATE"])
async def test_one_grant_too_many_on_any_table_of_the_ledger_is_noticed(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", privilege: str
) -> None:
    service = await login(connection, dsn, "IN ROLE loyalty_service")
    name = service.split("//")[1].split(":")[0]
    await check_role(service)
    await connection.execute(f"GRANT {privilege} ON ledger.checkpoints TO {name}")

    with pytest.raises(RoleTooPowerful, match=f"it may {privilege} on ledger.checkpoints"):
        await check_role(service)

    await connection.execute(f"DROP OWNED BY {name}")
    await connection.execute(f"DROP ROLE {name}")


@citus.needs_one_server("the servers of a trial ask for no password")
async def test_a_login_gets_the_rights_of_one_role_and_a_new_password_when_asked_again(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    name = re.sub(r".*/(t_[0-9a-f]{16}).*", r"\1_app", dsn)
    first, second = (
        re.sub(r"//[^@]*@", f"//{name}:{quote(password, safe='')}@", dsn)
        for password in ("first-password", "second/password'%")
    )
    await create_login(connection, name, "first-password")
    await create_login(connection, name, "second/password'%")

    with pytest.raises(asyncpg.InvalidPasswordError):
        await connect(first)
    session = await connect(second)
    assert await session.fetchval("SELECT current_user") == name
    await session.close()
    await check_role(second)
    await connection.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize(
    ("name", "password", "role"),
    [
        ("Web", "long-enough-password", "loyalty_service"),
        ("web; DROP", "long-enough-password", "loyalty_service"),
        ("loyalty_owner", "long-enough-password", "loyalty_service"),
        ("web", "short", "loyalty_service"),
        ("web", "with a blank in it", "loyalty_service"),
        ("web", "long-enough-password", "loyalty_owner"),
    ],
)
async def test_a_login_that_could_not_be_used_safely_is_refused(
    connection: "asyncpg.Connection[asyncpg.Record]", name: str, password: str, role: str
) -> None:
    with pytest.raises(RequestInvalid):
        await create_login(connection, name, password, role)
