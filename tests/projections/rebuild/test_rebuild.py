"""Filling a generation: by several workers, from the ledger or the facts, through deaths and refusals, it ends in the
rows that live projection ends in."""

import asyncio
import multiprocessing
import os
import signal
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from benchmarks.history import history
from benchmarks.simulation import Mix
from ledger.database import Connection, connect
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections import rebuild
from projections.engine import generations
from projections.engine.binary_codecs import (
    decode_numeric,
    decode_time,
    encode_numeric,
    encode_time,
    register_binary_codecs,
)
from projections.engine.digest import Digest, compute_digest
from projections.engine.worker import catch_up
from projections.rebuild import partition, pipeline, work_items
from projections.rebuild.pipeline import Source, fill_generation
from service.operations.conflict_policy import set_conflict_policy
from tests.support.payloads import VAULT, delivery, issued, redeemed

DELIVERIES = 400


@pytest.fixture
def in_small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition, "EVENTS_PER_ITEM", 50)
    monkeypatch.setattr(partition, "FACTS_PER_ITEM", 40)
    monkeypatch.setattr(pipeline, "SINGLE_PROCESS_EVENTS_MAX", 0)


async def told(connection: Connection, ledger: Ledger) -> Digest:
    """Append a history with late, doubled and contradictory deliveries, project it, and digest the rows."""
    mix = Mix(seed=7, customers=60, late=0.1, late_by=100, duplicates=0.05, conflicts=0.05)
    sent = [delivery(body, source, ledger.name) for source, body in history(DELIVERIES, mix)]
    await append(connection, VAULT, ledger.ledger_id, sent)
    await catch_up(connection, ledger.ledger_id)
    return await compute_digest(connection, ledger.ledger_id, untimed=True)


async def new_generation(connection: Connection) -> str:
    async with connection.transaction():
        return (await generations.create_generation(connection)).schema_name


async def digest_of(dsn: str, schema: str, ledger: Ledger) -> Digest:
    fresh = await connect(dsn, search_path=schema)
    try:
        return await compute_digest(fresh, ledger.ledger_id, untimed=True)
    finally:
        await fresh.close()


@pytest.mark.parametrize("source", ["ledger", "facts"])
async def test_several_workers_fill_a_generation_with_the_live_rows(
    connection: Connection, dsn: str, ledger: Ledger, source: Source, in_small_parts: None
) -> None:
    live = await told(connection, ledger)
    schema = await new_generation(connection)

    filled = await fill_generation(dsn, schema, source=source, workers=2)

    assert await digest_of(dsn, schema, ledger) == live
    assert filled.events == await connection.fetchval("SELECT max(position) FROM ledger.events")
    assert filled.facts == await connection.fetchval("SELECT count(*) FROM facts")


async def test_a_worker_that_is_killed_is_replaced_and_nothing_is_done_twice(
    connection: Connection, dsn: str, ledger: Ledger, in_small_parts: None
) -> None:
    live = await told(connection, ledger)
    schema = await new_generation(connection)
    killed = set[str]()

    def kill_one(stage: str, done: int, of: int) -> None:
        if 0 < done < of and stage not in killed:
            killed.add(stage)
            pid = multiprocessing.active_children()[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)

    await fill_generation(dsn, schema, workers=2, progress=kill_one)

    assert killed >= {"facts of events", "rows"}
    assert await digest_of(dsn, schema, ledger) == live


