"""New terms of a programme with many holders: they are folded again in turns, each in a short transaction."""

from typing import Any

import pytest

from ledger.database import Connection
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine import advance, programme_terms, promotion, retry
from projections.engine.digest import compute_digest
from projections.engine.parked import TERMS_REASON, list_parked
from projections.engine.worker import catch_up
from projections.queries.account_history import histories, snapshot
from projections.rebuild import rebuild
from projections.rebuild.verify_rows import check_rows
from tests.properties.test_terms import terms_set
from tests.support.payloads import VAULT, delivery, issued

TERMS = {
    "effective_from": "2023-01-01",
    "time_zone": "UTC",
    "expiry": {"rule": "fixed", "days": 10},
    "existing_lots": True,
}
SUBJECTS = [f"capillary:9001:{customer}" for customer in (1, 2, 3, 4)]
DAYS = "SELECT subject, expires_on::text FROM lots ORDER BY subject, lot_id"


@pytest.fixture
async def waiting(connection: Connection, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four holders have points, and terms are set. Only the first holder is folded in the batch of the terms."""
    monkeypatch.setattr(programme_terms, "ACCOUNTS_PER_READ", 1)
    monkeypatch.setattr(advance, "HOLDERS_PER_BATCH_MAX", 1)
    monkeypatch.setattr(retry, "SUBJECTS_PER_TRY", 1)
    bodies = [issued(f"i{customer}", customer, customer, 100) for customer in (1, 2, 3, 4)]
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])
    await catch_up(connection, ledger.ledger_id)
    await append(connection, VAULT, ledger.ledger_id, [delivery(terms_set("t", TERMS))])
    assert await advance.advance(connection, ledger.ledger_id) == 1


@pytest.mark.usefixtures("waiting")
async def test_holders_wait_with_the_figures_from_before_the_terms(connection: Connection, ledger: Ledger) -> None:
    found = await list_parked(connection, ledger.ledger_id, 10)

    assert [(one.subject, one.reason, one.parked_position) for one in found] == [
        (subject, TERMS_REASON, 5) for subject in SUBJECTS[1:]
    ]
    assert [tuple(row) for row in await connection.fetch(DAYS)] == [
        (SUBJECTS[0], "2023-11-24"), (SUBJECTS[1], None), (SUBJECTS[2], None), (SUBJECTS[3], None),
    ]  # fmt: skip
    assert (await check_rows(connection, ledger)).wrong == []


@pytest.mark.usefixtures("waiting")
async def test_finance_reports_apply_the_terms_at_once(connection: Connection, ledger: Ledger) -> None:
    async with snapshot(connection):
        found = [history async for history in histories(connection, ledger.ledger_id, None)]

    lots = {lot.lot_id: lot for history in found for lot in history.lots.values()}.values()
    assert [lot.lapses_at is not None for lot in lots] == [True] * 4


@pytest.mark.usefixtures("waiting")
async def test_a_new_event_folds_its_holder_with_the_terms(connection: Connection, ledger: Ledger) -> None:
    await append(connection, VAULT, ledger.ledger_id, [delivery(issued("i5", 5, 3, 7))])
    await advance.advance(connection, ledger.ledger_id)

    days = [row["expires_on"] for row in await connection.fetch(DAYS) if row["subject"] == SUBJECTS[2]]
    assert days == ["2023-11-24", "2023-11-24"]
    assert [one.subject for one in await list_parked(connection, ledger.ledger_id, 10)] == [SUBJECTS[1], SUBJECTS[3]]


@pytest.mark.usefixtures("waiting")
async def test_holders_are_folded_in_turns_until_none_waits(connection: Connection, dsn: str, ledger: Ledger) -> None:
    assert await promotion.follow_changes(connection, ledger.ledger_id, tries_max=2)
    assert [one.subject for one in await list_parked(connection, ledger.ledger_id, 10)] == [SUBJECTS[3]]
    assert not await promotion.follow_changes(connection, ledger.ledger_id, tries_max=2)

    assert await list_parked(connection, ledger.ledger_id, 10) == []
    assert {row["expires_on"] for row in await connection.fetch(DAYS)} == {"2023-11-24"}
    live = await compute_digest(connection, ledger.ledger_id)
    report = await rebuild(dsn)
    assert (report.differing, live.untimed_left_out) == ({}, 0)


@pytest.mark.usefixtures("waiting")
async def test_each_turn_commits_and_a_crash_between_two_turns_loses_none(
    connection: Connection, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = "SELECT count(*) FROM subjects WHERE parked IS NOT NULL"
    seen = []

    async def refold(*arguments: Any) -> None:
        seen.append(await connection.fetchval(waiting))
        if len(seen) == 2:
            raise ConnectionResetError  # as if the process was killed
        await refold_subjects(*arguments)

    refold_subjects = retry.refold_subjects
    monkeypatch.setattr(retry, "refold_subjects", refold)
    with pytest.raises(ConnectionResetError):
        await promotion.follow_changes(connection, ledger.ledger_id)
    after_crash = await connection.fetchval(waiting)
    await promotion.follow_changes(connection, ledger.ledger_id)

    assert (seen, after_crash) == ([3, 2, 2, 1], 2)
    assert await list_parked(connection, ledger.ledger_id, 10) == []
    assert {row["expires_on"] for row in await connection.fetch(DAYS)} == {"2023-11-24"}
