"""The dispatcher against receivers that fail: everything arrives at least once, in order, and of one ledger only."""

import asyncio
import json
from functools import partial

import pytest
from aiohttp import web

from ledger.database import Connection
from ledger.store import registry
from ledger.store.registry import Ledger
from service.outgoing import endpoint_sender, http_client
from tests.service.outgoing.conftest import dispatching, make_endpoint, record, state_of, until, until_delivered
from tests.support.payloads import issued
from tests.support.receiver import CUT, RESET, STALL, Receiver, accept, receiving

CUSTOMERS = 3


def history(count: int) -> list[bytes]:
    """Return events of several customers, in turn."""
    return [issued(f"e{number}", number, number % CUSTOMERS + 1, 10) for number in range(count)]


def in_order_per_subject(events: list[dict[str, object]]) -> bool:
    """Return True if the first arrivals of each subject's events are in the order of their sequences."""
    last: dict[object, str] = {}
    seen = set()
    for event in events:
        if event["id"] not in seen:
            seen.add(event["id"])
            if str(event["sequence"]) < last.get(event["subject"], ""):
                return False
            last[event["subject"]] = str(event["sequence"])
    return True


async def test_every_fact_is_sent_as_a_signed_cloud_event(dsn: str, connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, *history(5))
    async with receiving() as receiver:
        endpoint = await make_endpoint(connection, ledger, receiver.url, types=["fact.recorded"])
        async with dispatching(dsn):
            await until_delivered(connection, endpoint)
            await record(connection, ledger, issued("late", 9, 1, 7))
            await until_delivered(connection, endpoint)

    receiver.verify(endpoint.secrets[0].decode())
    facts = await connection.fetch("SELECT position, ordinal FROM facts ORDER BY position, ordinal")
    assert receiver.ids == [f"{row['position']}/{row['ordinal']}" for row in facts]
    first = receiver.accepted[0]
    assert {name: first[name] for name in ("specversion", "source", "type", "subject", "sequence")} == {
        "specversion": "1.0",
        "source": "/ledgers/acme",
        "type": "fact.recorded",
        "subject": "account/capillary:9001:1",
        "sequence": "00000000000001000000",
    }
    assert first["data"]["fact"] == "Issued"
    assert receiver.requests[0][0]["content-type"] == "application/cloudevents-batch+json"


