"""How we speak to PostgreSQL: the types of connections and pools, and how one is opened.

Unqualified names in our SQL mean the tables of one generation, by the search_path of the connection. A connection takes
the generation that is active when it is opened and stays with it, whatever is promoted later, so that no answer is
taken from two. Until it is closed it holds a shared lock on the generation, which cannot be dropped under it.
"""

from typing import Any, TypeAlias

import asyncpg

COMMAND_TIMEOUT_SECONDS = 600
GENERATION_IN_USE = 1819239290  # with the generation: a shared advisory lock of every session that reads it

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

# The lock may be granted after the generation was dropped, so its state is asked again under the lock.
ENTER_ACTIVE = """
    SELECT generation, pg_advisory_lock_shared($1, generation) FROM projections.generations WHERE state = 'active'
"""
ENTER = "SELECT generation, pg_advisory_lock_shared($1, generation) FROM projections.generations WHERE generation = $2"
NAMED = """
    SELECT set_config('search_path', schema_name, false) FROM projections.generations
     WHERE generation = $1 AND state IN ('ready', 'active', 'retired')
"""
LEAVE = "SELECT pg_advisory_unlock_shared($1, $2)"
NONE_TO_SEE = (  # before the migration, or for a role that has no business with projections
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.InsufficientPrivilegeError,
)


async def connect(
    dsn: str, *, search_path: str | None = None, role: str | None = None, lock_seconds_max: float | None = None
) -> "asyncpg.Connection[asyncpg.Record]":
    """Open one connection for work in batches on the active generation, or on the schema `search_path`, without a lock.
    With `role`, one of migrations/roles.sql, it may do what that role may, whoever logs in. With `lock_seconds_max`, a
    statement that waits longer for a lock fails with LockNotAvailableError.

    Statements are planned anew each time: a plan kept from when a table was empty would read all of it for ever.
    """
    connection = await asyncpg.connect(
        dsn,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        server_settings={
            "search_path": search_path or "pg_catalog",
            "timezone": "UTC",
            "application_name": "loyalty",
            "plan_cache_mode": "force_custom_plan",
            **({"role": role} if role else {}),
            **({"lock_timeout": f"{lock_seconds_max * 1000:.0f}"} if lock_seconds_max else {}),
        },
    )
    if search_path is None:
        try:
            await enter_generation(connection)
        except BaseException:
            connection.terminate()
            raise
    return connection


class Confined(asyncpg.Connection):  # type: ignore[misc]  # it comes without types
    """A connection that reads one ledger at a time: row-level security lets it see no other's rows."""

    __slots__ = ("confined_to",)

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.confined_to: int | None = None

    async def confine(self, ledger_id: int) -> None:
        """See only this ledger from now on. A second round trip, so only where it was another before."""
        if self.confined_to != ledger_id:
            self.confined_to = None
            await self.execute(f"SET app.ledger = '{int(ledger_id)}'")
            self.confined_to = ledger_id


async def enter_generation(connection: Connection, generation: int | None = None) -> int | None:
    """Make unqualified names mean the tables of a generation, by default the active one, for as long as the connection
    lives; give which. None if there is none yet, or not this one."""
    while True:
        try:
            if generation is None:
                row = await connection.fetchrow(ENTER_ACTIVE, GENERATION_IN_USE)
            else:
                row = await connection.fetchrow(ENTER, GENERATION_IN_USE, generation)
        except NONE_TO_SEE:
            return None
        if row is None:
            return None
        entered: int = row["generation"]
        if await connection.fetchval(NAMED, entered):
            return entered
        await connection.fetchval(LEAVE, GENERATION_IN_USE, entered)  # dropped in this moment


async def open_pool(dsn: str, *, size: int, generation: int, role: str | None = None) -> Pool:
    """Open a pool of up to `size` connections that read one generation; with `role`, as in `connect`.

    What runs on it changes no setting of the session but the ledger it is confined to, so a connection is given back
    without a reset: that would be a second round trip for every request. Raises InvalidSchemaNameError if there is no
    such generation.
    """

    async def enter(connection: Connection) -> None:
        if await enter_generation(connection, generation) is None:
            raise asyncpg.InvalidSchemaNameError(f"generation {generation} is gone")

    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        init=enter,
        reset=_keep,
        connection_class=Confined,
        server_settings={
            "search_path": "pg_catalog",
            "timezone": "UTC",
            "application_name": "loyalty",
            **({"role": role} if role else {}),
        },
    )


async def _keep(_connection: Connection) -> None:
    """Give a connection back as it is."""
