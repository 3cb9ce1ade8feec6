"""Send requests over several connections and time each answer. HTTP/1.1 is written by hand, so that the client costs
little.

Each connection sends its next request after the whole answer to the last one, as a vendor does.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

CONNECTIONS = 32
SECONDS_MAX = 600
LENGTH = b"content-length: "


class LoadResult(NamedTuple):
    """Throughput and latency of some requests."""

    per_second: float
    p50_ms: float
    p99_ms: float


class Pace:
    """A number of requests a second, shared by all connections."""

    def __init__(self, per_second: float) -> None:
        self._step = 1 / per_second
        self._next = 0.0

    def due(self, now: float) -> float:
        """Return the time at which to send the next request."""
        self._next = max(self._next + self._step, now - 1.0)  # catches up at most one second
        return self._next


class Sender(asyncio.Protocol):
    """One connection. All connections take from the same requests."""

    def __init__(
        self, requests: Iterator[bytes], seconds: list[float], over: "asyncio.Future[None]", pace: Pace | None = None
    ) -> None:
        self._requests, self._seconds, self._over, self._pace = requests, seconds, over, pace
        self._answer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        if self._pace is None:
            self._write(request)
        else:
            loop = asyncio.get_running_loop()
            loop.call_at(self._pace.due(loop.time()), self._write, request)

    def _write(self, request: bytes) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        answer = self._answer = self._answer + data
        end = answer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = answer[:end].lower()
        start = head.index(LENGTH) + len(LENGTH)
        length = int(head[start:].split(b"\r", 1)[0])
        if len(answer) < end + 4 + length:
            return
        self._seconds.append(time.perf_counter() - self._sent_at)
        self._answer = b""
        if not answer.startswith(b"HTTP/1.1 200"):
            self._fail(answer[: end + 4 + 300].decode())
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._fail(str(exc))
        elif not self._over.done():
            self._over.set_result(None)

    def _fail(self, why: str) -> None:
        if not self._over.done():
            self._over.set_exception(AssertionError(why))
        self._transport.close()


async def send_requests(
    port: int, requests: Sequence[bytes], per_second: float | None = None, *, connections: int = CONNECTIONS
) -> LoadResult:
    """Send every request once, at a pace or as fast as answers arrive. Fails if an answer is not 200."""
    loop = asyncio.get_running_loop()
    seconds: list[float] = []
    shared = iter(requests)
    pace = Pace(per_second) if per_second else None
    over = [loop.create_future() for _ in range(connections)]
    begun = time.perf_counter()
    for one in over:
        await loop.create_connection(
            lambda one=one: Sender(shared, seconds, one, pace),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
    await asyncio.wait_for(asyncio.gather(*over), SECONDS_MAX)
    taken = time.perf_counter() - begun
    seconds.sort()
    return LoadResult(len(seconds) / taken, 1000 * quantile(seconds, 0.5), 1000 * quantile(seconds, 0.99))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value that a given share of sorted values does not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def post(path: str, headers: str, body: bytes) -> bytes:
    """Build a request with a body. Each header ends with a line break."""
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str, headers: str) -> bytes:
    """Build a request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n".encode()
