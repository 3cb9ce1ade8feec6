"""Connections to PostgreSQL: their types, how they are opened, and which generation they read.

Unqualified names in SQL mean the tables of one generation, by the search_path of the connection. A connection reads the
generation that is active when it is opened. It keeps that generation after a promotion, so no answer mixes two. Until
it is closed it holds a shared lock on the generation. So the generation cannot be dropped.
"""

import asyncio
import contextlib
import socket
import time
from typing import Any, TypeAlias

import asyncpg

from ledger.hosts import split_hosts
from ledger.locks import GENERATION_READERS

CONNECT_SECONDS_MAX = 5.0  # for all hosts of the DSN together
CLOSE_SECONDS_MAX = 2.0
STATEMENT_SECONDS_MAX = 600.0  # for batch work: an index of a large table takes minutes
# Socket options that detect a vanished peer within about 12 seconds. Causes are a firewall that dropped the connection,
# or a host that failed over.
KEEPALIVE = {
    (socket.SOL_SOCKET, "SO_KEEPALIVE"): 1,
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE"): 5,  # seconds
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL"): 2,  # seconds
    (socket.IPPROTO_TCP, "TCP_KEEPCNT"): 3,
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT"): 10_000,  # milliseconds
}

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# Errors after which another session may work, but not this one: the connection is lost, the server stops or is full, or
# it has become read-only. A demoted primary answers SQLSTATE 25006 for ever.
CONNECTION_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.TargetServerAttributeNotMatched,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
# The routine of PostgreSQL that warns of a commit which no standby has confirmed, because the wait was cancelled.
REPLICATION_WAIT = "SyncRepWaitForLSN"
IS_WRITABLE = "SELECT NOT (pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean)"
CHECK_SECONDS = 2.0  # between two checks of a session
CHECK_SECONDS_MAX = 1.0

# The lock may be granted after the generation was dropped. So its state is read again under the lock.
ENTER_ACTIVE = """
    SELECT generation, pg_advisory_lock_shared($1, generation) FROM projections.generations WHERE state = 'active'
"""
ENTER_GENERATION = (
    "SELECT generation, pg_advisory_lock_shared($1, generation) FROM projections.generations WHERE generation = $2"
)
SET_SEARCH_PATH = """
    SELECT set_config('search_path', schema_name, false) FROM projections.generations
     WHERE generation = $1 AND state IN ('ready', 'active', 'retired')
"""
READS_ACTIVE = """
    SELECT current_setting('search_path') = (SELECT schema_name FROM projections.generations WHERE state = 'active')
"""
HAS_SEVERAL_SERVERS = "SELECT to_regproc('pg_catalog.citus_relation_size') IS NOT NULL"
LEAVE_GENERATION = "SELECT pg_advisory_unlock_shared($1, $2)"
NO_GENERATIONS = (  # before the migration, or for a role without rights on projections
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InsufficientPrivilegeError,
)


_last_hosts: dict[str, str] = {}  # by DSN: the host of the last session


