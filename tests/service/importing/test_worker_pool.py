"""Import by several processes comes to what import by one does: the same events at the same positions."""

import asyncio
from collections.abc import Sequence

import pytest

from ledger.database import Connection
from ledger.errors import LedgerError, LedgerUnavailable, WorkerEnded
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store import read, registry
from ledger.store.append import append
from ledger.store.registry import InboundConnection, Ledger, create_ledger
from service.importing import block_appender
from service.importing.block_appender import BlockAppender
from service.importing.deliveries import LINES_PER_BLOCK_MAX, ImportSummary, import_lines
from service.importing.split import DeliveryLine
from service.importing.worker_pool import ImportTask, import_by_workers
from tests.support.payloads import delivery, issued
from tests.support.proxy import proxied

MASTER_KEY = MasterKey(bytes(range(32)))
LINES = 2 * LINES_PER_BLOCK_MAX + 17
END_SESSIONS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def lines(count: int = LINES) -> list[DeliveryLine]:
    """Points issued to a hundred customers, every tenth line told twice, one that is no JSON, one that is too long."""
    told = [n - n % 10 // 9 for n in range(count)]
    bodies: list[bytes | None] = [issued(str(n), n, n % 100, 10) for n in told]
    bodies[5:7] = [b"{,}", None]
    return [DeliveryLine(number, body) for number, body in enumerate(bodies, 1)]


async def told(connection: Connection, ledger: Ledger) -> list[tuple[int, str, bytes]]:
    events = await read.events_after(connection, ledger.ledger_id, 0, LINES)
    return [(event.position, event.kind, event.payload) for event in events]


async def import_by(
    dsn: str, inbound: InboundConnection, workers: int, given: Sequence[DeliveryLine], repair: bool = False
) -> ImportSummary:
    task = ImportTask(dsn, MASTER_KEY, inbound, repair, quarantine=True)
    return await asyncio.to_thread(import_by_workers, task, iter(given), lambda _: None, workers)


async def import_alone(dsn: str, inbound: InboundConnection) -> ImportSummary:
    async with BlockAppender(dsn, Vault(MASTER_KEY), inbound.ledger.ledger_id) as appender:
        return await import_lines(appender, inbound, iter(lines()), lambda _: None, quarantine=True)


async def test_positions_follow_the_file_however_many_read_it(connection: Connection, dsn: str, ledger: Ledger) -> None:
    other = await create_ledger(connection, "other")
    here = await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")
    there = await registry.create_connection(connection, MASTER_KEY, other, source="capillary")

    one = await import_alone(dsn, here)
    several = await import_by(dsn, there, 3, lines())

    assert several == one
    assert (one.lines, one.too_long, one.unreadable) == (LINES - 1, [7], 1)
    assert await told(connection, other) == await told(connection, ledger)


async def test_webhooks_come_in_between_and_keep_the_ledger_dense(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    inbound = await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")
    importing = asyncio.create_task(import_by(dsn, inbound, 2, lines()))
    vault, delivered = Vault(MASTER_KEY), 0
    while not importing.done():
        await append(connection, vault, ledger.ledger_id, [delivery(issued(f"live-{delivered}", 0, 7, 5))])
        delivered += 1
        await asyncio.sleep(0.001)

    summary = await importing

    assert delivered > 0
    assert await read.tail(connection, ledger.ledger_id) == summary.appended + delivered
    positions = [position for position, _, _ in await told(connection, ledger)]
    assert positions == list(range(1, len(positions) + 1))


async def test_an_import_that_broke_off_is_run_again(connection: Connection, dsn: str, ledger: Ledger) -> None:
    inbound = await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")
    first = await import_by(dsn, inbound, 2, lines()[: LINES_PER_BLOCK_MAX + 50])

    again = await import_by(dsn, inbound, 2, lines())

    assert first.appended > LINES_PER_BLOCK_MAX * 0.9
    assert first.appended + again.appended == len({line.body for line in lines()} - {None})
    assert await read.tail(connection, ledger.ledger_id) == first.appended + again.appended


async def test_broken_lines_are_mended_by_workers_too(connection: Connection, dsn: str, ledger: Ledger) -> None:
    inbound = await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")

    summary = await import_by(
        dsn, inbound, 2, [DeliveryLine(1, b'{"a": 1,}'), DeliveryLine(2, b'{"b": 2}')], repair=True
    )

    assert (summary.lines, summary.unreadable, summary.repaired_lines) == (2, 0, 1)


async def test_what_a_worker_cannot_do_is_told_where_it_was_started(dsn: str) -> None:
    nowhere = InboundConnection(Ledger(404, "none"), "c", "capillary", None, "header", "x", (b"s",), None)

    with pytest.raises(LedgerError):
        await import_by(dsn, nowhere, 2, lines(2))
    with pytest.raises(WorkerEnded, match="ConnectionRefusedError"):
        await import_by("postgresql://nobody@127.0.0.1:1/none", nowhere, 2, lines(2))


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_import_goes_on_after_its_connections_were_lost(
    connection: Connection, dsn: str, ledger: Ledger, workers: int
) -> None:
    inbound = await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")
    work = import_alone(dsn, inbound) if workers == 1 else import_by(dsn, inbound, workers, lines())
    importing = asyncio.create_task(work)
    while not await read.tail(connection, ledger.ledger_id):  # noqa: ASYNC110  # nothing announces it
        await asyncio.sleep(0.001)
    ended = await connection.fetchval(END_SESSIONS)

    summary = await importing

    assert ended >= workers
    assert summary.lines == LINES - 1
    assert await read.tail(connection, ledger.ledger_id) == len({line.body for line in lines()} - {None})


async def test_an_import_ends_when_the_database_stays_away(
    dsn: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_appender, "AWAY_SECONDS_MAX", 0.2)
    async with proxied(dsn) as (through, proxy):
        appender = BlockAppender(through, Vault(MASTER_KEY), ledger.ledger_id)
        async with appender:
            await appender.prepare([delivery(issued("e-1", 0, 7, 5))])
    proxy.cut()

    with pytest.raises(LedgerUnavailable, match="the database was away"):
        await appender.prepare([delivery(issued("e-2", 0, 7, 5))])
