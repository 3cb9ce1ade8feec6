"""Corrections: differences that a promotion uncovers reach endpoints that ask for them, once."""

from typing import Any

import pytest

from ledger.database import Connection, connect
from ledger.store.registry import Ledger
from projections.engine.promotion import roll_back
from projections.rebuild import rebuild
from service.outgoing import endpoint_sender
from tests.service.outgoing.conftest import dispatching, make_endpoint, record, until
from tests.support.payloads import issued
from tests.support.receiver import CUT, Receiver, receiving

FIRST, SECOND, THIRD = (f"capillary:9001:{customer}:77:points" for customer in (1, 2, 3))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_sender, "IDLE_SECONDS", 0.05)


def corrections(receiver: Receiver) -> list[Any]:
    """Return what was sent as corrections, in order."""
    return [
        (event["type"], event["data"].get("account") or event["data"]["position"], *values_of(event["data"]))
        for event in receiver.accepted
        if event["data"].get("reason") == "correction" or event["data"].get("correction")
    ]


def values_of(data: dict[str, Any]) -> tuple[Any, ...]:
    return (data["before"], data["after"]) if "before" in data else ()


async def announced(connection: Connection, schema: str) -> bool:
    found = await connection.fetchval("SELECT subject FROM outgoing.notices WHERE type = 'generation'")
    return bool(found == schema)


async def active(connection: Connection) -> str:
    found: str = await connection.fetchval("SELECT schema_name FROM projections.generations WHERE state = 'active'")
    return found


async def has_delivered(receiver: Receiver, identifier: str) -> bool:
    return identifier in receiver.ids


async def plant_differences(connection: Connection) -> None:
    """Let the rows be as an older version would have made them: one balance folded otherwise, one fact unread."""
    await connection.execute("UPDATE accounts SET available = 105 WHERE account_id = $1", FIRST)
    await connection.execute("UPDATE accounts SET available = 0 WHERE account_id = $1", SECOND)
    await connection.execute("DELETE FROM facts WHERE position = 2")


async def test_a_promotion_sends_what_it_uncovers_once_and_a_rollback_corrects_back(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    await record(connection, ledger, issued("a", 10, 1, 100), issued("b", 20, 2, 30), issued("c", 30, 3, 7))
    before = await active(connection)
    async with receiving() as receiver, receiving() as indifferent:
        types = ["balance.changed", "fact.recorded", "fact.retracted"]
        await make_endpoint(connection, ledger, receiver.url, types=types, kinds=["Issued"], corrections=True)
        await make_endpoint(connection, ledger, indifferent.url, types=types)
        async with dispatching(dsn):
            await until(lambda: has_delivered(receiver, f"3/balance.changed/{THIRD}"))
            await plant_differences(connection)
            assert (await rebuild(dsn, force=True)).promoted
            after = await active(connection)
            await until(lambda: announced(connection, after))
        async with dispatching(dsn):  # which has nothing to correct any more
            await until(lambda: announced(connection, after))
            promoted = corrections(receiver)
            await roll_back(dsn)
            await until(lambda: announced(connection, before))

    assert promoted == [
        ("fact.recorded", 2), ("balance.changed", FIRST, "105", "100"), ("balance.changed", SECOND, "0", "30"),
    ]  # fmt: skip
    assert corrections(receiver)[3:] == [("fact.retracted", 2), ("balance.changed", SECOND, "30", "0")]
    assert len(receiver.ids) == len(set(receiver.ids))
    assert corrections(indifferent) == []


async def test_corrections_that_a_receiver_refuses_are_sent_again_and_come_before_later_changes(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    await record(connection, ledger, issued("a", 10, 1, 100), issued("b", 20, 2, 30))
    async with receiving() as receiver:
        await make_endpoint(
            connection, ledger, receiver.url, types=["balance.changed"], corrections=True, events_per_request=1
        )
        async with dispatching(dsn):
            await until(lambda: has_delivered(receiver, f"2/balance.changed/{SECOND}"))
        wrong = "UPDATE accounts SET available = available + 5"
        await connection.execute(wrong)
        assert (await rebuild(dsn, force=True)).promoted
        await record_in_active(dsn, ledger, issued("later", 40, 1, 1))
        receiver.behave = lambda number, _: CUT if number % 2 else None
        async with dispatching(dsn):
            await until(lambda: has_delivered(receiver, f"3/balance.changed/{FIRST}"))

    sent = [(event["data"]["account"], *values_of(event["data"])) for event in receiver.accepted]
    assert list(dict.fromkeys(sent))[2:] == [
        (FIRST, "105", "100"), (SECOND, "35", "30"), (FIRST, "100", "101"),
    ]  # fmt: skip


async def record_in_active(dsn: str, ledger: Ledger, body: bytes) -> None:
    """Append a delivery by a new session, which reads the promoted generation."""
    session = await connect(dsn)
    await record(session, ledger, body)
    await session.close()


async def test_an_endpoint_behind_a_dropped_generation_goes_on_without_corrections(
    dsn: str, connection: Connection, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    await record(connection, ledger, issued("a", 10, 1, 100))
    async with receiving() as receiver:
        endpoint = await make_endpoint(connection, ledger, receiver.url, types=["balance.changed"], corrections=True)
        await connection.execute(
            "INSERT INTO outgoing.notices VALUES ($1, $2, 'generation', 'generation_999')",
            ledger.ledger_id, endpoint.endpoint_id,
        )  # fmt: skip
        async with dispatching(dsn):
            await until(lambda: has_delivered(receiver, f"1/balance.changed/{FIRST}"))

    assert corrections(receiver) == []
    assert "generation_999 is dropped" in caplog.text
