"""One ledger is held or cannot be read: the others are appended to, projected, sealed and erased in the meantime."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.database import Connection, connect
from ledger.errors import LedgerBusy
from ledger.locks import CHECKPOINTS
from ledger.store.append import append
from ledger.store.registry import Ledger, create_ledger
from ledger.transparency.signer import Signer
from ledger.transparency.tree_heads import latest_checkpoint
from projections.engine import followed_generations, store, worker
from projections.engine.progress import ProjectionProgress
from projections.engine.worker import Projector, catch_up
from service.background import appender as appender_module
from service.background.appender import LANES, Appender
from service.background.sealer import Sealer
from service.operations import erase as erase_module
from service.operations.erase import erase_on_request
from service.settings import Settings
from tests.support.payloads import VAULT, capillary, delivery, issued, sample

HOLD_APPENDS = "SELECT ledger.lock($1)"
HOLD_CHECKPOINTS = "SELECT pg_advisory_xact_lock($1, $2)"
HOLD_POSITION = "SELECT FROM checkpoints WHERE ledger_id = $1 FOR UPDATE"
ERASURES = "SELECT ledger.erasure_count($1)"
WAIT_SECONDS_MAX = 60.0
CUSTOMER, ORG = 4545332, 781  # of the published deletion request


@contextlib.asynccontextmanager
async def holding(dsn: str, statement: str, *arguments: int) -> AsyncIterator[None]:
    """Hold what a statement locks while the block runs."""
    holder = await connect(dsn)
    async with holder.transaction():
        await holder.execute(statement, *arguments)
        yield
    await holder.close()


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(look: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not await look():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def two_ledgers(connection: Connection) -> tuple[Ledger, Ledger]:
    """Two ledgers with an event each, the first one created first: rounds begin with it."""
    first, other = await create_ledger(connection, "first"), await create_ledger(connection, "other")
    for ledger in (first, other):
        await append(connection, VAULT, ledger.ledger_id, [delivery(issued("1", 1, 1, 10), ledger=ledger.name)])
        await catch_up(connection, ledger.ledger_id)
    return first, other


async def test_more_held_ledgers_than_lanes_delay_no_other_ledger(
    connection: Connection, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender_module, "SLOW_SECONDS", 0.05)
    monkeypatch.setattr(appender_module, "LOCK_SECONDS_MAX", 2.0)
    ledgers = [await create_ledger(connection, f"held-{number}") for number in range(2 * LANES)]
    other = await create_ledger(connection, "other")
    appender = Appender(dsn, VAULT, lambda: None)

    async with contextlib.AsyncExitStack() as held, running(appender.run()):
        for ledger in ledgers:
            await held.enter_async_context(holding(dsn, HOLD_APPENDS, ledger.ledger_id))
        waiting = [
            asyncio.create_task(appender.append(ledger.ledger_id, delivery(issued(f"{n}", n, 1, 1))))
            for ledger in ledgers
            for n in (1, 2)
        ]
        await asyncio.sleep(0)
        outcomes = [(await appender.append(other.ledger_id, delivery(issued(f"{n}", n, 1, 1))))[0] for n in range(20)]
        unanswered = [task for task in waiting if not task.done()]
        refused = await asyncio.gather(*waiting, return_exceptions=True)
    await appender.drain()

    assert [outcome.position for outcome in outcomes] == list(range(1, 21))
    assert len(unanswered) == len(waiting)
    assert {type(refusal) for refusal in refused} == {LedgerBusy}


async def test_a_ledger_whose_batch_waits_holds_up_no_projection_of_others(
    connection: Connection, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "STALL_SECONDS", 0.1)
    first, other = await two_ledgers(connection)
    for ledger in (first, other):
        await append(connection, VAULT, ledger.ledger_id, [delivery(issued("2", 2, 1, 10), ledger=ledger.name)])

    async with running(Projector(dsn, ProjectionProgress()).run()):
        async with holding(dsn, HOLD_POSITION, first.ledger_id):
            await until(lambda: reaches(connection, other, 2))
            held_at = await store.read_checkpoint(connection, first.ledger_id)
        await until(lambda: reaches(connection, first, 2))

    assert held_at == 1


async def test_ledgers_are_read_one_by_one_when_they_cannot_be_read_together(
    connection: Connection, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_generations, "READ_POSITIONS", "SELECT pg_sleep(600) WHERE $1::int + $2::int > 0")
    monkeypatch.setattr(followed_generations, "POSITIONS_SECONDS_MAX", 0.2)
    monkeypatch.setattr(
        followed_generations,
        "READ_POSITION",
        followed_generations.READ_POSITION.replace(
            "$1::int", "CASE WHEN $1 = 1 THEN pg_sleep(600)::text::int ELSE $1 END"
        ),
    )
    _, other = await two_ledgers(connection)
    await append(connection, VAULT, other.ledger_id, [delivery(issued("2", 2, 1, 10), ledger=other.name)])

    async with running(Projector(dsn, ProjectionProgress()).run()):
        await until(lambda: reaches(connection, other, 2))


async def reaches(connection: Connection, ledger: Ledger, position: int) -> bool:
    return await store.read_checkpoint(connection, ledger.ledger_id) >= position


async def test_a_ledger_that_cannot_be_sealed_holds_up_no_other(
    connection: Connection, dsn: str, tmp_path: Path
) -> None:
    first, other = await two_ledgers(connection)
    signer = Signer(tmp_path / "signer", site="logs.example")

    async with (
        running(Sealer(dsn, signer, Settings(checkpoint_events=1)).run()),
        holding(dsn, HOLD_CHECKPOINTS, CHECKPOINTS, first.ledger_id),
    ):
        await until(lambda: latest_checkpoint(connection, other.ledger_id))
        held = await latest_checkpoint(connection, first.ledger_id)

    assert held is None


async def test_a_held_ledger_holds_up_no_erasure_of_another(
    connection: Connection, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase_module, "POLL_SECONDS", 0.05)
    first, other = await two_ledgers(connection)
    identifiers = {"customerId": CUSTOMER, "instore": {"email": "ann@example.com"}}
    ann = orjson.loads(
        capillary("pointsIssued", "a", 0, CUSTOMER, totalPointsIssued=5, customerIdentifiers=identifiers)
    )
    bodies = [orjson.dumps({**ann, "orgId": ORG}), sample("capillary", "requestUpdated-2")]
    for ledger in (first, other):
        await append(connection, VAULT, ledger.ledger_id, [delivery(body, ledger=ledger.name) for body in bodies])
        await catch_up(connection, ledger.ledger_id)

    async with running(erase_on_request(dsn, VAULT)), holding(dsn, HOLD_APPENDS, first.ledger_id):
        await until(lambda: connection.fetchval(ERASURES, other.ledger_id))

        assert await connection.fetchval(ERASURES, first.ledger_id) == 0
