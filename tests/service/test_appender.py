"""Group commit: what comes together is committed together, and who is alone waits for nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ledger import read
from ledger.database import Connection
from ledger.registry import Ledger
from service.appender import Appender
from tests.deliveries import VAULT, delivery, issued

SENDERS = 30
ROUNDS = 4


@asynccontextmanager
async def appending(dsn: str) -> AsyncIterator[tuple[Appender, list[int]]]:
    """An appender at work, and a list that grows with each of its commits."""
    commits: list[int] = []
    appender = Appender(dsn, VAULT, lambda: commits.append(1))
    running = asyncio.create_task(appender.run())
    try:
        yield appender, commits
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await appender.drain()


async def test_senders_that_come_together_share_their_commits(connection: Connection, dsn: str, ledger: Ledger) -> None:
    async def send(sender: int) -> list[int]:
        positions = []
        for n in range(ROUNDS):
            ((position, _),) = await appender.append(ledger.ledger_id, delivery(issued(f"{sender}-{n}", n, sender, 1)))
            positions.append(position)
        return positions

    async with appending(dsn) as (appender, commits):
        told = await asyncio.gather(*(send(sender) for sender in range(SENDERS)))

    assert sorted(position for positions in told for position in positions) == list(range(1, SENDERS * ROUNDS + 1))
    assert await read.tail(connection, ledger.ledger_id) == SENDERS * ROUNDS
    assert len(commits) < SENDERS


async def test_a_sender_alone_is_answered_after_each_commit(connection: Connection, dsn: str, ledger: Ledger) -> None:
    async with appending(dsn) as (appender, commits):
        for n in range(3):
            await appender.append(ledger.ledger_id, delivery(issued(str(n), n, 1, 1)))
            assert (len(commits), await read.tail(connection, ledger.ledger_id)) == (n + 1, n + 1)
