"""Ledgers on several servers: distribute them, check that nothing is left out, and find those out of reach.

PostgreSQL with the extension Citus distributes them, each ledger as a whole to one server. See docs/scale.md.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator

import asyncpg

from ledger.database import CONNECTION_LOST, Connection, Session, connect, has_several_servers
from ledger.errors import SetupWrong
from ledger.store.registry import Ledger, list_ledgers

REACH_SECONDS_MAX = 0.3  # for one ledger
REACH_ALL_SECONDS_MAX = 1.0
KEPT_SECONDS = 5.0  # of the last look
LOOKS_MAX = 4  # at once

DISTRIBUTE = "SELECT ledger.distribute()"
UNDISTRIBUTED = "SELECT ledger.undistributed()"
REACH = "SELECT true FROM ledger.events WHERE ledger_id = $1 LIMIT 1"


async def distribute_ledgers(connection: Connection) -> list[str]:
    """Distribute what is not distributed yet. Return the names of tables, schemas and functions.

    Raises SetupWrong if PostgreSQL cannot, or if there are rows that would leave a copy here.
    """
    try:
        async with connection.transaction():
            return [row[0] for row in await connection.fetch(DISTRIBUTE)]
    except (asyncpg.FeatureNotSupportedError, asyncpg.ObjectNotInPrerequisiteStateError) as error:
        raise SetupWrong(error.message or "the ledgers cannot be distributed") from None


async def check_distribution(connection: Connection) -> None:
    """Raise SetupWrong if the ledgers are distributed, and something beside them is not."""
    left = [row[0] for row in await connection.fetch(UNDISTRIBUTED)]
    if left:
        raise SetupWrong(f"not distributed yet: {', '.join(left[:5])}; run `loyalty spread` as the owner")


class ReachableLedgers:
    """Looks which ledgers cannot be reached, at most once in KEPT_SECONDS, on connections of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._unreachable: list[str] = []
        self._look_again_at = 0.0  # of time.monotonic()

    async def list_unreachable(self, connection: Connection) -> list[str]:
        """Return the names of ledgers whose server does not answer. On one server there are none.

        It takes REACH_ALL_SECONDS_MAX at most. Ledgers that it did not come to are left out.
        """
        if await has_several_servers(connection) and time.monotonic() >= self._look_again_at:
            self._look_again_at = time.monotonic() + KEPT_SECONDS
            ledgers = await list_ledgers(connection)
            self._unreachable = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REACH_ALL_SECONDS_MAX):
                    due = iter(ledgers)
                    await asyncio.gather(*(self._look(due) for _ in range(min(LOOKS_MAX, len(ledgers)))))
        return sorted(self._unreachable)

    async def _look(self, ledgers: Iterator[Ledger]) -> None:
        session: Session | None = None
        try:
            for ledger in ledgers:
                if session is None or session.is_closed():
                    session = await connect(self._dsn, search_path="pg_catalog")
                try:
                    async with asyncio.timeout(REACH_SECONDS_MAX):
                        await session.fetchval(REACH, ledger.ledger_id)
                except CONNECTION_LOST:
                    self._unreachable.append(ledger.name)
        finally:
            if session is not None:
                session.terminate()
