"""Invariants 3, 5 and 6: rows are a function of the set of events, and a rebuild gives the same rows."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.database import Connection, connect
from ledger.store.append import append
from ledger.store.registry import Ledger, create_ledger
from projections.engine import advance
from projections.engine.digest import Digest, compute_digest
from projections.engine.worker import catch_up
from projections.rebuild import rebuild
from tests.properties.histories import histories
from tests.support.payloads import VAULT, capillary, delivery, issued, samples

# Samples of the source with every envelope. A few have an impossible time.
SOURCES = ("capillary", "voucherify", "ascenda", "fabric")


async def deliver_and_digest(connection: Connection, ledger: Ledger, bodies: list[bytes], cuts: list[int]) -> Digest:
    """Deliver bodies one by one or in batches, project in between, and return a digest of the rows."""
    rest = list(bodies)
    for cut in [*cuts, len(rest)]:
        batch, rest = rest[:cut], rest[cut:]
        if batch:
            await append(connection, VAULT, ledger.ledger_id, [delivery(body, ledger=ledger.name) for body in batch])
            await advance.advance(connection, ledger.ledger_id, limit=max(1, cut // 2))
    await catch_up(connection, ledger.ledger_id)
    return await compute_digest(connection, ledger.ledger_id)


@given(data=st.data())
async def test_any_order_any_duplicates_and_any_batches_give_the_same_rows(
    connection: Connection, data: st.DataObject
) -> None:
    history = data.draw(histories())
    again = data.draw(st.lists(st.sampled_from(history), max_size=10))
    shuffled = data.draw(st.permutations([*history, *again]))
    cuts = data.draw(st.lists(st.integers(1, 7), max_size=10))
    number = await connection.fetchval("SELECT count(*) FROM ledger.ledgers")
    straight = await create_ledger(connection, f"straight-{number}")
    mixed = await create_ledger(connection, f"mixed-{number}")

    in_order = await deliver_and_digest(connection, straight, history, [])
    in_any_order = await deliver_and_digest(connection, mixed, shuffled, cuts)

    assert in_any_order == in_order
    assert await connection.fetchval("SELECT count(*) FROM subjects WHERE parked IS NOT NULL") == 0


@settings(max_examples=5)
@given(data=st.data())
async def test_rows_rebuilt_from_position_1_equal_the_live_rows(
    connection: Connection, dsn: str, data: st.DataObject
) -> None:
    history = data.draw(histories())
    number = await connection.fetchval("SELECT count(*) FROM ledger.ledgers")
    ledger = await create_ledger(connection, f"ledger-{number}")
    live = await deliver_and_digest(connection, ledger, history, data.draw(st.lists(st.integers(1, 5), max_size=6)))

    report = await rebuild(dsn)

    assert report.differing == {}
    fresh = await connect(dsn)
    assert await compute_digest(fresh, ledger.ledger_id) == live
    await fresh.close()


async def test_the_published_samples_converge_shuffled_and_one_by_one(connection: Connection) -> None:
    digests = []
    for name, order in (("forwards", 1), ("backwards", -1)):
        ledger = await create_ledger(connection, name)
        for source in SOURCES:
            bodies = [delivery(body, source, ledger.name) for body in samples(source)[::order]]
            if order == 1:
                await append(connection, VAULT, ledger.ledger_id, bodies)
            else:
                for one in [*bodies, *bodies[:5]]:
                    await append(connection, VAULT, ledger.ledger_id, [one])
                    await advance.advance(connection, ledger.ledger_id)
        await catch_up(connection, ledger.ledger_id)
        digests.append(await compute_digest(connection, ledger.ledger_id))

    assert digests[0] == digests[1]


async def test_a_redelivery_a_year_later_is_answered_with_its_first_position(
    connection: Connection, ledger: Ledger
) -> None:
    body = samples("capillary")[0]
    first = await append(connection, VAULT, ledger.ledger_id, [delivery(body)])
    await append(connection, VAULT, ledger.ledger_id, [delivery(one) for one in samples("capillary")[1:10]])

    again = await append(connection, VAULT, ledger.ledger_id, [delivery(body)])

    assert (again[0][0].position, again[0][0].outcome) == (first[0][0].position, "duplicate")


async def test_odd_figures_and_ids_give_the_same_rows_in_any_order_and_can_be_rebuilt(
    connection: Connection, dsn: str
) -> None:
    odd = [
        issued("below-zero", 0, 1, -5),
        capillary("pointsIssued", "colon", 1, "a:b", totalPointsIssued=7, regularPointsIssued=7),
        capillary("pointsIssued", "percent", 2, "a%3Ab", totalPointsIssued=8, regularPointsIssued=8),
        capillary("pointsIssued", "part", 3, 1, totalPointsIssued="1.10", regularPointsIssued="1.10"),
        capillary("pointsIssued", "whole", 4, 1, totalPointsIssued=1.1, regularPointsIssued=1.1),
    ]
    backwards = await create_ledger(connection, "backwards")
    ledger = await create_ledger(connection, "forwards")
    digests = [
        await deliver_and_digest(connection, ledger, odd, [1, 1]),
        await deliver_and_digest(connection, backwards, odd[::-1], [1, 1]),
    ]

    rows = await connection.fetch("SELECT customer, available FROM accounts WHERE ledger_id = $1", ledger.ledger_id)
    unrecognised = await connection.fetchval("SELECT count(*) FROM unread WHERE ledger_id = $1", ledger.ledger_id)

    assert digests[0] == digests[1]
    assert sorted((row["customer"], str(row["available"])) for row in rows) == [
        ("capillary:9001:1", "2.2"),
        ("capillary:9001:a%253Ab", "8"),
        ("capillary:9001:a%3Ab", "7"),
    ]
    assert unrecognised == 1
    assert (await rebuild(dsn)).differing == {}
