"""Bytes that are no HTTP are answered and logged without quoting them, and a slow client is cut off."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
from aiohttp import web

from ledger.errors import BadCredentials
from service.api import responses
from service.api.requests.bodies import BodyBudget, read_body
from service.server.error_responses import explain_errors
from service.server.protocol import TOO_MANY, ConnectionLimits, LimitedRunner
from tests.support.client import wait_until

SECRET = b"ann@example.com"
MALFORMED = [
    b"GET /\x01" + SECRET + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-\x00" + SECRET + b": 1\r\n\r\n",
    b"G@T " + SECRET + b" HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + SECRET + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + SECRET * 1_000 + b"\r\n\r\n",
]


async def fail(_request: web.Request) -> web.Response:
    raise RuntimeError(SECRET.decode())


async def large(_request: web.Request) -> web.Response:
    return web.Response(body=bytes(16 * 1024 * 1024))


async def take(request: web.Request) -> web.Response:
    if "Authorization" not in request.headers:
        raise BadCredentials
    return web.Response(body=await read_body(request, BodyBudget()))


@asynccontextmanager
async def listening(keepalive_timeout: float = 15.0, connections: ConnectionLimits | None = None) -> AsyncIterator[int]:
    app = web.Application(middlewares=[explain_errors])
    app.router.add_get("/fail", fail)
    app.router.add_get("/large", large)
    app.router.add_post("/body", take)
    runner = LimitedRunner(
        app, access_log=None, keepalive_timeout=keepalive_timeout, connections=connections, lingering_time=0.1
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def say(port: int, text: bytes) -> bytes:
    """Send bytes. Return all bytes received until the other end closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer


@pytest.mark.parametrize("text", MALFORMED)
async def test_what_is_no_http_is_refused_without_a_word_of_it(text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async with listening() as port:
        answer = await say(port, text)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ", 2)[1] == b"400"
    assert b"application/problem+json" in head
    assert json.loads(body)["detail"] == "This is no HTTP request that we understand."
    assert b"example" not in answer
    assert "example" not in caplog.text


async def test_the_text_of_an_unexpected_error_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as port:
        answer = await say(port, b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.split(b" ", 2)[1] == b"500"
    assert b"example" not in answer
    assert "RuntimeError" in caplog.text
    assert "example" not in caplog.text


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_client_that_does_not_finish_a_request_is_cut_off(begun: bytes) -> None:
    async with listening(keepalive_timeout=0.1) as port:
        assert await say(port, begun) == b""


@pytest.mark.parametrize("path", ["/body", "/fail", "/nowhere"])
async def test_another_expectation_is_refused_without_a_word_of_it(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as port:
        request = f"POST {path} HTTP/1.1\r\nHost: x\r\nExpect: ".encode() + SECRET
        answer = await say(port, request + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ", 2)[1] == b"417"
    assert b"application/problem+json" in head
    assert json.loads(body)["detail"] == "Only 100-continue can be expected."
    assert b"example" not in answer
    assert "example" not in caplog.text


async def test_a_client_is_asked_for_its_body_only_after_its_key_was_checked() -> None:
    head = b"POST /body HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n"
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + b"Authorization: x\r\n\r\n")
        async with asyncio.timeout(10):
            asked = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"{}")
            answer = await reader.read()
        writer.close()
        refused = await say(port, head + b"\r\n")

    assert asked == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"{}")
    assert refused.startswith(b"HTTP/1.1 401")


async def test_an_address_with_too_many_connections_is_refused_until_it_closes_one() -> None:
    budget = ConnectionLimits(2)
    async with listening(connections=budget) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await say(port, b"")  # so that both were accepted before
        refused = await say(port, b"")
        held[0][1].close()
        await wait_until(lambda: budget._open["127.0.0.1"] == 1)
        answer = await say(port, b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        held[1][1].close()

    assert refused == TOO_MANY
    assert refused.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert answer.startswith(b"HTTP/1.1 404")
    assert not budget._open


def test_a_proxy_may_have_any_number_of_connections() -> None:
    budget = ConnectionLimits(1, [ip_network("10.0.0.0/8"), ip_network("::1")])

    assert [budget.enter(address) for address in ("10.1.2.3", "10.1.2.3", "::1", "::1", "")] == [True] * 5
    assert [budget.enter(address) for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2")] == [True, False, True]


async def test_a_client_that_does_not_read_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "ANSWER_SECONDS_MIN", 0.1)
    monkeypatch.setattr(responses, "ANSWER_BYTES_PER_SECOND_MIN", 2**40)
    budget = ConnectionLimits(1)
    async with listening(connections=budget) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await wait_until(lambda: bool(budget._open))
        await wait_until(lambda: not budget._open)
        writer.close()
