"""Notices: once for each lot, coupon and matter, and never for points that are spent."""

from datetime import timedelta
from typing import Any

import pytest

from ledger import clock
from ledger.database import Connection
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine.worker import catch_up
from service.outgoing import endpoint_sender, notices
from service.outgoing.notices import Notice, read_notices, remember_notices
from tests.service.outgoing.conftest import dispatching, make_endpoint, record, until
from tests.support.payloads import VAULT, delivery, issued, sample
from tests.support.receiver import receiving

LAPSE = "UPDATE lots SET expires_on = $1::timestamptz::date, lapses_at = $1"
EXPIRE = "UPDATE coupons SET status = 'issued', valid_until = $1, valid_through = NULL"


async def lapse_in(connection: Connection, days: float) -> None:
    """Let all lots lapse in some days, as terms of a programme would."""
    await connection.execute(LAPSE, clock.now() + timedelta(days=days))


async def notices_of(connection: Connection, endpoint: Any) -> list[Notice]:
    return await read_notices(connection, endpoint, clock.now())


async def remember(connection: Connection, endpoint: Any, sent: list[Notice]) -> None:
    await remember_notices(connection, endpoint, sent, clock.now())


async def test_a_lot_is_announced_once_for_each_day_of_its_lapse(connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, issued("a", 0, 1, 10), issued("b", 1, 2, 20))
    endpoint = await make_endpoint(
        connection, ledger, "https://example.com/", types=["points.will_lapse"], notice_days=30
    )
    await lapse_in(connection, 31)
    early = await notices_of(connection, endpoint)
    await lapse_in(connection, 29)
    due = await notices_of(connection, endpoint)
    await remember(connection, endpoint, due)
    again = await notices_of(connection, endpoint)
    await lapse_in(connection, 10)
    moved = await notices_of(connection, endpoint)
    await lapse_in(connection, -1)
    lapsed = await notices_of(connection, endpoint)

    assert (early, again, lapsed) == ([], [], [])
    assert [one.message.subject for one in due] == [
        "account/capillary:9001:1:77:points",
        "account/capillary:9001:2:77:points",
    ]
    assert len(moved) == 2
    assert {one.message.sequence for one in due} == {None}


async def test_a_coupon_is_announced_while_it_can_be_redeemed(connection: Connection, ledger: Ledger) -> None:
    await append(
        connection, VAULT, ledger.ledger_id, [delivery(sample("voucherify", "redemption.succeeded-2"), "voucherify")]
    )
    await catch_up(connection, ledger.ledger_id)
    endpoint = await make_endpoint(connection, ledger, "https://example.com/", types=["coupon.will_expire"])
    used = await notices_of(connection, endpoint)
    await connection.execute(EXPIRE, clock.now() + timedelta(days=3))
    due = await notices_of(connection, endpoint)
    await remember(connection, endpoint, due)

    assert used == []
    assert [one.message.type for one in due] == ["coupon.will_expire"]
    assert await notices_of(connection, endpoint) == []


async def test_a_spent_lot_is_not_announced(connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, issued("a", 0, 1, 10))
    endpoint = await make_endpoint(connection, ledger, "https://example.com/", types=["points.will_lapse"])
    await lapse_in(connection, 3)
    await connection.execute("UPDATE lots SET remaining = 0")

    assert await notices_of(connection, endpoint) == []


async def test_a_past_notice_is_forgotten(connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, issued("a", 0, 1, 10))
    endpoint = await make_endpoint(connection, ledger, "https://example.com/", types=["points.will_lapse"])
    await lapse_in(connection, 3)
    await remember(connection, endpoint, await notices_of(connection, endpoint))

    await remember_notices(connection, endpoint, [], clock.now() + timedelta(days=4))

    assert await connection.fetchval("SELECT count(*) FROM outgoing.notices") == 0


