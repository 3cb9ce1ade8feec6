"""Simultaneous look-ups are answered by one statement, and each caller gets its own row."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from ledger.database import Connection
from projections.engine import generations
from service.queries.batch_loader import BatchLoader
from service.queries.reader_pool import ReaderPool
from tests.support.client import serving
from tests.support.payloads import issued

NAMES = "SELECT name, $1::int AS ledger_id, statement_timestamp() AS asked_at FROM unnest($2::text[]) name"
KNOWN = f"{NAMES} WHERE name <> 'nobody'"


@pytest.fixture
async def readers(connection: Connection, dsn: str) -> AsyncIterator[ReaderPool]:
    readers = ReaderPool(dsn, 2, role="loyalty_reader")
    await readers.enter((await generations.active_generation(connection)).generation)
    yield readers
    await readers.close()


async def test_simultaneous_look_ups_are_answered_by_one_statement(readers: ReaderPool) -> None:
    loader = BatchLoader(readers, KNOWN, name_column="name")

    rows = await asyncio.gather(*(loader.load(1, f"n{number % 10}") for number in range(50)))
    later = await loader.load(1, "n3")

    assert [row and row["name"] for row in rows] == [f"n{number % 10}" for number in range(50)]
    times = {row["asked_at"] for row in (*rows, later) if row is not None}
    assert len(times) == 2
    assert later is not None
    assert later["asked_at"] == max(times)


async def test_each_ledger_has_its_statement_and_an_unknown_name_gets_none(readers: ReaderPool) -> None:
    loader = BatchLoader(readers, KNOWN, name_column="name")

    here, there, nobody = await asyncio.gather(loader.load(1, "ada"), loader.load(2, "ada"), loader.load(1, "nobody"))

    assert here is not None
    assert there is not None
    assert (here["ledger_id"], there["ledger_id"], nobody) == (1, 2, None)


async def test_a_failure_reaches_every_caller_and_the_next_look_up_succeeds(readers: ReaderPool) -> None:
    loader = BatchLoader(readers, NAMES.replace("name,", "name, 1 / length(name),"), name_column="name")

    wrong = await asyncio.gather(loader.load(1, "ada"), loader.load(1, ""), return_exceptions=True)
    gone = asyncio.create_task(loader.load(1, "ada"))
    await asyncio.sleep(0)
    gone.cancel()

    assert [type(one) for one in wrong] == [asyncpg.DivisionByZeroError] * 2
    assert await loader.load(1, "ada") is not None


async def test_simultaneous_callers_of_several_ledgers_see_their_own_accounts(dsn: str) -> None:
    async with serving(dsn, "acme", "other") as [acme, other]:
        for number in range(20):
            await acme.deliver(issued(f"a{number}", 1, number, 10 + number))
            await other.deliver(issued(f"o{number}", 1, number, 50 + number))
        for one in (acme, other):
            await one.ask_now("/v1/projections")

        answers = await asyncio.gather(
            *(
                one.ask(f"/v1/accounts/capillary:9001:{number}:77:points")
                for number in range(21)
                for one in (acme, other)
            )
        )

    available = [body.get("available") for _, body in answers]
    assert available[:-2] == [str(points + number) for number in range(20) for points in (10, 50)]
    assert [status for status, _ in answers[-2:]] == [404, 404]
