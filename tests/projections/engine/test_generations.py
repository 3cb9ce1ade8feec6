"""Generations: another one is filled, follows, is promoted, gone back from and dropped; readers see one as a whole."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ledger.database import Connection, connect
from ledger.errors import GenerationUnknown, NotPromoted, RebuildDue
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections import rebuild, registry
from projections.accounts import ACCOUNTS
from projections.definition import Projection
from projections.engine import generations, promotion, retry
from projections.engine.digest import compute_digest
from projections.engine.parked import REBUILD_REASON, list_parked
from projections.engine.worker import catch_up
from projections.rebuild.scope import RebuildScope
from tests.support.payloads import VAULT, delivery, issued, merged, redeemed, sample

BALANCES = "SELECT available::int FROM accounts ORDER BY account_id"


async def tell(connection: Connection, ledger: Ledger, *bodies: bytes) -> None:
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])


@asynccontextmanager
async def reading(dsn: str) -> AsyncIterator[Connection]:
    fresh = await connect(dsn)
    try:
        yield fresh
    finally:
        await fresh.close()


async def balances(connection: Connection) -> list[int]:
    return [row["available"] for row in await connection.fetch(BALANCES)]


async def states(connection: Connection) -> dict[int, str]:
    return {one.generation: one.state for one in await generations.list_generations(connection)}


async def test_a_rebuilt_generation_waits_follows_and_is_promoted(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10))
    await catch_up(connection, ledger.ledger_id)
    report = await rebuild.rebuild(dsn, to_promote=False)
    assert await states(connection) == {1: "active", 2: "ready"}
    await tell(connection, ledger, issued("b", 1, 1, 5))
    await catch_up(connection, ledger.ledger_id)

    promoted = await promotion.promote(dsn, report.generation)

    assert (promoted.state, await states(connection)) == ("active", {1: "retired", 2: "active"})
    async with reading(dsn) as fresh:
        assert await balances(fresh) == [15]


async def test_who_reads_the_retired_generation_goes_on_reading_it_whole(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10))
    await catch_up(connection, ledger.ledger_id)

    await rebuild.rebuild(dsn)

    assert await connection.fetchval("SELECT current_schema()") == "generation_1"
    assert await balances(connection) == [10]


async def test_a_rollback_shows_what_came_after_the_promotion_too(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10))
    await catch_up(connection, ledger.ledger_id)
    await rebuild.rebuild(dsn)
    async with reading(dsn) as second:
        await tell(second, ledger, issued("b", 1, 1, 5))
        await catch_up(second, ledger.ledger_id)

    back = await promotion.roll_back(dsn)

    assert back.generation == 1
    assert await balances(connection) == [15]
    assert await states(connection) == {1: "active", 2: "retired"}


async def test_only_one_retired_generation_is_kept_and_one_that_is_read_stays_until_it_is_left(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await rebuild.rebuild(dsn)
    await rebuild.rebuild(dsn)
    assert await states(connection) == {1: "dropping", 2: "retired", 3: "active"}

    await connection.close()
    async with reading(dsn) as fresh:
        assert await promotion.drop_unused(fresh) == []
        assert await states(fresh) == {2: "retired", 3: "active"}
        assert await fresh.fetchval("SELECT to_regnamespace('generation_1') IS NULL")


async def test_the_active_generation_cannot_be_dropped_and_another_can(connection: Connection, dsn: str) -> None:
    report = await rebuild.rebuild(dsn, to_promote=False)

    with pytest.raises(NotPromoted, match="is active"):
        await promotion.drop_generation(connection, 1)
    assert await promotion.drop_generation(connection, report.generation)
    with pytest.raises(GenerationUnknown):
        await promotion.drop_generation(connection, report.generation)

    assert await states(connection) == {1: "active"}


async def test_nothing_is_promoted_twice_or_gone_back_to_where_nothing_is_retired(
    connection: Connection, dsn: str
) -> None:
    with pytest.raises(NotPromoted, match="is active, not ready"):
        await promotion.promote(dsn, 1)
    with pytest.raises(NotPromoted, match="none is retired"):
        await promotion.roll_back(dsn)
    with pytest.raises(GenerationUnknown):
        await promotion.promote(dsn, 9)


async def test_a_row_that_was_edited_keeps_the_rebuilt_generation_from_being_promoted_until_it_is_forced(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10))
    await catch_up(connection, ledger.ledger_id)
    await connection.execute("UPDATE accounts SET available = 99")

    report = await rebuild.rebuild(dsn)

    assert (report.promoted, report.differing) == (False, {"acme": ["accounts"]})
    assert report.refused is not None
    assert "differs from the active one at 1 unexpected" in report.refused
    await promotion.promote(dsn, report.generation, force=True)
    async with reading(dsn) as fresh:
        assert await balances(fresh) == [10]


async def test_a_declared_difference_does_not_keep_it_from_being_promoted(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10))
    await catch_up(connection, ledger.ledger_id)
    await connection.execute("UPDATE accounts SET available = 99")

    report = await rebuild.rebuild(dsn, expect=["accounts.available"])

    assert (report.promoted, report.comparison and report.comparison.expected) == (True, 1)


async def test_a_rebuild_of_one_projection_leaves_the_rows_of_the_others_as_they_are(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10), sample("capillary", "badgeEarned"))
    await catch_up(connection, ledger.ledger_id)
    await connection.execute("UPDATE accounts SET available = 99")
    await connection.execute("DELETE FROM badges")

    report = await rebuild.rebuild(dsn, scope=RebuildScope(projections=("badges",)), force=True)

    assert report.differing == {"acme": ["badges"]}
    async with reading(dsn) as fresh:
        assert await balances(fresh) == [99]
        assert await fresh.fetchval("SELECT count(*) FROM badges") == 1


async def test_a_rebuild_from_facts_gives_the_same_rows(connection: Connection, dsn: str, ledger: Ledger) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10), redeemed("r", 1, 1, 3), merged("m", 2, 1, 2))
    await catch_up(connection, ledger.ledger_id)
    before = await compute_digest(connection, ledger.ledger_id)

    report = await rebuild.rebuild(dsn, source="facts")

    assert report.promoted
    async with reading(dsn) as fresh:
        assert await compute_digest(fresh, ledger.ledger_id) == before


class Raised:
    """The accounts at a version that nobody has built yet."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        newer: Projection = dataclasses.replace(ACCOUNTS, version=ACCOUNTS.version + 1)
        every = tuple(newer if one is ACCOUNTS else one for one in registry.PROJECTIONS)
        patch.setattr(generations, "PROJECTIONS", every)


