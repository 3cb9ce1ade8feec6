"""What is no HTTP is answered and logged without a byte of it, and who is slow to ask is cut off."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from service.protocol import Runner

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


@asynccontextmanager
async def listening(keepalive_timeout: float = 15.0) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/fail", fail)
    runner = Runner(app, access_log=None, keepalive_timeout=keepalive_timeout)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def say(port: int, text: bytes) -> bytes:
    """Send bytes, and give all that comes back until the other end closes."""
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


async def test_what_our_code_says_when_it_fails_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as port:
        answer = await say(port, b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")

    assert answer.split(b" ", 2)[1] == b"500"
    assert b"example" not in answer
    assert "RuntimeError" in caplog.text
    assert "example" not in caplog.text


@pytest.mark.parametrize("begun", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_who_does_not_finish_a_request_is_cut_off(begun: bytes) -> None:
    async with listening(keepalive_timeout=0.1) as port:
        assert await say(port, begun) == b""
