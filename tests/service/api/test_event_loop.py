"""No body blocks the event loop, neither when it is received nor when it is shown."""

import asyncio
import os
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ledger.errors import LedgerUnavailable
from ledger.parsing import BODY_BYTES_MAX
from service.api.requests.large_bodies import BYTES_AT_ONCE_MAX, WAITING_PER_LEDGER_MAX, LargeBodyWorker
from tests.support.client import serving
from tests.support.watchdog import Watchdog


def event(unit: bytes, joined: bytes, size: int, head: bytes = b"[", tail: bytes = b"]") -> bytes:
    """Return an event of about this size, made of a repeated unit with a counter in %d."""
    begin, end = b'{"eventName":"pointsIssued","eventId":"1","data":{"values":' + head, tail + b"}}"
    count = (size - len(begin) - len(end)) // (len(unit) + len(joined) + 4)
    parts = (unit.replace(b"%d", b"%d" % n) for n in range(count))
    return begin + joined.join(parts) + end


HEAVY = {
    "free keys": (b'"k%d":1', b",", b'{"customFields":{', b"}}"),
    "keys with blanks": (b'"k %d":1', b",", b"{", b"}"),
    "one key": (b"k ", b"", b'{"', b'":1}'),
    "persons": (b'{"customerId":%d,"email":"a@b.c"}', b",", b"[", b"]"),
    "addresses": (b'{"email":"a%d@b.c"}', b",", b"[", b"]"),
    "numbers": (b"1.%d", b",", b"[", b"]"),
    "escapes": (b'\\"', b"", b'{"email":"', b'"}'),
    "lists": (b"[]", b",", b"[", b"]"),
    "times": (b'"2024-01-01 T 00:00:00Z"', b",", b"[", b"]"),
}


@pytest.mark.parametrize("made_of", HEAVY)
@pytest.mark.parametrize("size", [BYTES_AT_ONCE_MAX, BODY_BYTES_MAX])
async def test_the_heaviest_bodies_come_in_and_are_shown_beside_others(dsn: str, made_of: str, size: int) -> None:
    unit, joined, head, tail = HEAVY[made_of]
    body = event(unit, joined, size, head, tail)
    async with serving(dsn, "acme") as [acme]:
        status, told = await acme.deliver(body)
        position = told["events"][0]["position"]
        shown, _ = await acme.ask(f"/v1/ledger/events/{position}")

        assert (status, shown) == (200, 200)


async def test_ledgers_take_turns_with_large_bodies_and_wait_in_lines_that_end() -> None:
    large = LargeBodyWorker()
    body = bytes(BYTES_AT_ONCE_MAX + 1)
    done: list[int] = []

    async def work(ledger_id: int) -> None:
        await large.work_on(ledger_id, body, len, body)
        done.append(ledger_id)

    try:
        many = [asyncio.create_task(work(1)) for _ in range(200)]
        await asyncio.sleep(0)
        await work(2)
        results = await asyncio.gather(*many, return_exceptions=True)

        assert done.index(2) <= 2
        assert sum(result is None for result in results) == WAITING_PER_LEDGER_MAX + 1
        assert {type(result) for result in results if result is not None} == {LedgerUnavailable}
        assert await large.work_on(1, b"small", len, b"small") == 5
    finally:
        large.close()


@pytest.mark.parametrize("size", [100, BYTES_AT_ONCE_MAX])
async def test_a_burst_of_one_ledger_leaves_turns_to_others(size: int) -> None:
    bodies = LargeBodyWorker()
    order: list[int] = []

    async def deliver(ledger_id: int) -> None:
        await bodies.work_on(ledger_id, bytes(size), order.append, ledger_id)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(200):
            tasks.create_task(deliver(1))
        tasks.create_task(deliver(2))

    assert order.index(2) < 20
    assert order.count(1) == 200


async def test_a_client_that_leaves_while_its_body_waits_costs_no_turn() -> None:
    bodies = LargeBodyWorker()
    body = bytes(BYTES_AT_ONCE_MAX)
    done: list[int] = []
    tasks = [asyncio.create_task(bodies.work_on(1, body, done.append, number)) for number in range(5)]
    await asyncio.sleep(0)
    tasks[1].cancel()

    await asyncio.gather(*tasks, return_exceptions=True)

    assert done == [0, 2, 3, 4]


async def test_a_killed_process_for_large_bodies_costs_one_delivery_and_is_replaced() -> None:
    large = LargeBodyWorker()
    body = bytes(BYTES_AT_ONCE_MAX + 1)
    try:
        process_id = await large.work_on(1, body, os.getpid)
        with pytest.raises(LedgerUnavailable):
            await large.work_on(1, body, os._exit, 1)
        another = await large.work_on(1, body, os.getpid)
    finally:
        large.close()

    assert len({os.getpid(), process_id, another}) == 3


async def burn(request: web.Request) -> web.Response:
    end = time.thread_time() + float(request.query["seconds"])
    while time.thread_time() < end:
        pass
    return web.Response()


async def test_the_watchdog_notes_what_holds_the_loop_and_nothing_else(watchdog: Watchdog) -> None:
    app = web.Application()
    app.router.add_get("/", burn)
    async with TestClient(TestServer(app)) as client:
        await client.get("/", params={"seconds": "0.0"})
        quiet = list(watchdog.held)
        await client.get("/", params={"seconds": "0.2"})

    assert quiet == []
    held = watchdog.held.pop()
    assert "held the event loop for" in held
    assert "in burn" in held
