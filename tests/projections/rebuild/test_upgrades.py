"""Old data, new software: what an upgrade adds is no difference, and a rebuild promotes it by itself."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from ledger.database import Connection, connect
from ledger.store.append import append
from ledger.store.registry import Ledger
from ledger.vendors import SOURCES, VENDORS
from projections import rebuild
from projections.engine import generations
from projections.engine.worker import catch_up
from projections.rebuild.estimate import plan_rebuild
from projections.rebuild.scope import EVERYTHING
from tests.support.payloads import VAULT, delivery, issued, merged, redeemed, sample


async def tell(connection: Connection, ledger: Ledger, *bodies: bytes) -> None:
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])


@contextmanager
def older(*kinds: str) -> Iterator[None]:
    """Run as a version that does not read some kinds of events of Capillary."""
    capillary = VENDORS["capillary"]
    reduced = dataclasses.replace(capillary, kinds={k: v for k, v in capillary.kinds.items() if k not in kinds})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ledger.intake.interpret.SOURCES", {**SOURCES, "capillary": reduced})
        yield


async def without(connection: Connection, projection: str, *tables: str) -> None:
    """Make the active generation one of a version that did not have a projection."""
    for table in tables:
        await connection.execute(f"DROP TABLE {table} CASCADE")  # with its report view
    active = await generations.active_generation(connection)
    documents = [
        msgspec.json.encode({name: value for name, value in (of or {}).items() if name != projection}).decode()
        for of in (active.versions, active.shapes)
    ]
    await connection.execute("UPDATE projections.generations SET versions = $1, shapes = $2", *documents)


async def old_data(connection: Connection, ledger: Ledger) -> None:
    """What an older version made that read no redemptions and no badges, and had no table of badges."""
    with older("pointsRedeemed", "badgeEarned"):
        await tell(connection, ledger, issued("a", 0, 1, 10), issued("b", 1, 2, 7), redeemed("c", 2, 1, 4))
        await tell(connection, ledger, sample("capillary", "badgeEarned"))
        await catch_up(connection, ledger.ledger_id)
    await without(connection, "badges", "badges", "badge_earnings")


async def test_a_new_projection_and_newly_read_kinds_are_promoted_by_themselves(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await old_data(connection, ledger)

    report = await rebuild.rebuild(dsn)

    assert report.comparison is not None
    assert (report.promoted, report.refused, report.comparison.unexpected) == (True, None, 0)
    assert report.comparison.new_tables == ["badges", "badge_earnings"]
    assert report.comparison.expected > 0
    fresh = await connect(dsn)
    try:
        assert await fresh.fetchval("SELECT count(*) FROM badges") == 1
        rows = await fresh.fetch("SELECT available::int FROM accounts ORDER BY account_id")
        assert [row[0] for row in rows] == [6, 7]
    finally:
        await fresh.close()


async def test_a_difference_that_no_newly_read_event_explains_is_unexpected_still(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await old_data(connection, ledger)
    await connection.execute("UPDATE accounts SET available = 8 WHERE account_id LIKE '%:2:%'")

    report = await rebuild.rebuild(dsn)

    assert not report.promoted
    assert report.comparison is not None
    assert report.comparison.unexpected == 1
    [differing] = [one for one in report.comparison.subjects if not one["differences"][0]["expected"]]
    assert differing["subject"] == "capillary:9001:2"


async def test_a_fact_that_was_lost_is_unexpected_even_if_its_subject_has_newly_read_events(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await old_data(connection, ledger)
    await connection.execute("UPDATE facts SET body = '{}' WHERE subject = 'capillary:9001:1'")

    report = await rebuild.rebuild(dsn)

    assert not report.promoted


async def test_a_merge_that_is_newly_read_changes_both_customers_as_expected(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    with older("loyaltyCustomerMerge"):
        await tell(connection, ledger, issued("a", 0, 1, 10), issued("b", 1, 2, 7), merged("c", 2, 1, 2))
        await catch_up(connection, ledger.ledger_id)

    report = await rebuild.rebuild(dsn)

    assert report.comparison is not None
    assert (report.promoted, report.comparison.unexpected) == (True, 0)


async def test_a_plan_says_what_an_upgrade_adds(connection: Connection, ledger: Ledger) -> None:
    await old_data(connection, ledger)

    planned = await plan_rebuild(connection, ledger, EVERYTHING, "ledger", 1)

    assert planned.new_tables == ["badges", "badge_earnings"]
    assert {one["kind"] for one in planned.kinds if one["read_now"]} == {"pointsRedeemed", "badgeEarned"}
    assert planned.places["facts.(row)"] >= 2


async def test_a_plan_finds_nothing_where_nothing_is_new(connection: Connection, ledger: Ledger) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10000), redeemed("c", 2, 1, 4))
    await catch_up(connection, ledger.ledger_id)

    planned = await plan_rebuild(connection, ledger, EVERYTHING, "ledger", 1)

    assert (planned.places, planned.new_tables) == ({}, [])
