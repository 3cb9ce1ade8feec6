"""Live projection: exactly once, nothing stops the others, what is stuck is told."""

import asyncio
import logging
from typing import Any, cast

import pytest

from ledger.background import LogThrottle
from ledger.database import Connection, connect
from ledger.facts.accounts import Redeemed
from ledger.store.append import append
from ledger.store.read import events_after
from ledger.store.registry import Ledger
from projections.accounts import ACCOUNTS
from projections.engine import advance, store, worker
from projections.engine.digest import compute_digest
from projections.engine.progress import ProjectionProgress
from projections.engine.worker import Projector, catch_up
from projections.rebuild import rebuild
from tests.support.payloads import VAULT, delivery, issued, redeemed

OF_ANOTHER_VERSION = """
    UPDATE projections.generations SET shapes = jsonb_set(shapes, '{facts and states}', '"another"')
"""
PARKED = "SELECT subject, parked, parked_position FROM subjects WHERE parked IS NOT NULL"
BALANCES = "SELECT account_id, available FROM accounts ORDER BY account_id"


async def tell(connection: Connection, ledger: Ledger, *bodies: bytes) -> None:
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])


async def test_two_projectors_at_once_count_every_event_once(connection: Connection, dsn: str, ledger: Ledger) -> None:
    await tell(connection, ledger, *(issued(str(number), number, number % 7, 10) for number in range(300)))

    async def project() -> None:
        own = await connect(dsn)
        while await store.read_checkpoint(own, ledger.ledger_id) < 300:
            await advance.advance(own, ledger.ledger_id, limit=20)
        await own.close()

    await asyncio.gather(project(), project(), project())

    assert await connection.fetchval("SELECT sum(available) FROM accounts") == 3000
    assert await connection.fetchval("SELECT count(*) FROM facts") == 300


async def test_a_projector_that_slept_inside_a_batch_writes_nothing_when_it_wakes(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10), issued("b", 1, 1, 10))
    sleeper = await connect(dsn)
    batch = await advance._interpret_batch(await events_after(sleeper, ledger.ledger_id, 0, 10))

    await catch_up(connection, ledger.ledger_id)

    assert await advance.apply_batch(sleeper, ledger.ledger_id, batch) is False
    assert await connection.fetchval("SELECT sum(available) FROM accounts") == 20
    await sleeper.close()


async def test_a_fact_that_cannot_be_folded_parks_its_subject_and_no_other(
    connection: Connection, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, dsn: str
) -> None:
    def stumble(wallet: Any, fact: Any, occurrence: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(cast(dict[Any, Any], ACCOUNTS.on), Redeemed, stumble)
    await tell(connection, ledger, issued("a", 0, 1, 10), redeemed("r", 1, 1, 3), issued("b", 2, 1, 5))
    await tell(connection, ledger, issued("c", 0, 2, 7))

    await catch_up(connection, ledger.ledger_id)

    [parked] = await connection.fetch(PARKED)
    assert (parked["subject"], parked["parked_position"]) == ("capillary:9001:1", 2)
    balances = [int(row["available"]) for row in await connection.fetch(BALANCES)]
    assert balances == [10, 7]
    before = await compute_digest(connection, ledger.ledger_id)
    assert (await rebuild(dsn)).differing == {}
    fresh = await connect(dsn)
    assert await compute_digest(fresh, ledger.ledger_id) == before

    monkeypatch.undo()
    await tell(connection, ledger, issued("d", 3, 1, 1))
    await catch_up(fresh, ledger.ledger_id)
    assert await fresh.fetch(PARKED) == []
    assert [int(row["available"]) for row in await fresh.fetch(BALANCES)] == [13, 7]
    await fresh.close()


async def test_an_event_that_the_database_cannot_hold_does_not_stop_the_others(
    connection: Connection, ledger: Ledger
) -> None:
    await connection.execute("ALTER TABLE facts ADD CHECK (subject <> 'capillary:9001:5')")
    await tell(connection, ledger, *(issued(str(number), number, number, 10) for number in range(9)))

    await catch_up(connection, ledger.ledger_id)

    assert await connection.fetchval("SELECT count(*) FROM accounts") == 8
    [unread] = await connection.fetch("SELECT position, unread, reason FROM unread")
    assert (unread["position"], unread["unread"]) == (6, "unrecognised")
    assert "CheckViolationError" in unread["reason"]


async def test_a_late_event_folds_its_own_subject_again_and_no_other(connection: Connection, ledger: Ledger) -> None:
    await tell(connection, ledger, issued("a", 5, 1, 10), issued("b", 5, 2, 10))
    await catch_up(connection, ledger.ledger_id)
    rows = "SELECT subject, xmin::text FROM accounts ORDER BY subject"
    before = dict(await connection.fetch(rows))

    await tell(connection, ledger, issued("late", 1, 1, 3))
    await catch_up(connection, ledger.ledger_id)

    after = dict(await connection.fetch(rows))
    assert after["capillary:9001:2"] == before["capillary:9001:2"]
    assert after["capillary:9001:1"] != before["capillary:9001:1"]


async def test_rows_of_a_batch_that_was_cut_off_are_not_there(connection: Connection, dsn: str, ledger: Ledger) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10))
    other = await connect(dsn)
    transaction = other.transaction()
    await transaction.start()
    await advance.advance(other, ledger.ledger_id)
    other.terminate()

    await catch_up(connection, ledger.ledger_id)

    assert await connection.fetchval("SELECT sum(available) FROM accounts") == 10


def test_a_fault_that_lasts_is_logged_once_until_it_is_another(caplog: pytest.LogCaptureFixture) -> None:
    faults = LogThrottle(logging.getLogger("test"))

    for error in ("OSError", "OSError", "RebuildDue", "RebuildDue", "OSError"):
        faults.error("projecting", "projections wait: %s", error)

    waits = [record.message.removeprefix("projections wait: ") for record in caplog.records]
    assert waits == ["OSError", "RebuildDue", "OSError"]


async def test_a_generation_that_waits_for_a_rebuild_is_named_once_however_often_it_is_looked_at(
    connection: Connection, dsn: str, ledger: Ledger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "REBUILD_DUE_SECONDS", 0.0)
    monkeypatch.setattr(worker, "HOUSEKEEPING_SECONDS", 0.0)
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.0)
    await connection.execute(OF_ANOTHER_VERSION)
    await tell(connection, ledger, issued("a", 0, 1, 10))
    projecting, own = Projector(dsn, ProjectionProgress()), await connect(dsn)

    for _ in range(5):
        await projecting._advance_all(own)

    [said] = [record.message for record in caplog.records if record.name == "projections.engine.worker"]
    assert said == "generation 1 stays as it is: another version made it; rebuild"
    await projecting._generations.close(1)
    await own.close()
