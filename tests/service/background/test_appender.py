"""Group commit: simultaneous deliveries are committed together, and a lone one is not delayed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ledger.database import Connection
from ledger.errors import LedgerBusy, LedgerUnavailable
from ledger.events import Delivery
from ledger.locks import APPENDS
from ledger.privacy.redaction import PersonalPart
from ledger.store import read
from ledger.store.registry import Ledger, create_ledger
from service.background.appender import (
    LEDGER_SHARE,
    PERSONS_PER_COMMIT_MAX,
    WAITING_BYTES_MAX,
    Appender,
    DeliveryQueue,
    WaitingDelivery,
)
from tests.support.payloads import VAULT, delivery, issued

SENDERS = 30
ROUNDS = 4


@asynccontextmanager
async def appending(dsn: str) -> AsyncIterator[tuple[Appender, list[int]]]:
    """An appender that runs, and a list that grows with each of its commits."""
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


async def test_a_ledger_whose_lock_is_held_holds_up_no_other_ledger(
    connection: Connection, dsn: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.background.appender.LOCK_SECONDS_MAX", 1.0)
    other = await create_ledger(connection, "other")
    async with appending(dsn) as (appender, _), connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1, $2)", APPENDS, ledger.ledger_id)
        held = [
            asyncio.create_task(appender.append(ledger.ledger_id, delivery(issued(f"{n}", n, 1, 1)))) for n in (1, 2)
        ]
        for n in range(20):
            ((position, _),) = await appender.append(other.ledger_id, delivery(issued(f"{n}", n, 1, 1)))
            assert position == n + 1
        waiting = [task.done() for task in held]
        outcomes = await asyncio.gather(*held, return_exceptions=True)
        after = await appender.append(other.ledger_id, delivery(issued("last", 1, 1, 1)))

    assert waiting == [False, False]
    assert [type(outcome) for outcome in outcomes] == [LedgerBusy, LedgerBusy]
    assert after[0].outcome == "appended"


async def test_a_delivery_of_many_persons_is_committed_alone() -> None:
    def naming(persons: int) -> Delivery:
        return Delivery(b"", (), [PersonalPart(f"capillary:1:{n}", []) for n in range(persons)])

    queue = DeliveryQueue()
    for persons in (1, 2, PERSONS_PER_COMMIT_MAX + 1, 3, 4):
        queue.put(WaitingDelivery(naming(persons), asyncio.get_running_loop().create_future()))

    batches = []
    while batch := queue.take_batch():
        batches.append([len(waiting.delivery.parts) for waiting in batch])

    assert batches == [[1, 2], [PERSONS_PER_COMMIT_MAX + 1], [3, 4]]


async def test_one_ledger_cannot_fill_the_queues_of_all(dsn: str, ledger: Ledger) -> None:
    appender = Appender(dsn, VAULT, lambda: None)  # no lane runs yet
    large = Delivery(bytes(WAITING_BYTES_MAX // LEDGER_SHARE // 2), (), ())

    tasks = [asyncio.create_task(appender.append(ledger.ledger_id, large)) for _ in range(3)]
    tasks += [asyncio.create_task(appender.append(ledger.ledger_id + 1, large))]
    done, waiting = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()

    assert [type(task.exception()) for task in done] == [LedgerUnavailable]
    assert done == {tasks[2]}
