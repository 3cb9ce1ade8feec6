"""How we speak to PostgreSQL: the types of connections and pools, and how one is opened."""

from typing import TypeAlias

import asyncpg

COMMAND_TIMEOUT_SECONDS = 600

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


async def connect(dsn: str, *, search_path: str = "live") -> "asyncpg.Connection[asyncpg.Record]":
    """Open one connection for work in batches; unqualified names mean the tables of the generation `search_path`.

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
        },
    )


async def open_pool(dsn: str, *, size: int) -> Pool:
    """Open a pool of up to `size` connections that read the live generation.

    What runs on it never changes a setting of the session, so a connection is given back without a reset: that would
    be a second round trip for every request.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        command_timeout=COMMAND_TIMEOUT_SECONDS,
        reset=_keep,
        server_settings={"search_path": "live", "timezone": "UTC", "application_name": "loyalty"},
    )


async def _keep(_connection: Connection) -> None:
    """Give a connection back as it is."""
