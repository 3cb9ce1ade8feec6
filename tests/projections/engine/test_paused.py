"""A projector that is stopped in the middle of a batch, as a machine under pressure stops one: no row comes out wrong,
and none waits for ever for it."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe

import asyncpg

from ledger.database import Connection, connect
from ledger.store.append import append
from ledger.store.registry import Ledger, create_ledger
from projections.engine import advance, store
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from tests.support.payloads import VAULT, delivery, issued, redeemed

SECONDS_PAUSED = 2.0


def history(ledger: Ledger) -> list[object]:
    bodies = [
        redeemed(str(number), number, number % 7, 3) if number % 3 else issued(str(number), number, number % 7, 10)
        for number in range(200)
    ]
    return [delivery(body, ledger=ledger.name) for body in bodies]


def stop_inside_the_first_batch(pipe: Pipe, dsn: str, ledger_id: int, pause_seconds_max: float) -> None:
    """Run a projector that stops itself once the checkpoint is moved, and says how its batch ended."""

    async def project() -> None:
        connection = await connect(dsn)
        await advance.set_idle_in_transaction_timeout(connection, pause_seconds_max)
        copy_facts, stopped = store.copy_facts, list[bool]()

        async def copy_and_stop(connection: Connection, rows: Sequence[store.FactRow]) -> None:
            await copy_facts(connection, rows)
            if not stopped:
                stopped.append(True)
                pipe.send(os.getpid())
                os.kill(os.getpid(), signal.SIGSTOP)

        store.copy_facts = copy_and_stop
        try:
            pipe.send(await advance.advance(connection, ledger_id, limit=60))
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            pipe.send(type(error).__name__)

    asyncio.run(project())


async def paused(dsn: str, connection: Connection, ledger: Ledger, pause_seconds_max: float) -> tuple[bool, object]:
    """Let one projector sleep inside a batch while another goes on; say whether the other one was done before the
    sleeper woke, and how the sleeper's batch ended."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, dsn, ledger.ledger_id, pause_seconds_max)
    process = context.Process(target=stop_inside_the_first_batch, args=arguments, daemon=True)
    process.start()
    try:
        pid = await asyncio.to_thread(ours.recv)
        other = asyncio.create_task(catch_up(connection, ledger.ledger_id))
        done, _ = await asyncio.wait([other], timeout=SECONDS_PAUSED)
        os.kill(pid, signal.SIGCONT)
        ended = await asyncio.to_thread(ours.recv)
        await other
        return bool(done), ended
    finally:
        process.kill()
        process.join()


async def compared(dsn: str, connection: Connection, ledger: Ledger, pause_seconds_max: float) -> tuple[bool, object]:
    quiet = await create_ledger(connection, "quiet")
    for one in (ledger, quiet):
        await append(connection, VAULT, one.ledger_id, history(one))  # type: ignore[arg-type]

    outcome = await paused(dsn, connection, ledger, pause_seconds_max)

    await catch_up(connection, quiet.ledger_id)
    assert await compute_digest(connection, ledger.ledger_id) == await compute_digest(connection, quiet.ledger_id)
    assert await connection.fetchval("SELECT count(*) FROM facts WHERE ledger_id = $1", ledger.ledger_id) == 200
    return outcome


async def test_a_projector_that_is_stopped_inside_a_batch_finishes_it_when_it_wakes(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    overtaken, ended = await compared(dsn, connection, ledger, pause_seconds_max=60)

    assert (overtaken, ended) == (False, 60)


async def test_a_projector_that_is_stopped_for_too_long_is_overtaken_and_writes_nothing(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    overtaken, ended = await compared(dsn, connection, ledger, pause_seconds_max=0.5)

    assert overtaken
    assert ended in ("IdleInTransactionSessionTimeoutError", "ConnectionDoesNotExistError", "InterfaceError")
