"""The database and the keys of a command: an embedded PostgreSQL in a data folder, or the database of DATABASE_URL.

Options of the command line win over the environment: with `--data`, DATABASE_URL is ignored.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
import uvloop

import migrations
from ledger import clock
from ledger.database import CONNECTION_LOST, Connection, connect
from ledger.errors import SchemaOutdated, SchemaUnsupported, SetupWrong, Unavailable
from ledger.privacy.encryption import MasterKey
from ledger.transparency.signer import Signer, read_seeds
from service.embedded.server import EmbeddedPostgres
from service.postgres_versions import check_version
from service.service_urls import add_url, find_running_url, remove_url
from service.settings import Settings
from service.startup_checks import check_schema

T = TypeVar("T")
MASTER_KEY_FILE = "master.key"  # in the data folder


class Environment:
    """An open database with its settings, master key and signer."""

    def __init__(
        self, dsn: str, settings: Settings, *, embedded: bool, postgres: EmbeddedPostgres | None = None
    ) -> None:
        self.dsn = dsn
        self.settings = settings
        self.embedded = embedded
        self.postgres = postgres

    @cached_property
    def master_key(self) -> MasterKey:
        """The configured master key, or the key in the data folder. The latter is created if it is missing.

        Raises MasterKeyWrong.
        """
        if self.settings.master_key is not None:
            return MasterKey.from_text(self.settings.master_key)
        self.settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        return MasterKey.from_file(self.settings.data / MASTER_KEY_FILE)

    @cached_property
    def signer(self) -> Signer:
        """The signer of checkpoints. It remembers the last signed checkpoints. Raises KeyWrong."""
        configured = self.settings.signing_key
        folder = self.settings.signer or self.settings.data / "signer"
        site = self.settings.log_origin or (self.settings.public_url and urlsplit(self.settings.public_url).hostname)
        return Signer(folder, [] if configured is None else read_seeds(configured), site)

    async def migrate(self) -> str:
        """Migrate the schema to the newest revision and return it. Raises SchemaUnsupported or Unavailable."""
        await self._check_reachable()
        try:
            return await migrations.upgrade(self.dsn)
        except migrations.NotMigratable as error:
            raise SchemaUnsupported(error) from None

    async def prepare(self) -> None:
        """Make sure that the database has the schema of this version. Only the embedded database is migrated.

        Raises SchemaOutdated, SchemaUnsupported, or Unavailable if the database cannot be reached.
        """
        await self._check_reachable()
        try:
            await check_schema(self.dsn)
        except SchemaOutdated:
            if not self.embedded:
                raise
            await self.migrate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend one connection to the prepared database."""
        await self.prepare()
        connection = await connect(self.dsn)
        try:
            await clock.CLOCK.compare(connection)
            yield connection
        finally:
            await connection.close()

    async def _check_reachable(self) -> None:
        """Connect once, so that a wrong address gives an error that names it."""
        try:
            connection = await connect(self.dsn)
            try:
                await check_version(connection, embedded=self.embedded)
            finally:
                await connection.close()
        except (ValueError, asyncpg.ClientConfigurationError):
            raise SetupWrong("DATABASE_URL cannot be read as postgresql://user:password@host:port/database") from None
        except asyncpg.TargetServerAttributeNotMatched as error:
            raise Unavailable(f"{self}: it takes no writes; name the primary in DATABASE_URL") from error
        except CONNECTION_LOST as error:
            raise Unavailable(f"{self}: {getattr(error, 'strerror', None) or type(error).__name__}") from error

    @cached_property
    def running_url(self) -> str | None:
        """The URL of the service: the public one, or the URL of a service that runs on this data folder. None if none
        runs.
        """
        if self.settings.public_url:
            return self.settings.public_url.rstrip("/")
        return find_running_url(self.settings.data) if self.embedded else None

    def url(self) -> str:
        """Return the URL of the service, or the URL that it would have with these settings."""
        return self.running_url or service_url(self.settings.host, self.settings.port)

    @contextmanager
    def write_address_file(self, url: str) -> Iterator[None]:
        """Record the service's URL in the data folder while the block runs. Other commands can then print the URL."""
        if not self.embedded:
            yield
            return
        add_url(self.settings.data, url)
        try:
            yield
        finally:
            remove_url(self.settings.data, url)

    def __str__(self) -> str:
        """Return the name of the database, without its password."""
        if self.embedded:
            return f"the embedded PostgreSQL in {self.settings.data}"
        url_parts = urlsplit(self.dsn)
        return f"database {url_parts.path.lstrip('/')} on {url_parts.hostname or 'this machine'}"


def load_settings(data: Path | None) -> Settings:
    """Read the settings. A data folder given on the command line means its embedded database."""
    settings = Settings()
    return settings if data is None else settings.model_copy(update={"data": data, "database_url": None})


@contextmanager
def open_environment(settings: Settings, *, may_make: bool = False) -> Iterator[Environment]:
    """Open the database of the settings. An embedded one is started if it does not run yet, which blocks.

    Raises EmbeddedPostgresFailed, or NoData if the folder holds no database and `may_make` is false.
    """
    if settings.database_url:
        yield Environment(settings.database_url.replace("postgres://", "postgresql://", 1), settings, embedded=False)
    else:
        with EmbeddedPostgres.start(settings.data, may_make=may_make) as postgres:
            yield Environment(postgres.dsn(), settings, embedded=True, postgres=postgres)


def service_url(host: str, port: int) -> str:
    """Return the URL of a service that listens at an address."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run_with_connection(
    data: Path | None, work: Callable[[Environment, Connection], Coroutine[Any, Any, T]], *, may_make: bool = False
) -> T:
    """Run `work` on one connection to the database of `--data` or of the environment."""

    async def connected(environment: Environment) -> T:
        async with environment.connection() as connection:
            return await work(environment, connection)

    with open_environment(load_settings(data), may_make=may_make) as environment:
        return uvloop.run(connected(environment))