async def test_an_endpoint_without_batches_gets_one_cloud_event_in_each_request(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    await record(connection, ledger, *history(4))
    async with receiving() as receiver:
        endpoint = await make_endpoint(
            connection, ledger, receiver.url, types=["fact.recorded"], kinds=["Issued"], events_per_request=1
        )
        async with dispatching(dsn):
            await until_delivered(connection, endpoint)

    assert len(receiver.requests) == 4
    assert receiver.requests[0][0]["content-type"] == "application/cloudevents+json"
    assert json.loads(receiver.requests[0][1])["id"] == receiver.ids[0]


async def test_a_receiver_that_fails_in_every_way_gets_everything_in_order(
    dsn: str, connection: Connection, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, "REQUEST_SECONDS_MAX", 0.3)

    def misbehave(number: int, _: web.Request) -> web.StreamResponse | str | None:
        redirect = web.Response(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
        faults: dict[int, web.StreamResponse | str] = {
            1: web.Response(status=500, text="no"),
            2: STALL,
            3: RESET,
            4: redirect,
            5: web.Response(status=429),
        }
        if number in faults:
            return faults[number]
        return CUT if number % 3 == 0 else None  # every third answer is lost

    async def answer_slowly(number: int, _: web.Request) -> None:
        await asyncio.sleep(0.1 if number in (7, 8) else 0)

    await record(connection, ledger, *history(30))
    async with receiving(misbehave) as receiver:
        receiver.before = answer_slowly
        endpoint = await make_endpoint(connection, ledger, receiver.url, types=["fact.recorded"], events_per_request=4)
        async with dispatching(dsn):
            await until_delivered(connection, endpoint)

    facts = await connection.fetch("SELECT position, ordinal FROM facts ORDER BY position, ordinal")
    assert list(dict.fromkeys(receiver.ids)) == [f"{row['position']}/{row['ordinal']}" for row in facts]
    assert in_order_per_subject(receiver.accepted)
    assert len(receiver.ids) > len(set(receiver.ids))  # answers were lost
    receiver.verify(endpoint.secrets[0].decode())
    retried = {headers["webhook-id"] for headers, _ in receiver.requests}
    assert len(retried) < len(receiver.requests)
    outcomes = await connection.fetch("SELECT outcome, status, detail FROM outgoing.attempts ORDER BY attempt LIMIT 5")
    assert [(row["outcome"], row["status"]) for row in outcomes] == [
        ("failed", 500), ("failed", None), ("failed", None), ("failed", 302), ("failed", 429),
    ]  # fmt: skip
    assert [row["detail"] for row in outcomes][:2] == ["no", "no answer within 0.3 s"]


async def test_a_sender_that_is_cancelled_again_and_again_loses_nothing(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    await record(connection, ledger, *history(40))
    async with receiving() as receiver:
        endpoint = await make_endpoint(connection, ledger, receiver.url, types=["fact.recorded"], events_per_request=1)
        for count in (5, 10, 15, 20, 25):
            async with dispatching(dsn):
                await until(partial(has_received, receiver, count))
        async with dispatching(dsn):
            await until_delivered(connection, endpoint)

    facts = await connection.fetch("SELECT position, ordinal FROM facts ORDER BY position, ordinal")
    assert list(dict.fromkeys(receiver.ids)) == [f"{row['position']}/{row['ordinal']}" for row in facts]
    assert in_order_per_subject(receiver.accepted)


async def has_received(receiver: Receiver, count: int) -> bool:
    return len(receiver.ids) >= count


async def test_410_ends_an_endpoint_and_enabling_it_goes_on_where_it_ended(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    await record(connection, ledger, *history(3))
    async with receiving(lambda *_: web.Response(status=410)) as receiver:
        endpoint = await make_endpoint(connection, ledger, receiver.url, types=["fact.recorded"])
        async with dispatching(dsn):
            await until(lambda: has_stopped(connection, endpoint.endpoint_id, "gone"))
            assert len(receiver.requests) == 1


async def has_stopped(connection: Connection, endpoint_id: str, reason: str) -> bool:
    found = await connection.fetchval(
        "SELECT stop_reason FROM outgoing.cursors JOIN outgoing.endpoints USING (endpoint_id) "
        "WHERE endpoint_id = $1 AND disabled_at IS NOT NULL",
        endpoint_id,
    )
    return bool(found == reason)


async def test_an_endpoint_that_fails_for_too_long_is_disabled(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    await record(connection, ledger, *history(3))
    async with receiving(lambda *_: web.Response(status=503)) as receiver:
        endpoint = await make_endpoint(connection, ledger, receiver.url, types=["fact.recorded"])
        async with dispatching(dsn, failing_days_max=1e-6):
            await until(lambda: has_stopped(connection, endpoint.endpoint_id, "failing"))

    state = await state_of(connection, endpoint)
    assert (state["stop_reason"], state["position"]) == ("failing", 0)


async def test_an_endpoint_gets_nothing_of_another_ledger(dsn: str, connection: Connection, ledger: Ledger) -> None:
    other = await registry.create_ledger(connection, "other")
    await record(connection, ledger, *history(5))
    await record(connection, other, issued("theirs", 1, 4711, 99))
    async with receiving() as ours, receiving() as theirs:
        endpoint = await make_endpoint(connection, ledger, ours.url)
        other_endpoint = await make_endpoint(connection, other, theirs.url)
        async with dispatching(dsn):
            await until_delivered(connection, endpoint)
            await until_delivered(connection, other_endpoint)

    assert {event["source"] for event in ours.accepted} == {"/ledgers/acme"}
    assert not any(b"4711" in body for _, body in ours.requests)
    assert {event["source"] for event in theirs.accepted} == {"/ledgers/other"}


async def test_an_endpoint_that_was_changed_by_sql_gets_nothing(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    await record(connection, ledger, *history(3))
    async with receiving(accept) as thief, receiving() as receiver:
        await make_endpoint(connection, ledger, receiver.url)
        await connection.execute("UPDATE outgoing.endpoints SET url = $1", thief.url)
        sound = await make_endpoint(connection, ledger, receiver.url)
        async with dispatching(dsn):
            await until_delivered(connection, sound)

    assert thief.requests == []


async def test_an_event_that_is_recorded_during_a_request_is_sent_right_after_it(
    dsn: str, connection: Connection, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_sender, "IDLE_SECONDS", 3_600)
    held = asyncio.Event()

    async def hold(_: int, __: web.Request) -> None:
        await held.wait()

    await record(connection, ledger, *history(1))
    async with receiving() as receiver:
        receiver.before = hold
        endpoint = await make_endpoint(connection, ledger, receiver.url, types=["fact.recorded"])
        async with dispatching(dsn):
            await until(partial(has_requested, receiver))
            await record(connection, ledger, issued("meanwhile", 1, 1, 10))
            await asyncio.sleep(0.1)  # so that the dispatcher has seen it
            held.set()
            await until_delivered(connection, endpoint)

    assert receiver.ids == ["1/0", "2/0"]


async def has_requested(receiver: Receiver) -> bool:
    return bool(receiver.requests)