class Session(asyncpg.Connection):  # type: ignore[misc]  # it comes without types
    """A connection that never waits for a silent server longer than its time limits.

    A statement that is cancelled or times out ends its connection at once: asyncpg would wait for the server to
    confirm, and so would the ROLLBACK after it. The server stops the statement by its own `statement_timeout`, or when
    it notices that the client is gone.
    """

    __slots__ = ("_is_ending", "_sound_until", "follows_active", "several_servers")

    def __init__(self, protocol: Any, transport: Any, *more: Any, **options: Any) -> None:
        self._is_ending = False
        self.follows_active = False  # True if the session is to be replaced after a promotion
        self.several_servers: bool | None = None  # see has_several_servers
        self._sound_until = 0.0  # of time.monotonic()
        super().__init__(protocol, transport, *more, **options)
        keep_alive(transport.get_extra_info("socket"))

    def is_closed(self) -> bool:
        """Return True if no further statement can be sent."""
        return self._is_ending or bool(super().is_closed())

    async def is_sound(self) -> bool:
        """Return False if the session must be replaced. Four reasons are found:

        - The connection is lost.
        - The server is silent for CHECK_SECONDS_MAX.
        - The server cannot be written to. A demoted primary would answer with old data.
        - The session reads the generation that was active, and another one was promoted.

        The server is asked at most once in CHECK_SECONDS, so the check costs nothing under load.
        """
        if time.monotonic() < self._sound_until and not self.is_closed():
            return True
        try:
            async with asyncio.timeout(CHECK_SECONDS_MAX):
                is_sound: bool = await self.fetchval(IS_WRITABLE)
                if is_sound and self.follows_active:
                    is_sound = bool(await self.fetchval(READS_ACTIVE))
        except CONNECTION_LOST:
            return False
        self._sound_until = time.monotonic() + CHECK_SECONDS
        return is_sound

    @property
    def is_read_only(self) -> bool:
        """True if the server has reported that it takes no writes. It reports a change with its next answer."""
        if self.is_closed():
            return False
        settings = self.get_settings()
        reported = (getattr(settings, name, "off") for name in ("default_transaction_read_only", "in_hot_standby"))
        return "on" in reported

    async def copy_records_to_table(self, table_name: str, **options: Any) -> str:
        """Copy rows to a table. With several servers, the error of a refused row has its own class, as on one server.

        A server of ledgers reports each refusal of a COPY as an internal error. INSERTs report the true one.
        """
        if not await has_several_servers(self) or not self.is_in_transaction():
            return str(await super().copy_records_to_table(table_name, **options))
        records = list(options.pop("records"))
        try:
            async with self.transaction():
                return str(await super().copy_records_to_table(table_name, records=records, **options))
        except asyncpg.InternalServerError:
            columns = options["columns"]
            names = ", ".join(f'"{column}"' for column in columns)
            values = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
            table = f"{options['schema_name']}.{table_name}" if options.get("schema_name") else table_name
            await self.executemany(f"INSERT INTO {table} ({names}) VALUES ({values})", records)  # noqa: S608
            return f"COPY {len(records)}"

    def _process_log_message(self, fields: dict[str, str], last_query: str) -> None:
        """End the connection if a commit may not be replicated: its outcome is unknown, not a success."""
        if fields.get("R") == REPLICATION_WAIT:
            self.terminate()
        super()._process_log_message(fields, last_query)

    def _cancel_current_command(self, waiter: "asyncio.Future[None]", *_: Any) -> None:
        self._is_ending = True
        asyncio.get_running_loop().call_soon(self.terminate)  # later, because the caller still needs the transport
        if not waiter.done():
            waiter.set_result(None)

    async def close(self, *, timeout: float | None = None) -> None:  # `timeout` is asyncpg's name
        """Close the connection within `timeout` seconds, by default CLOSE_SECONDS_MAX, else terminate it.

        Raises nothing, except the cancellation of the caller.
        """
        try:
            async with asyncio.timeout(min(timeout or CLOSE_SECONDS_MAX, CLOSE_SECONDS_MAX)):
                await super().close()
        except Exception:
            self.terminate()
        except BaseException:
            self.terminate()
            raise


def keep_alive(raw: socket.socket | None) -> None:
    """Set KEEPALIVE on a TCP socket, as far as the operating system has the options."""
    if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for (level, name), value in KEEPALIVE.items():
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(level, option, value)


async def fetch_planned(connection: Connection, sql: str, *arguments: Any) -> list[asyncpg.Record]:
    """Fetch rows by a plan for these arguments. Lists with filters need it.

    A cached statement gets one plan for all arguments. For a value that few rows have, it may read a whole table.
    """
    if await has_several_servers(connection) and not connection.is_in_transaction():
        async with connection.transaction():
            return list(await (await connection.prepare(sql)).fetch(*arguments))
    return list(await (await connection.prepare(sql)).fetch(*arguments))


