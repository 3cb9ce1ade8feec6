"""Lasting work and lasting connections: they are repeated and replaced, and an outage is logged once."""

import asyncio
import logging
from types import SimpleNamespace

import pytest

from ledger import background
from ledger.background import KeptConnection, RetryPauses, repeat
from ledger.database import CONNECTION_LOST, Connection, Session, connect
from ledger.errors import LedgerUnavailable

log = logging.getLogger(__name__)


async def test_work_is_repeated_until_it_is_done_and_its_outage_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    outcomes = iter([ValueError("secret"), ValueError("secret"), LedgerUnavailable("disk full"), None, True])

    async def work() -> bool | None:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    await repeat("counting", work, log=log, retry_seconds=0)

    assert [record.message for record in caplog.records] == [
        "counting waits: ValueError in ledger/background.py:repeat",
        "counting waits: The ledger cannot store events now; deliver again later. (disk full)",
        "counting works again",
    ]


async def test_other_errors_than_the_expected_end_the_work() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await repeat("counting", work, log=log, retry_seconds=0, errors=OSError)


async def test_work_ends_when_another_error_has_replaced_its_cancellation() -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionError

    task = asyncio.create_task(repeat("waiting", work, log=log, retry_seconds=0))
    await started.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_kept_connection_is_replaced_when_its_server_becomes_read_only(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.database.CHECK_SECONDS", 0.0)
    kept = KeptConnection(lambda: connect(dsn))
    first = await kept.get()
    assert await kept.get() is first

    await first.execute("SET default_transaction_read_only = on")
    second = await kept.get()

    assert first.is_closed()
    assert second is not first
    await kept.close()


async def test_a_kept_connection_is_replaced_when_another_generation_is_promoted(
    dsn: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.database.CHECK_SECONDS", 0.0)
    follows = KeptConnection(lambda: connect(dsn))
    stays = KeptConnection(lambda: connect(dsn, search_path="pg_catalog"))
    first, other = await follows.get(), await stays.get()

    await connection.execute("UPDATE projections.generations SET schema_name = 'generation_2'")

    assert await follows.get() is not first
    assert await stays.get() is other
    await follows.close()
    await stays.close()


async def test_a_kept_connection_is_replaced_after_its_server_has_ended_it(dsn: str, connection: Connection) -> None:
    kept = KeptConnection(lambda: connect(dsn))
    first: Session = await kept.get()
    await connection.execute("SELECT pg_terminate_backend($1)", first.get_server_pid())
    with pytest.raises(CONNECTION_LOST):
        await first.fetchval("SELECT 1")

    second = await kept.get()

    assert await second.fetchval("SELECT 1") == 1
    await kept.close()


def test_pauses_of_failing_work_double_up_to_a_limit_and_begin_again_after_a_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(background, "time", SimpleNamespace(monotonic=lambda: now[0]))
    pauses = RetryPauses(1.0, 5.0)

    lengths = [pauses.start("one") for _ in range(4)]
    during = pauses.is_over("one"), pauses.is_over("other")
    now[0] += 5.0
    after = pauses.is_over("one")
    pauses.end("one")

    assert lengths == [1.0, 2.0, 4.0, 5.0]
    assert during == (False, True)
    assert after
    assert pauses.start("one") == 1.0


def test_regular_work_is_due_once_in_each_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(background, "time", SimpleNamespace(monotonic=lambda: now[0]))
    pauses = RetryPauses(5.0, 5.0)

    due = []
    for seconds in (0.0, 1.0, 4.0, 1.0):
        now[0] += seconds
        due.append(pauses.is_due("housekeeping"))

    assert due == [True, False, True, False]