async def test_a_matter_is_announced_when_it_opens_and_when_it_closes(connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, issued("a", 0, 1, 10, programCurrentPoints=10))
    await record(connection, ledger, issued("b", 10, 1, 5, programCurrentPoints=99))
    endpoint = await make_endpoint(connection, ledger, "https://example.com/", types=["reconciliation.opened"])

    opened = await notices_of(connection, endpoint)
    await remember(connection, endpoint, opened)
    still_open = await notices_of(connection, endpoint)
    await connection.execute("UPDATE accounts SET drift = 0, missing = 0")
    closed = await notices_of(connection, endpoint)
    await remember(connection, endpoint, closed)

    drift = "reconciliation/drift/capillary:9001:1:77:points"
    assert drift in [one.message.subject for one in opened]
    assert still_open == []
    assert (drift, "reconciliation.closed") in [(one.message.subject, one.message.type) for one in closed]
    assert await connection.fetchval("SELECT count(*) FROM outgoing.notices WHERE subject LIKE 'drift/%'") == 0


async def test_matters_of_a_list_with_several_pages_are_all_announced_and_closed(
    connection: Connection, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices, "MATTERS_PER_PAGE", 2)
    monkeypatch.setattr(notices, "OPENED_PER_READ_MAX", 3)
    for customer in range(1, 6):
        await record(connection, ledger, issued(f"a{customer}", 0, customer, 10, programCurrentPoints=10))
        await record(connection, ledger, issued(f"b{customer}", 10, customer, 5, programCurrentPoints=99))
    endpoint = await make_endpoint(connection, ledger, "https://example.com/", types=["reconciliation.opened"])

    reads = []
    for _ in range(3):
        reads.append(drifts(await notices_of(connection, endpoint)))
        await remember(connection, endpoint, await notices_of(connection, endpoint))
    await connection.execute("UPDATE accounts SET drift = 0, missing = 0 WHERE account_id LIKE '%:4:77:points'")
    closed = drifts(await notices_of(connection, endpoint))

    accounts = [f"capillary:9001:{customer}:77:points" for customer in range(1, 6)]
    assert [len(read) for read in reads] == [3, 2, 0]
    assert sorted(key for read in reads for _, key in read) == [f"drift/{account}" for account in accounts]
    assert closed == [("reconciliation.closed", f"drift/{accounts[3]}")]


def drifts(found: list[Notice]) -> list[tuple[str, str]]:
    return [(one.message.type, one.subject) for one in found if one.subject.startswith("drift/")]


async def test_notices_are_sent_beside_the_feed_and_once(
    dsn: str, connection: Connection, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_sender, "NOTICE_SECONDS", 0.01)
    await record(connection, ledger, issued("a", 0, 1, 10))
    await lapse_in(connection, 3)
    async with receiving(lambda number, _: "cut" if number == 1 else None) as receiver:
        await make_endpoint(connection, ledger, receiver.url, types=["points.will_lapse", "fact.recorded"])
        async with dispatching(dsn):
            await until(lambda: has_type(receiver.accepted, "fact.recorded"))
            await record(connection, ledger, issued("b", 1, 2, 20))
            await until(lambda: has_id(receiver.ids, "2/0"))

    lapses = [event["id"] for event in receiver.accepted if event["type"] == "points.will_lapse"]
    assert len(set(lapses)) == 1
    assert len(lapses) == 2  # the first answer was lost
    assert await connection.fetchval("SELECT count(*) FROM outgoing.notices") == 1


async def test_notices_that_cannot_be_read_delay_no_fact(dsn: str, connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, issued("a", 0, 1, 10))
    async with receiving() as receiver:
        await make_endpoint(connection, ledger, receiver.url, types=["points.will_lapse", "fact.recorded"])
        await connection.execute("ALTER TABLE lots RENAME TO lots_elsewhere")
        async with dispatching(dsn):
            await until(lambda: has_type(receiver.accepted, "fact.recorded"))

    assert receiver.ids == ["1/0"]


async def has_type(events: list[dict[str, Any]], kind: str) -> bool:
    return any(event["type"] == kind for event in events)


async def has_id(ids: list[str], identifier: str) -> bool:
    return identifier in ids
