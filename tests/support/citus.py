"""Databases on a cluster of PostgreSQL with Citus, for the same tests as on one server.

LOYALTY_TEST_CITUS names its servers, the coordinator first, as addresses without a database, separated by blanks:

    postgresql://postgres@127.0.0.1:7700 postgresql://postgres@127.0.0.1:7701 postgresql://postgres@127.0.0.1:7702

The logins must be superusers. A template is made on every server and cloned there for each test.
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import asyncpg
import pytest

import migrations
from ledger.database import connect
from projections.engine import generations
from service.distribution import distribute_ledgers

SERVERS = os.environ.get("LOYALTY_TEST_CITUS", "").split()
SKIPPED = "LOYALTY_TEST_CITUS names no cluster of PostgreSQL with Citus"
TEMPLATE = f"template_of_distributed_tests_{migrations.head()}"
ONE_MAKER_AT_A_TIME = 816
HAS_TEMPLATE = "SELECT true FROM pg_database WHERE datname = $1"
END_SESSIONS = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1"
# Tests take on these roles by SET ROLE. Sessions of the program log in as members of them instead.
ALLOW_LOGINS = "ALTER ROLE {} LOGIN"
TESTED_ROLES = ("loyalty_service", "loyalty_auditor", "loyalty_backup")
DROP_TRIES_MAX = 10  # Citus opens a session in the database at any time
ALLOW_TRIGGERS = "ALTER DATABASE {} SET citus.enable_unsafe_triggers = on"


def needs_one_server(reason: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test on a cluster, and states why it cannot work there."""
    return pytest.mark.skipif(bool(SERVERS), reason=reason)


@asynccontextmanager
async def fresh_database() -> AsyncIterator[str]:
    """Make a fresh database on every server, and drop it afterwards. Yield its address on the coordinator."""
    name = f"t_{secrets.token_hex(8)}"
    async with AsyncExitStack() as opened:
        makers = [await asyncpg.connect(f"{server}/postgres") for server in SERVERS]
        for maker in makers:
            opened.push_async_callback(maker.close)
        await makers[0].execute("SELECT pg_advisory_lock($1)", ONE_MAKER_AT_A_TIME)
        if not await makers[0].fetchval(HAS_TEMPLATE, TEMPLATE):
            await _make_template(makers)
        for maker in makers:
            await maker.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
            await maker.execute(ALLOW_TRIGGERS.format(name))
            await maker.execute(f"GRANT CREATE ON DATABASE {name} TO loyalty_service, loyalty_projector")
        await makers[0].execute("SELECT pg_advisory_unlock($1)", ONE_MAKER_AT_A_TIME)
        yield f"{SERVERS[0]}/{name}"
        for maker in makers:
            await _drop_database(maker, name)


async def _drop_database(maker: "asyncpg.Connection[asyncpg.Record]", name: str) -> None:
    for left in reversed(range(DROP_TRIES_MAX)):
        try:
            await maker.execute(f"DROP DATABASE {name} WITH (FORCE)")
            return
        except asyncpg.ObjectInUseError:
            if not left:
                raise


async def _make_template(makers: "list[asyncpg.Connection[asyncpg.Record]]") -> None:
    """Make a migrated database whose ledgers are distributed, with an empty active generation."""
    for server, maker in zip(SERVERS, makers, strict=True):
        await maker.execute(f"CREATE DATABASE {TEMPLATE}")
        await maker.execute(ALLOW_TRIGGERS.format(TEMPLATE))
        inside = await asyncpg.connect(f"{server}/{TEMPLATE}")
        await inside.execute("CREATE EXTENSION citus")
        await inside.close()
    inside = await asyncpg.connect(f"{SERVERS[0]}/{TEMPLATE}")
    addresses = [urlsplit(server) for server in SERVERS]
    await inside.execute("SELECT citus_set_coordinator_host($1, $2)", addresses[0].hostname, addresses[0].port or 5432)
    for address in addresses[1:]:
        await inside.execute("SELECT citus_add_node($1, $2)", address.hostname, address.port or 5432)
    await inside.close()
    await migrations.upgrade(f"{SERVERS[0]}/{TEMPLATE}")
    connection = await connect(f"{SERVERS[0]}/{TEMPLATE}")
    await distribute_ledgers(connection)
    await generations.ensure_active_generation(connection)
    for role in TESTED_ROLES:
        await connection.execute(ALLOW_LOGINS.format(role))
    await connection.close()
    for maker in makers:
        await maker.execute(f"ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false")
        await maker.execute(END_SESSIONS, TEMPLATE)
