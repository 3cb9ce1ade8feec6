"""Pools of connections that read one ledger at a time. Row-level security hides the rows of all other ledgers."""

from typing import Any

import asyncpg
from asyncpg.transaction import Transaction

from ledger.database import (
    Connection,
    Pool,
    Session,
    connect,
    enter_generation,
    has_several_servers,
    open_session,
    server_settings,
)

READ_SECONDS_MAX = 15.0  # for a statement on the pools that requests use


class ConfinedSession(Session):
    """A connection that reads one ledger at a time: row-level security hides the rows of all others."""

    __slots__ = ("confined_to",)

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.confined_to: int | None = None

    async def confine(self, ledger_id: int) -> None:
        """Confine the session to a ledger. A second round trip only if it was confined to another one.

        With several servers, each transaction names the ledger to them, and each statement is a transaction.
        """
        if self.confined_to != ledger_id:
            self.confined_to = None
            if not await has_several_servers(self):
                await self.execute(f"SET app.ledger = '{int(ledger_id)}'")
            self.confined_to = ledger_id

    def transaction(self, **options: Any) -> Transaction:
        """Return a transaction that is confined as the session is."""
        return ConfinedTransaction(self, **options)

    async def _execute(self, *arguments: Any, **options: Any) -> Any:
        if self.several_servers and self.confined_to is not None and not self.is_in_transaction():
            async with self.transaction():
                return await super()._execute(*arguments, **options)
        return await super()._execute(*arguments, **options)


class ConfinedTransaction(Transaction):  # type: ignore[misc]  # it comes without types
    """A transaction of a ConfinedSession. With several servers it begins by naming the ledger to them."""

    def __init__(self, session: ConfinedSession, **options: Any) -> None:
        super().__init__(session, **{"isolation": None, "readonly": False, "deferrable": False, **options})
        self._session = session

    async def start(self) -> None:
        """Begin the transaction, or a savepoint in one."""
        is_outermost = not self._session.is_in_transaction()
        await super().start()
        if is_outermost and self._session.several_servers and self._session.confined_to is not None:
            await self._session.execute(f"SET LOCAL app.ledger = '{int(self._session.confined_to)}'")


async def open_confined(dsn: str, *, role: str, statement_seconds: float) -> ConfinedSession:
    """Open one connection for batch work on the active generation. See `connect` for the arguments."""
    session = await connect(dsn, role=role, statement_seconds=statement_seconds, connection_class=ConfinedSession)
    assert isinstance(session, ConfinedSession)
    return session


async def open_pool(dsn: str, *, size: int, generation: int, role: str | None = None) -> Pool:
    """Open a pool of up to `size` connections that read one generation; `role` as in `connect`.

    Work on it may change no setting of the session except the confinement to a ledger. So a connection is returned
    without a reset, which would be a second round trip for every request. Raises InvalidSchemaNameError if the
    generation is gone.
    """

    async def enter(connection: Connection) -> None:
        if await enter_generation(connection, generation) is None:
            raise asyncpg.InvalidSchemaNameError(f"generation {generation} is gone")

    pool: Pool = await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        connect=open_session,
        command_timeout=READ_SECONDS_MAX,
        init=enter,
        reset=_keep,
        connection_class=ConfinedSession,
        server_settings=server_settings(role, READ_SECONDS_MAX),
    )
    try:
        async with pool.acquire():  # so that an error is raised here
            return pool
    except BaseException:
        pool.terminate()
        raise


async def _keep(_connection: Connection) -> None:
    """Return a connection to the pool without a reset."""
