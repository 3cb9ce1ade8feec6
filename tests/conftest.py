"""A real PostgreSQL for every test that wants one: a migrated template, cloned per test, on one server per run.

Tests run side by side. Each worker starts or attaches to the same embedded server in a folder of the run; the server
stops with its last user. LOYALTY_TEST_POSTGRES names the programs of another version, for example
/usr/lib/postgresql/15/bin, to run the suite on that.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings

import migrations
from ledger.database import connect
from ledger.store.registry import Ledger, create_ledger
from projections.engine import generations
from service.embedded.server import EmbeddedPostgres
from tests.support import citus
from tests.support.payloads import VAULT

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
# The suite draws the same examples each time, so that it is red for a change only; "deep" draws new ones.
settings.register_profile("suite", max_examples=25, deadline=None, derandomize=True, suppress_health_check=SLOW)
settings.register_profile("deep", max_examples=5_000, deadline=None, suppress_health_check=SLOW)
settings.load_profile("suite")

TEMPLATE = "template_of_tests"
ONE_MAKER_AT_A_TIME = 815
# These databases die with the run: what survives a crash is tested on servers of its own.
QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"}
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or secrets.token_hex(8)
FOLDER = Path(tempfile.gettempdir()) / f"loyalty-tests-{RUN[:12]}"
FILES = FOLDER.with_name(f"{FOLDER.name}-files")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give the run folders of its own, the same for all its workers. Pytest's are in one that each run closes to others
    when it begins (chmod go-rwx): run as root, another run's PostgreSQL, which is not, then loses its files."""
    if not hasattr(config, "workerinput"):
        if hasattr(config.option, "testrunuid"):
            config.option.testrunuid = RUN
        config.option.basetemp = config.option.basetemp or str(FILES)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remove the run's folders, once, after the workers have gone; files of tests that failed may be wanted."""
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(FOLDER, ignore_errors=True)
        if exitstatus == 0:
            shutil.rmtree(FILES, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The server of this run."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    binaries = os.environ.get("LOYALTY_TEST_POSTGRES")
    with EmbeddedPostgres.start(FOLDER, binaries=Path(binaries) if binaries else None, settings=QUICK) as server:
        yield server


@pytest.fixture
async def dsn(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """A fresh database, migrated and with an empty live generation."""
    async with fresh_database(postgres) as fresh:
        yield fresh


@asynccontextmanager
async def fresh_database(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """Make a fresh database, and drop it afterwards. Modules whose tests share one database call it in a fixture.

    If LOYALTY_TEST_CITUS names a cluster, the database is one of its: its ledgers are distributed.
    """
    VAULT.clear_caches()  # it remembers keys and lookup hashes of another database
    try:
        async with _clone_or_distribute(postgres) as fresh:
            yield fresh
    finally:
        VAULT.clear_caches()


@asynccontextmanager
async def _clone_or_distribute(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    if citus.SERVERS:
        async with citus.fresh_database() as fresh:
            yield fresh
        return
    name = f"t_{secrets.token_hex(8)}"
    maker = await asyncpg.connect(postgres.dsn())
    try:
        await maker.execute("SELECT pg_advisory_lock($1)", ONE_MAKER_AT_A_TIME)
        if not await maker.fetchval("SELECT true FROM pg_database WHERE datname = $1", TEMPLATE):
            await _make_template(maker, postgres)
        await maker.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
        # A clone has not its template's.
        await maker.execute(f"GRANT CREATE ON DATABASE {name} TO loyalty_service, loyalty_projector")
        await maker.execute("SELECT pg_advisory_unlock($1)", ONE_MAKER_AT_A_TIME)
        yield postgres.dsn(name)
        await maker.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await maker.close()


async def _make_template(maker: "asyncpg.Connection[asyncpg.Record]", postgres: EmbeddedPostgres) -> None:
    await maker.execute("CREATE DATABASE template_in_the_making")
    made = postgres.dsn("template_in_the_making")
    await migrations.upgrade(made)
    connection = await connect(made)
    await generations.ensure_active_generation(connection)
    await connection.close()
    await maker.execute(f"ALTER DATABASE template_in_the_making RENAME TO {TEMPLATE}")


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection to the fresh database."""
    made = await connect(dsn)
    yield made
    await made.close()


@pytest.fixture
async def ledger(connection: "asyncpg.Connection[asyncpg.Record]") -> Ledger:
    """An empty ledger in the fresh database."""
    return await create_ledger(connection, "acme")