async def has_several_servers(connection: Connection) -> bool:
    """Return True if PostgreSQL has the extension that distributes ledgers over servers. Asked once a session.

    Then settings of the session do not reach other servers, and some statements over all ledgers are not possible.
    """
    session = getattr(connection, "_con", connection)  # a pool lends a proxy of it
    known: bool | None = getattr(session, "several_servers", None)
    if known is None:
        known = bool(await connection.fetchval(HAS_SEVERAL_SERVERS))
        if isinstance(session, Session):
            session.several_servers = known
    return known


def server_settings(role: str | None, statement_seconds: float, **more: str) -> dict[str, str]:
    """Return the settings of every session. With `role`, a role of migrations/roles.sql, it has the rights of that
    role.
    """
    return {
        "search_path": "pg_catalog",
        "timezone": "UTC",
        "application_name": "loyalty",
        "statement_timeout": f"{statement_seconds * 1000:.0f}",
        "citus.propagate_set_commands": "local",  # SET LOCAL reaches the servers of ledgers. No effect without Citus
        "citus.override_table_visibility": "off",  # hiding shards makes each look at the catalogue 200 times slower
        **({"role": role} if role else {}),
        **more,
    }


async def connect(
    dsn: str,
    *,
    search_path: str | None = None,
    role: str | None = None,
    statement_seconds: float = STATEMENT_SECONDS_MAX,
    lock_seconds_max: float | None = None,
    connection_class: type[Session] = Session,
) -> Session:
    """Open one connection for batch work, on the active generation or on the schema `search_path`.

    - `search_path`: no generation is locked.
    - `role`: a role of migrations/roles.sql; the session has its rights, whichever user logs in.
    - `lock_seconds_max`: a statement that waits longer for a lock fails with LockNotAvailableError.

    Only a writable server is accepted; `dsn` may name several hosts. Statements are planned again for each execution: a
    plan made while a table was empty would read all of it for ever. Raises an error of CONNECTION_LOST.
    """
    connection = await open_session(
        dsn,
        command_timeout=statement_seconds,
        connection_class=connection_class,
        server_settings=server_settings(
            role,
            statement_seconds,
            search_path=search_path or "pg_catalog",
            plan_cache_mode="force_custom_plan",
            **({"lock_timeout": f"{lock_seconds_max * 1000:.0f}"} if lock_seconds_max else {}),
        ),
    )
    if search_path is None:
        try:
            connection.follows_active = await enter_generation(connection) is not None
        except BaseException:
            connection.terminate()
            raise
    return connection


async def open_session(dsn: str, **options: Any) -> Session:
    """Open a session on the first host of a DSN that can be written to. The host of the last session is tried first.

    Raises an error of CONNECTION_LOST.
    """
    hosts = split_hosts(dsn)
    hosts.sort(key=lambda host: host != _last_hosts.get(dsn))
    for host in hosts:
        try:
            session: Session = await asyncpg.connect(
                host, timeout=CONNECT_SECONDS_MAX / len(hosts), target_session_attrs="read-write", **options
            )
        except CONNECTION_LOST:
            if host is hosts[-1]:
                raise
        else:
            _last_hosts[dsn] = host
            return session
    raise AssertionError("a DSN names at least one host")


async def enter_generation(connection: Connection, generation: int | None = None) -> int | None:
    """Make unqualified names mean the tables of a generation, by default the active one, until the connection is
    closed.

    Returns the generation; None if it does not exist, or none is active yet.
    """
    while True:
        try:
            if generation is None:
                row = await connection.fetchrow(ENTER_ACTIVE, GENERATION_READERS)
            else:
                row = await connection.fetchrow(ENTER_GENERATION, GENERATION_READERS, generation)
        except NO_GENERATIONS:
            return None
        if row is None:
            return None
        entered: int = row["generation"]
        if await connection.fetchval(SET_SEARCH_PATH, entered):
            return entered
        await connection.fetchval(LEAVE_GENERATION, GENERATION_READERS, entered)  # dropped meanwhile
