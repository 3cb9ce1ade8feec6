"""How we speak to PostgreSQL: the types of connections and pools, and how one is opened."""

from typing import Any, TypeAlias

import asyncpg

COMMAND_TIMEOUT_SECONDS = 600

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


async def connect(
    dsn: str, *, search_path: str = "live", role: str | None = None
) -> "asyncpg.Connection[asyncpg.Record]":
    """Open one connection for work in batches; unqualified names mean the tables of the generation `search_path`.
    With `role`, one of migrations/roles.sql, it may do what that role may, whoever logs in.

    Statements are planned anew each time: a plan kept from when a table was empty would read all of it for ever.
    """
    return await asyncpg.connect(
        dsn,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        server_settings={
            "search_path": search_path,
            "timezone": "UTC",
            "application_name": "loyalty",
            "plan_cache_mode": "force_custom_plan",
            **({"role": role} if role else {}),
        },
    )


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


async def open_pool(dsn: str, *, size: int, role: str | None = None) -> Pool:
    """Open a pool of up to `size` connections that read the live generation; with `role`, as in `connect`.

    What runs on it changes no setting of the session but the ledger it is confined to, so a connection is given back
    without a reset: that would be a second round trip for every request.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        reset=_keep,
        connection_class=Confined,
        server_settings={
            "search_path": "live",
            "timezone": "UTC",
            "application_name": "loyalty",
            **({"role": role} if role else {}),
        },
    )


async def _keep(_connection: Connection) -> None:
    """Give a connection back as it is."""