async def test_rows_of_another_version_stay_as_they_are_and_their_subjects_wait_while_all_others_go_on(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10, bill="B1"))
    await catch_up(connection, ledger.ledger_id)

    with pytest.MonkeyPatch.context() as patch:
        Raised(patch)
        assert await generations.rebuild_due(connection) == ["accounts"]
        await tell(connection, ledger, issued("b", 1, 1, 5), issued("c", 2, 2, 7), sample("capillary", "badgeEarned"))
        assert await catch_up(connection, ledger.ledger_id) == 4

        assert await balances(connection) == [10]
        assert await connection.fetchval("SELECT count(*) FROM badges") == 1
        waiting = await list_parked(connection, ledger.ledger_id, 10)
        assert [(one.subject, one.parked_position, one.fact) for one in waiting] == [
            ("capillary:9001:1", 2, "Issued"), ("capillary:9001:2", 3, "Issued"),
        ]  # fmt: skip
        assert {one.reason for one in waiting} == {REBUILD_REASON}
        report = await rebuild.rebuild(dsn)
        assert (report.promoted, report.comparison and report.comparison.unexpected) == (True, 0)
        async with reading(dsn) as fresh:
            assert await balances(fresh) == [15, 7]

    assert (await retry.retry_parked(connection, ledger.ledger_id)).tried == 2
    assert await balances(connection) == [15, 7]


async def test_tables_of_facts_that_another_version_made_are_not_written_at_all(
    connection: Connection, ledger: Ledger
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10))
    await connection.execute("UPDATE projections.generations SET shapes = NULL")

    with pytest.raises(RebuildDue):
        await catch_up(connection, ledger.ledger_id)

    assert set(await generations.rebuild_due(connection)) == set(generations.projection_versions())


async def test_what_another_version_left_behind_is_replaced_uncompared_by_a_rebuild_of_everything(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10))
    await catch_up(connection, ledger.ledger_id)
    await connection.execute("UPDATE projections.generations SET shapes = NULL")
    await tell(connection, ledger, issued("b", 5, 1, 10))

    with pytest.raises(RebuildDue):
        await rebuild.rebuild(dsn, source="facts")
    report = await rebuild.rebuild(dsn)

    assert report.promoted
    assert report.comparison is not None
    assert report.comparison.frozen
    assert await generations.rebuild_due(connection) == []
    async with reading(dsn) as fresh:
        assert await balances(fresh) == [20]


async def test_a_rebuild_that_was_killed_is_gone_on_with_and_one_of_another_version_is_removed(
    connection: Connection, dsn: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10))
    await catch_up(connection, ledger.ledger_id)

    def die(stage: str, _done: int, _of: int) -> None:
        if stage == "rows":
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            await rebuild.rebuild(dsn, progress=die)
    assert await states(connection) == {1: "active", 2: "filling"}
    await connection.execute("UPDATE projections.generations SET versions = '{}' WHERE generation = 2")

    report: Any = await rebuild.rebuild(dsn)

    assert (report.generation, report.promoted, report.differing) == (3, True, {})
    assert await states(connection) == {1: "retired", 3: "active"}


async def test_a_generation_that_a_killed_rebuild_left_uncompared_is_taken_up_by_the_next_one(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    await tell(connection, ledger, issued("a", 0, 1, 10))
    await catch_up(connection, ledger.ledger_id)
    left, _ = await rebuild.build_generation(dsn)

    report = await rebuild.rebuild(dsn)

    assert (report.generation, report.promoted) == (left.generation, True)
    assert await states(connection) == {1: "retired", 2: "active"}


async def test_what_was_made_ready_before_the_promoted_one_is_dropped(connection: Connection, dsn: str) -> None:
    await rebuild.rebuild(dsn, to_promote=False)
    await rebuild.rebuild(dsn, to_promote=False)

    await promotion.promote(dsn, 3)

    assert await states(connection) == {1: "retired", 3: "active"}
