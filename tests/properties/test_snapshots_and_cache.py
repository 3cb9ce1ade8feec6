"""Invariant 5: the cache and the snapshots of a projector never change a row."""

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from ledger.database import Connection, connect
from ledger.store.append import append
from ledger.store.registry import Ledger, create_ledger
from projections.engine import advance, cache, snapshots
from projections.engine.cache import SubjectCache
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from projections.rebuild import rebuild
from tests.properties.histories import histories
from tests.support.payloads import VAULT, delivery, issued

STATES = "SELECT facts FROM states WHERE subject = $1 ORDER BY facts"


@given(data=st.data())
async def test_rows_are_the_same_with_any_cache_and_any_number_of_projectors(
    connection: Connection, data: st.DataObject
) -> None:
    history = data.draw(histories())
    shuffled = data.draw(st.permutations(history))
    projectors = [SubjectCache(data.draw(st.sampled_from([0, 3, 20, 1000]))) for _ in range(2)]
    number = await connection.fetchval("SELECT count(*) FROM ledger.ledgers")
    straight = await create_ledger(connection, f"straight-{number}")
    mixed = await create_ledger(connection, f"mixed-{number}")

    with (
        patch.object(snapshots, "FACTS_PER_SNAPSHOT", data.draw(st.integers(1, 4))),
        patch.object(cache, "FACTS_PER_SNAPSHOT_MIN", 1),
        patch.object(cache, "ROWS_PER_FACT", 1000),
    ):
        bodies = [delivery(body, ledger=mixed.name) for body in shuffled]
        while bodies:
            cut = data.draw(st.integers(1, 5))
            await append(connection, VAULT, mixed.ledger_id, bodies[:cut])
            bodies = bodies[cut:]
            await advance.advance(connection, mixed.ledger_id, cache=data.draw(st.sampled_from(projectors)))
    await append(connection, VAULT, straight.ledger_id, [delivery(body, ledger=straight.name) for body in history])
    await catch_up(connection, straight.ledger_id)

    assert await compute_digest(connection, mixed.ledger_id) == await compute_digest(connection, straight.ledger_id)


async def test_a_late_fact_of_a_long_history_is_folded_from_the_state_before_it(
    connection: Connection, ledger: Ledger
) -> None:
    subject = "capillary:9001:1"
    early = await create_ledger(connection, "early")
    history = [issued(str(number), number, 1, 10) for number in range(100)]
    late = issued("late", 75, 1, 5)
    remembered = SubjectCache()
    with patch.object(snapshots, "FACTS_PER_SNAPSHOT", 10):
        for start in range(0, 100, 5):
            await append(connection, VAULT, ledger.ledger_id, [delivery(one) for one in history[start : start + 5]])
            await advance.advance(connection, ledger.ledger_id, cache=remembered)
        kept = [row["facts"] for row in await connection.fetch(STATES, subject)]

        await append(connection, VAULT, ledger.ledger_id, [delivery(late)])
        await advance.advance(connection, ledger.ledger_id, cache=remembered)
        left = [row["facts"] for row in await connection.fetch(STATES, subject)]
        untouched = await connection.fetchval("SELECT xmin::text FROM statement WHERE line = 70")
        touched = await connection.fetchval("SELECT xmin::text FROM statement WHERE line = 80")
    told = [delivery(one, ledger=early.name) for one in [*history, late]]
    await append(connection, VAULT, early.ledger_id, told)
    await catch_up(connection, early.ledger_id)

    assert kept == [70, 80, 90, 100]
    assert left == [71, 81, 91, 101]
    assert untouched != touched
    assert await compute_digest(connection, ledger.ledger_id) == await compute_digest(connection, early.ledger_id)


async def test_a_rebuild_stores_snapshots_of_long_histories(connection: Connection, dsn: str, ledger: Ledger) -> None:
    bodies = [issued(str(number), number, 1, 10) for number in range(25)] + [issued("other", 0, 2, 10)]
    await append(connection, VAULT, ledger.ledger_id, [delivery(body) for body in bodies])
    await catch_up(connection, ledger.ledger_id)
    with patch.object(snapshots, "FACTS_PER_SNAPSHOT", 10):
        await rebuild(dsn)
        rebuilt = await connect(dsn)
        found = [tuple(row) for row in await rebuilt.fetch("SELECT subject, facts FROM states ORDER BY facts")]
        await append(rebuilt, VAULT, ledger.ledger_id, [delivery(issued("late", 12, 1, 5))])
        await catch_up(rebuilt, ledger.ledger_id)
        await rebuilt.close()
        again = await rebuild(dsn)

    assert found == [("capillary:9001:1", 5), ("capillary:9001:1", 15), ("capillary:9001:1", 25)]
    assert again.differing == {}