async def test_a_rebuild_that_broke_off_goes_on_where_it_was(
    connection: Connection, dsn: str, ledger: Ledger, in_small_parts: None
) -> None:
    live = await told(connection, ledger)
    schema = await new_generation(connection)

    def break_off(stage: str, done: int, of: int) -> None:
        if stage == "rows" and done > of // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await fill_generation(dsn, schema, workers=1, progress=break_off)
    seen: list[tuple[str, int]] = []
    await fill_generation(
        dsn, schema, workers=1, progress=lambda stage, done, of: seen.append((stage, 100 * done // of))
    )

    assert [percent for stage, percent in seen if stage == "facts of events"] == [100]
    assert next(percent for stage, percent in seen if stage == "rows") > 50
    assert await digest_of(dsn, schema, ledger) == live


async def test_an_item_in_work_elsewhere_is_awaited_and_done_here_if_its_worker_dies(
    connection: Connection, dsn: str, ledger: Ledger, in_small_parts: None
) -> None:
    live = await told(connection, ledger)
    schema = await new_generation(connection)

    def break_off(stage: str, done: int, _of: int) -> None:
        if stage == "rows" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await fill_generation(dsn, schema, workers=1, progress=break_off)
    elsewhere = await connect(dsn, search_path=schema)
    transaction = elsewhere.transaction()
    await transaction.start()
    [item, *_] = await work_items.read_undone_items(elsewhere, "rows")
    assert await elsewhere.fetchval(work_items.CLAIM_ITEM, "rows", item.number)
    all_others_done = asyncio.Event()

    def watch(stage: str, done: int, of: int) -> None:
        if stage == "rows" and done == of - item.size:
            all_others_done.set()

    filling = asyncio.create_task(fill_generation(dsn, schema, workers=1, progress=watch))
    await all_others_done.wait()
    assert not filling.done()
    await transaction.rollback()
    await filling
    await elsewhere.close()

    assert await digest_of(dsn, schema, ledger) == live


async def test_other_software_does_not_go_on_with_what_broke_off(
    connection: Connection, dsn: str, ledger: Ledger, in_small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await told(connection, ledger)

    def break_off(stage: str, done: int, _of: int) -> None:
        if stage == "facts of events" and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rebuild.build_generation(dsn, workers=1, progress=break_off)
    [left] = [one for one in await generations.list_generations(connection) if one.state == "filling"]
    monkeypatch.setattr(pipeline, "software_hash", lambda: "another")
    seen: list[tuple[str, int]] = []
    built, _ = await rebuild.build_generation(
        dsn, workers=1, progress=lambda stage, done, _of: seen.append((stage, done))
    )

    assert built.generation != left.generation
    assert seen[0] == ("facts of events", 0)
    assert await digest_of(dsn, built.schema_name, ledger) == live


async def test_a_fact_that_comes_after_a_rebuild_finds_its_subject_as_it_was(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    sent = [issued("a", 0, 1, 10), issued("b", 1, 2, 5), redeemed("r", 3, 1, 4)]
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in sent])
    schema = await new_generation(connection)
    await fill_generation(dsn, schema)
    after = [issued("c", 4, 1, 1), issued("late", 2, 2, 7), issued("new", 5, 3, 9)]
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in after])

    fresh = await connect(dsn, search_path=schema)
    await catch_up(fresh, ledger.ledger_id)
    await catch_up(connection, ledger.ledger_id)

    rows = await fresh.fetch("SELECT available FROM accounts ORDER BY account_id")
    assert [int(row["available"]) for row in rows] == [7, 12, 9]
    assert await compute_digest(fresh, ledger.ledger_id) == await compute_digest(connection, ledger.ledger_id)
    await fresh.close()


@pytest.mark.parametrize("source", ["ledger", "facts"])
async def test_a_policy_that_is_set_while_a_generation_is_filled_holds_in_it_too(
    connection: Connection, dsn: str, ledger: Ledger, source: Source
) -> None:
    sent = [issued("a", 0, 1, 10), issued("a", 0, 1, 30), issued("b", 1, 2, 5)]
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in sent])
    await catch_up(connection, ledger.ledger_id)
    schema = await new_generation(connection)

    await fill_generation(dsn, schema, source=source)
    await set_conflict_policy(connection, VAULT, ledger, "capillary", "pointsIssued", "both", by="ann")
    fresh = await connect(dsn, search_path=schema)
    before = await fresh.fetchval("SELECT available FROM accounts ORDER BY account_id")
    await catch_up(fresh, ledger.ledger_id)

    assert before in (10, 30)
    assert await fresh.fetchval("SELECT available FROM accounts ORDER BY account_id") == 40
    assert await compute_digest(fresh, ledger.ledger_id) == await compute_digest(connection, ledger.ledger_id)
    await fresh.close()


async def test_rows_that_the_database_refuses_leave_out_the_event_that_live_projection_leaves_out(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    sent = [*(issued(str(number), number, number % 3, 10) for number in range(9)), issued("x", 1, 1, 1)]
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in sent])
    schema = await new_generation(connection)
    active = await generations.active_schema(connection)
    for generation in (active, schema):
        await connection.execute(f"ALTER TABLE {generation}.accounts ADD CHECK (available < 25)")
        await connection.execute(f"ALTER TABLE {generation}.facts ADD CHECK (position <> 3)")

    await catch_up(connection, ledger.ledger_id)
    await fill_generation(dsn, schema)

    unread = "SELECT position, reason FROM {}.unread ORDER BY position"
    assert [row["position"] for row in await connection.fetch(unread.format(active))] == [3, 7, 8]
    assert await connection.fetch(unread.format(schema)) == await connection.fetch(unread.format(active))
    assert await digest_of(dsn, schema, ledger) == await compute_digest(connection, ledger.ledger_id, untimed=True)


@pytest.mark.parametrize(
    "text", ["0", "4", "4.000", "-4", "10000", "0.000002", "-1200.25", "123456789012.123456", "1E+9", "0.00000000001"]
)
async def test_decimals_and_times_are_what_the_database_takes_them_for(connection: Connection, text: str) -> None:
    value = Decimal(text)
    time = datetime(2024, 3, 1, 12, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    written = await connection.fetchval("SELECT $1::numeric::text", value)
    await register_binary_codecs(connection)

    row = await connection.fetchrow("SELECT $1::numeric, $1::numeric::text, $2::timestamptz", value, time)

    assert row is not None
    assert (f"{row[0]:f}", row[1]) == (written, written)
    assert (row[2], row[2].tzinfo) == (time, UTC)
    assert f"{decode_numeric(encode_numeric(value)):f}" == written
    assert decode_time(encode_time(time)) == time
