"""Planted differences: whatever was changed behind the ledger's back, or in a rule, is found, named and explained."""

from typing import Any, cast

import pytest

from ledger.database import Connection
from ledger.facts.accounts import Redeemed
from ledger.store.append import append
from ledger.store.registry import Ledger
from ledger.vendors import SOURCES
from projections import rebuild
from projections.accounts import ACCOUNTS
from projections.engine import generations
from projections.engine.worker import catch_up
from projections.rebuild import comparison, partition
from projections.rebuild.estimate import plan_rebuild
from projections.rebuild.recheck_events import recheck_events
from projections.rebuild.scope import EVERYTHING
from projections.rebuild.verify_rows import check_rows
from tests.support.payloads import VAULT, delivery, issued, merged, redeemed

HISTORY = [
    *(issued(f"i{number}", number, number, 10 + number, bill=f"B{number}") for number in range(1, 30)),
    redeemed("r", 40, 3, 5),
    merged("m", 50, 4, 5),
]
PLANTED = {  # {} stands for OF_SEVEN
    "a row edited": "UPDATE accounts SET available = available + 1 {}",
    "a digit more": "UPDATE accounts SET available = (available || '.0')::numeric {}",
    "a row deleted": "DELETE FROM lots {}",
    "a row added": "INSERT INTO lots SELECT (jsonb_populate_record(l, jsonb_build_object('subject', 'nobody', "
    "'account_id', 'no'))).* FROM lots l {}",
    "a fact deleted": "DELETE FROM facts {}",
    "a fact edited": "UPDATE facts SET body = convert_to(replace(convert_from(body, 'UTF8'), '17', '18'), 'UTF8') {}",
    "a fact added": "INSERT INTO facts SELECT (jsonb_populate_record(f, jsonb_build_object('ordinal', 9))).* "
    "FROM facts f {} AND kind = 'Issued'",
}
OF_SEVEN = "WHERE subject = 'capillary:9001:7'"


@pytest.fixture
async def told(connection: Connection, ledger: Ledger) -> Ledger:
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in HISTORY])
    await catch_up(connection, ledger.ledger_id)
    return ledger


async def test_without_a_difference_nothing_is_found(connection: Connection, dsn: str, told: Ledger) -> None:
    report = await rebuild.rebuild(dsn, to_promote=False)
    everything = await check_rows(connection, told)
    sample = await check_rows(connection, told, sample=5)

    assert (report.differing, everything.wrong, sample.wrong) == ({}, [], [])
    assert everything.events == len(HISTORY)
    assert 0 < sample.subjects < everything.subjects


@pytest.mark.parametrize("planted", PLANTED)
async def test_what_is_planted_is_found_by_a_rebuild_and_by_verification(
    connection: Connection, dsn: str, told: Ledger, planted: str
) -> None:
    assert (await connection.execute(PLANTED[planted].format(OF_SEVEN))).split()[-1] != "0"

    checked = await check_rows(connection, told)
    report = await rebuild.rebuild(dsn)

    assert checked.wrong
    assert not report.promoted
    assert report.comparison is not None
    assert report.comparison.unexpected > 0
    assert {one["subject"] for one in report.comparison.subjects} <= {"nobody", "capillary:9001:7"}
    assert {one.subject for one in checked.wrong} <= {"nobody", "capillary:9001:7"}


async def test_a_rebuilt_generation_is_compared_range_by_range_like_a_live_one(
    connection: Connection, dsn: str, told: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition, "FACTS_PER_ITEM", 8)
    monkeypatch.setattr(comparison, "SUBJECTS_LISTED_MAX", 1)
    assert (await rebuild.rebuild(dsn)).promoted
    schema = await generations.active_schema(connection)
    async with connection.transaction(), generations.in_schema(connection, schema):
        assert len(await partition.subject_bounds(connection, told.ledger_id)) > 3
        for number in (1, 7, 29):
            await connection.execute("UPDATE accounts SET available = 0 WHERE subject = $1", f"capillary:9001:{number}")

    found = (await rebuild.rebuild(dsn)).comparison

    assert found is not None
    assert (found.unexpected, dict(found.places), len(found.subjects)) == (3, {"accounts.available": 3}, 1)


async def test_a_difference_is_told_with_old_and_new_and_the_facts_behind_it(
    connection: Connection, dsn: str, told: Ledger
) -> None:
    await connection.execute(PLANTED["a row edited"].format(OF_SEVEN))

    comparison = (await rebuild.rebuild(dsn)).comparison

    assert comparison is not None
    [one] = comparison.subjects
    [place] = one["differences"]
    assert (one["projection"], one["subject"]) == ("accounts", "capillary:9001:7")
    assert (place["column"], str(place["old"]), str(place["new"]), place["expected"]) == (
        "available",
        "18",
        "17",
        False,
    )
    assert [fact["position"] for fact in one["last_facts"]] == [7]
    assert comparison.places == {"accounts.available": 1}


async def test_a_changed_rule_is_found_before_during_and_after_a_rebuild(
    connection: Connection, dsn: str, told: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = cast(dict[Any, Any], ACCOUNTS.on)

    def forget(wallet: Any, fact: Any, occurrence: Any) -> None:
        """Take no notice of redemptions."""

    monkeypatch.setitem(rules, Redeemed, forget)

    planned = await plan_rebuild(connection, told, EVERYTHING, "ledger", 1)
    checked = await check_rows(connection, told)
    report = await rebuild.rebuild(dsn, to_promote=False)

    assert planned.places["accounts.available"] == 1
    assert {one.subject for one in checked.wrong} == {"capillary:9001:3"}
    assert report.comparison is not None
    assert {one["subject"] for one in report.comparison.subjects} == {"capillary:9001:3"}


async def test_events_that_can_no_longer_be_read_are_counted_by_kind_and_reason(
    connection: Connection, told: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = await recheck_events(connection, told, lambda _done, _of: None)
    monkeypatch.delitem(cast(dict[str, Any], SOURCES["capillary"].kinds), "pointsRedeemed")

    broken = await recheck_events(connection, told, lambda _done, _of: None)

    assert (sound.events, sound.lost, sound.unread) == (len(HISTORY), 0, [])
    [one] = broken.unread
    assert (one.source, one.kind, one.unread, one.events, one.gave_facts, one.positions) == (
        "capillary", "pointsRedeemed", "unrecognised", 1, 1, [30],
    )  # fmt: skip
    assert broken.lost == 1
