"""Ledgers distributed over several servers by Citus. Without a cluster, only the refusals are tried."""

import asyncio

import asyncpg
import pytest

from ledger.confined_sessions import open_pool
from ledger.database import Connection, connect
from ledger.errors import SetupWrong
from ledger.store.append import append
from ledger.store.registry import Ledger, create_ledger
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from service.distribution import check_distribution, distribute_ledgers
from service.embedded.server import EmbeddedPostgres
from tests.conftest import fresh_database
from tests.support import citus
from tests.support.payloads import VAULT, delivery, issued, samples

SOURCES = ("ascenda", "capillary", "fabric", "voucherify")
SERVERS_OF_LEDGERS = """
    SELECT count(DISTINCT nodeport) FROM citus_shards WHERE table_name = 'ledger.events'::regclass
"""
ACTIVE = "SELECT generation FROM projections.generations WHERE state = 'active'"
EVENTS_SEEN = "SELECT ledger_id, count(*)::int FROM ledger.events GROUP BY ledger_id"

on_a_cluster = pytest.mark.skipif(not citus.SERVERS, reason=citus.SKIPPED)


async def fill(connection: Connection) -> list[Ledger]:
    """Create four ledgers with every published payload, and project them."""
    ledgers = [await create_ledger(connection, f"ledger-{number}") for number in range(4)]
    for ledger in ledgers:
        for source in SOURCES:
            bodies = [delivery(body, source, ledger.name) for body in samples(source)]
            await append(connection, VAULT, ledger.ledger_id, bodies)
        await catch_up(connection, ledger.ledger_id)
    return ledgers


@pytest.mark.skipif(bool(citus.SERVERS), reason="the database is distributed")
async def test_one_server_has_nothing_to_distribute(connection: Connection) -> None:
    await check_distribution(connection)

    with pytest.raises(SetupWrong, match="does not have the extension citus"):
        await distribute_ledgers(connection)


@on_a_cluster
async def test_rows_of_distributed_ledgers_are_those_of_one_server(
    connection: Connection, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledgers = await fill(connection)
    servers = await connection.fetchval(SERVERS_OF_LEDGERS)
    monkeypatch.setattr(citus, "SERVERS", [])
    async with fresh_database(postgres) as alone_dsn:
        alone = await connect(alone_dsn)
        expected = [await compute_digest(alone, ledger.ledger_id) for ledger in await fill(alone)]
        await alone.close()

    digests = [await compute_digest(connection, ledger.ledger_id) for ledger in ledgers]

    assert servers > 1
    assert digests == expected


@on_a_cluster
async def test_the_lock_of_a_ledger_excludes_appends_from_every_session(connection: Connection, dsn: str) -> None:
    ledger = await create_ledger(connection, "acme")
    holder = await connect(dsn)
    async with holder.transaction():
        await holder.execute("SELECT ledger.lock($1)", ledger.ledger_id)
        appending = asyncio.create_task(
            append(connection, VAULT, ledger.ledger_id, [delivery(issued("1", 1, 1, 10), ledger=ledger.name)])
        )
        done, _ = await asyncio.wait([appending], timeout=0.5)
    [[result]] = await appending
    await holder.close()

    assert not done
    assert result.position == 1


@on_a_cluster
async def test_a_reader_sees_the_rows_of_its_ledger_only(connection: Connection, dsn: str) -> None:
    ledgers = await fill(connection)
    pool = await open_pool(dsn, size=1, generation=await connection.fetchval(ACTIVE), role="loyalty_reader")

    seen = []
    for ledger in ledgers[:2]:
        async with pool.acquire() as reader:
            await reader.confine(ledger.ledger_id)
            seen.append(await reader.fetch(EVENTS_SEEN))
    await pool.close()

    assert [[row[0] for row in rows] for rows in seen] == [[ledger.ledger_id] for ledger in ledgers[:2]]


@on_a_cluster
async def test_a_refused_row_has_the_error_of_one_server(connection: Connection) -> None:
    ledger = await create_ledger(connection, "acme")

    async def copy_twice() -> None:
        async with connection.transaction():
            for _ in range(2):
                await connection.copy_records_to_table(
                    "orgs", records=[(ledger.ledger_id, "capillary", "1")], columns=("ledger_id", "source", "org")
                )

    with pytest.raises(asyncpg.UniqueViolationError):
        await copy_twice()


@on_a_cluster
async def test_a_table_that_is_not_distributed_is_found_and_distributed(connection: Connection) -> None:
    await connection.execute("CREATE TABLE ledger.added (ledger_id int NOT NULL, n int, PRIMARY KEY (ledger_id, n))")
    with pytest.raises(SetupWrong, match=r"table ledger\.added; run `loyalty spread`"):
        await check_distribution(connection)

    distributed = await distribute_ledgers(connection)

    assert "table ledger.added" in distributed
    await check_distribution(connection)
