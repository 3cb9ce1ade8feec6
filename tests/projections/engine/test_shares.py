"""Several projectors divide the ledgers: each works for its share, and the rows are those of one projector."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from ledger.database import Connection, connect
from ledger.errors import SetupWrong
from ledger.store.append import append
from ledger.store.ledger_share import ALL_LEDGERS, LedgerShare
from ledger.store.registry import Ledger, create_ledger
from projections.engine import store
from projections.engine.digest import compute_digest
from projections.engine.progress import ProjectionProgress
from projections.engine.worker import Projector, catch_up
from service.embedded.server import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.support.payloads import VAULT, delivery, issued, redeemed

LEDGERS, EVENTS = 5, 30
SHARES = (LedgerShare(1, 2), LedgerShare(2, 2))
WAIT_SECONDS_MAX = 60.0


async def fill(connection: Connection) -> list[Ledger]:
    """Create ledgers with the same events in each database."""
    ledgers = [await create_ledger(connection, f"ledger-{number}") for number in range(1, LEDGERS + 1)]
    for ledger in ledgers:
        bodies = [
            redeemed(f"{n}", n, n % 3, ledger.ledger_id) if n % 4 == 3 else issued(f"{n}", n, n % 3, 10 + n)
            for n in range(EVENTS)
        ]
        await append(connection, VAULT, ledger.ledger_id, [delivery(body, ledger=ledger.name) for body in bodies])
    return ledgers


@contextlib.asynccontextmanager
async def projecting(dsn: str, *shares: LedgerShare) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(Projector(dsn, ProjectionProgress(), share).run()) for share in shares]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until_current(connection: Connection, ledgers: Sequence[Ledger]) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        for ledger in ledgers:
            while await store.read_checkpoint(connection, ledger.ledger_id) < EVENTS:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_a_projector_works_for_its_share_only(connection: Connection, dsn: str) -> None:
    ledgers = await fill(connection)

    async with projecting(dsn, SHARES[0]):
        await until_current(connection, SHARES[0].select(ledgers))
    reached = [await store.read_checkpoint(connection, ledger.ledger_id) for ledger in ledgers]

    assert reached == [EVENTS, 0, EVENTS, 0, EVENTS]


async def test_two_projectors_on_two_shares_make_the_rows_of_one(
    connection: Connection, dsn: str, postgres: EmbeddedPostgres
) -> None:
    ledgers = await fill(connection)
    async with projecting(dsn, *SHARES):
        await until_current(connection, ledgers)
    async with fresh_database(postgres) as alone_dsn:
        alone = await connect(alone_dsn)
        for ledger in await fill(alone):
            await catch_up(alone, ledger.ledger_id)
        expected = [await compute_digest(alone, ledger.ledger_id) for ledger in ledgers]
        await alone.close()

    digests = [await compute_digest(connection, ledger.ledger_id) for ledger in ledgers]

    assert digests == expected


def test_each_ledger_is_in_one_share() -> None:
    ledgers = [Ledger(number, f"ledger-{number}") for number in range(1, 12)]

    shares = [LedgerShare(number, 3).select(ledgers) for number in (1, 2, 3)]

    assert sorted(ledger for share in shares for ledger in share) == ledgers
    assert ALL_LEDGERS.select(ledgers) == ledgers


@pytest.mark.parametrize("text", ["", "2", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b"])
def test_a_share_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(SetupWrong, match="such as 2/3"):
        LedgerShare.parse(text)


def test_a_share_is_written_as_it_is_parsed() -> None:
    assert LedgerShare.parse("2/3") == (2, 3)
    assert str(LedgerShare.parse("2/3")) == "2/3"
