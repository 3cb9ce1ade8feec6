"""Latency of two quiet ledgers while a hostile tenant, a hostile stranger or slow clients use the same service.

`scripts/bench hostile --events SECONDS`: the duration of each phase. The service is `loyalty serve` with its projector,
sealer and embedded PostgreSQL, without trusted proxies. The attackers run in a process of their own and connect from
another loopback address. So they share the machine with the service, but not the event loop that measures.

`scripts/bench overload --events SECONDS`: three times the deliveries that the service stored a second before.
"""

import asyncio
import base64
import contextlib
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle, islice
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchmarks.environment import BenchDatabase, BenchLedger, build_history, create_bench_ledger
from benchmarks.figures import Figure
from benchmarks.load import get, post, quantile, send_requests
from benchmarks.over_http import requests_of
from benchmarks.processes import Memory
from benchmarks.servers import MASTER_KEY
from ledger.database import connect
from ledger.store.api_keys import create_key
from service.environment import open_environment
from service.settings import Settings

PER_SECOND = 100  # deliveries of the two quiet ledgers together
QUIET_CONNECTIONS = 8
ATTACKER_TASKS = 12
SLOW_CLIENTS = 200
ANSWER_SECONDS_MAX = 20.0
OVERLOAD = 3
CAPACITY_DELIVERIES = 4_000
OVERLOAD_CONNECTIONS = 1_000  # more than the service answers at once, so that late answers delay few requests
MIB = 1024 * 1024


class Target(NamedTuple):
    """The facts about the service that an attacker has."""

    port: int
    hook: str  # path of a hook
    headers: str  # that authenticate there; a stranger has none
    key: str  # an API key; empty for a stranger


Attack = Callable[[Target, Counter[int]], Sequence[Coroutine[object, object, None]]]


async def hostile(seconds: int, _runs: int) -> list[Figure]:
    """Measure the hooks of two quiet ledgers alone, then during each attack."""
    figures = []
    async with serving() as (database, port, pid):
        quiet = [await create_bench_ledger(database, name) for name in ("quiet-a", "quiet-b")]
        enemy = await create_bench_ledger(database, "enemy")
        key = await create_key(database.connection, MASTER_KEY, enemy.ledger, ["read", "admin", "reveal", "audit"])
        inbound = enemy.inbound["capillary"]
        hook, (secret,) = f"/v1/hooks/{inbound.connection_id}", inbound.secrets
        tenant = Target(port, hook, f"{inbound.header}: {secret.decode()}\r\n", key)
        stranger = Target(port, f"/v1/hooks/{quiet[0].inbound['capillary'].connection_id}", "", "")
        requests = deliveries_of(quiet)
        await send_requests(port, list(islice(requests, 300)), PER_SECOND, connections=QUIET_CONNECTIONS)
        for name, attack, target in (
            ("quiet", None, tenant),
            ("slow clients", slow_clients, stranger),
            ("a hostile stranger", hostile_stranger, stranger),
            ("a hostile tenant", hostile_tenant, tenant),
            ("quiet again", None, tenant),
        ):
            figures.append(await _phase(name, requests, seconds, pid, attack, target))
    return figures


async def _phase(
    name: str,
    requests: Iterator[bytes],
    seconds: float,
    pid: int,
    attack: Attack | None,
    target: Target,
) -> Figure:
    context = multiprocessing.get_context("spawn")
    answers, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, attack, target))
    process.start()
    await asyncio.to_thread(answers.recv)  # the attack begins
    with Memory(pid, ours=False) as memory:
        # A refused delivery of a quiet ledger ends the benchmark: it is a failure of the service.
        offered = await send_requests(
            target.port, list(islice(requests, int(PER_SECOND * seconds))), PER_SECOND, connections=QUIET_CONNECTIONS
        )
    answers.send(None)
    counts: Counter[int] = await asyncio.to_thread(answers.recv)
    process.join()
    shown = ", ".join(f"{count}x {status or 'closed'}" for status, count in sorted(counts.items()))
    return Figure(
        f"{name}: {shown}" if shown else name, "deliveries", int(PER_SECOND * seconds), [offered.per_second], None,
        [offered.p50_ms], [offered.p99_ms], [memory.peak_mib],
    )  # fmt: skip


def _run(pipe: Pipe, attack: Attack | None, target: Target) -> None:
    """Attack until the pipe signals the end. Then send the number of answers by status (0: connection closed)."""

    async def work() -> None:
        answered: Counter[int] = Counter()
        tasks = [asyncio.create_task(one) for one in (attack(target, answered) if attack else ())]
        pipe.send(None)
        over = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), over.set)
        await over.wait()
        for task in tasks:
            task.cancel()
        pipe.send(answered)

    uvloop.run(work())


def hostile_tenant(target: Target, answered: Counter[int]) -> Sequence[Coroutine[object, object, None]]:
    """A tenant with valid keys and a connection of its own: the heaviest requests that it may send."""
    bodies = [*heavy_bodies()]
    asks = [get(path, f"Authorization: Bearer {target.key}\r\n") for path in HEAVY_PATHS]
    posts = [post(target.hook, target.headers, body) for body in bodies]
    requests = cycle([*posts, *asks, *asks])
    return [_send_in_turn(target, requests, answered) for _ in range(ATTACKER_TASKS)]


def hostile_stranger(target: Target, answered: Counter[int]) -> Sequence[Coroutine[object, object, None]]:
    """A stranger with the URL of one connection: large bodies, wrong secrets, odd heads, half requests."""
    wrong = "X-Loyalty-Secret: wrong\r\nX-Voucherify-Signature: 00\r\n"
    bodies = [body for body in heavy_bodies() if len(body) < MIB]
    odd = [
        post(target.hook, wrong, b'"' * (MIB - 1)),
        post(target.hook, wrong + "Content-Encoding: gzip\r\n", b"\x1f\x8b" + bytes(MIB - 10)),
        get("/v1/accounts/" + "%2e" * 2_000, "Authorization: Bearer wrong\r\n"),
        get("/v1/tiers?" + "&".join(f"a{n}=1" for n in range(800)), "Authorization: Bearer wrong\r\n"),
        get("/v1/accounts/x", "Accept-Encoding: " + "gzip;q=0.5, " * 500 + "\r\n"),
        b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 8_000 + b"\r\n\r\n",
        b"\x16\x03\x01" + bytes(500),
    ]
    requests = cycle([*(post(target.hook, wrong, body) for body in bodies), *odd])
    return [_send_in_turn(target, requests, answered) for _ in range(ATTACKER_TASKS)]


def slow_clients(target: Target, answered: Counter[int]) -> Sequence[Coroutine[object, object, None]]:
    """Clients that send a byte a second, of a head or of a body, and never finish."""
    head = f"POST {target.hook} HTTP/1.1\r\nHost: bench\r\nX-Loyalty-Secret: wrong\r\nContent-Length: 100000\r\n"
    return [_trickle(target, head.encode() + (b"\r\n" if n % 2 else b""), answered) for n in range(SLOW_CLIENTS)]


async def _send_in_turn(target: Target, requests: Iterator[bytes], answered: Counter[int]) -> None:
    """Send request after request on connections that are opened again whenever the service closes them."""
    while True:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            reader, writer = await _connect(target)
            try:
                while True:
                    writer.write(next(requests))
                    answered[await asyncio.wait_for(_read_answer(reader), ANSWER_SECONDS_MAX)] += 1
            finally:
                writer.close()
        answered[0] += 1
        await asyncio.sleep(0.01)


async def _connect(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", target.port, local_addr=("127.0.0.2", 0))


async def _read_answer(reader: asyncio.StreamReader) -> int:
    """Read one answer; return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"content-length:" in head:
        await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
    elif b"chunked" in head:
        while size := int((await reader.readline()).strip() or b"0", 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    return int(head[9:12])


async def _trickle(target: Target, head: bytes, answered: Counter[int]) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await _connect(target)
            try:
                writer.write(head)
                while not writer.is_closing():
                    await asyncio.sleep(1.0)
                    writer.write(b"a")
                    await writer.drain()
            finally:
                writer.close()
        answered[0] += 1
        await asyncio.sleep(0.1)


HEAVY_PATHS = (
    "/v1/liability?from=2019-01-01&to=2029-01-01&by=day",
    "/v1/trial-balance",
    "/v1/reconciliation",
    "/v1/reconciliation/drift?limit=1000",
    "/v1/reconciliation/conflicts?limit=1000",
    "/v1/ledger/events?limit=1000",
    "/v1/accounts/capillary:100458:1:838:points/explanation?limit=1000",
    "/v1/accounts/capillary:100458:1:838:points?at=2024-06-01T00:00:00Z",
    "/v1/customers/lookup?external_id=" + "9" * 200,
)


def heavy_bodies() -> Iterator[bytes]:
    """Bodies just within the limits: large, deep, wide, with many numbers, keys, escapes and personal values."""
    event = {"eventName": "pointsIssued", "orgId": "100458", "createdAt": 1_704_067_200_000}
    number = os.getpid() * 1_000_000
    for n in range(40):
        data = {**event, "eventId": f"hostile-{number + n}"}
        yield json.dumps({**data, "data": {"customerId": "1", "totalPointsIssued": 1}}).encode()
        yield json.dumps({**data, "data": {"numbers": [1e300, 10**60, 0.1] * 13_000}}).encode()
        yield json.dumps({**data, "data": {f"key {k}": f"a.person+{k}@example.com" for k in range(15_000)}}).encode()
        yield json.dumps({**data, "data": {"text": '\\"' * 150_000}}).encode()
        yield json.dumps({**data, "eventId": "hostile-same", "data": {"text": f"{n} " * 100_000}}).encode()
        yield json.dumps([{**data, "eventId": f"{number}-{n}-{k}"} for k in range(900)]).encode()


def deliveries_of(bench_ledgers: Sequence[BenchLedger]) -> Iterator[bytes]:
    """Deliveries of the quiet ledgers in turn, without end."""
    seed = 0
    while True:
        seed += 1
        histories = [
            requests_of(build_history(PER_SECOND * 60, seed=seed), bench_ledger.inbound)
            for bench_ledger in bench_ledgers
        ]
        for together in zip(*histories, strict=False):
            yield from together


@asynccontextmanager
async def serving(proxies: str = "") -> AsyncIterator[tuple[BenchDatabase, int, int]]:
    """Run `loyalty serve` on a new data folder. Yield the database, the port and the process id."""
    with tempfile.TemporaryDirectory(prefix="loyalty-bench-") as folder:
        data = Path(folder) / "data"
        (data).mkdir(mode=0o700)
        environment = {
            **os.environ,
            "LOYALTY_MASTER_KEY": base64.b64encode(bytes(32)).decode(),
            "LOYALTY_PROXIES": proxies,
        }
        command = (sys.executable, "-m", "service.cli.main", "serve", "--port", "0", "--data", str(data))
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
        try:
            port = await asyncio.to_thread(_port, data / "service.url")
            with open_environment(Settings(data=data)) as open_database:
                connection = await connect(open_database.dsn)
                try:
                    yield BenchDatabase(open_database.dsn, Path(folder), connection), port, process.pid
                finally:
                    await connection.close()
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()


def _port(file: Path) -> int:
    for _ in range(600):
        if file.exists() and (lines := file.read_text().split()):
            return int(lines[0].rpartition(":")[2])
        time.sleep(0.1)
    raise TimeoutError("the service does not listen")


async def overload(seconds: int, _runs: int) -> list[Figure]:
    """Measure how many deliveries a second are stored, then send three times as many, independent of the answers."""
    async with serving("127.0.0.0/8") as (database, port, pid):
        bench_ledger = await create_bench_ledger(database, "busy")
        requests = deliveries_of([bench_ledger])
        await send_requests(port, list(islice(requests, 500)))
        with Memory(pid, ours=False) as alone:
            capacity = await send_requests(port, list(islice(requests, CAPACITY_DELIVERIES)))
        pace = OVERLOAD * capacity.per_second
        with Memory(pid, ours=False) as memory:
            begun = time.perf_counter()
            answers = await _offer_open(port, list(islice(requests, int(pace * seconds))), pace)
    elapsed = time.perf_counter() - begun
    accepted = sorted(taken for status, taken in answers if status == 200)
    refused = sorted(taken for status, taken in answers if status == 503)
    others = len(answers) - len(accepted) - len(refused)
    figures = [
        Figure("capacity", "deliveries", CAPACITY_DELIVERIES, [capacity.per_second], None, [capacity.p50_ms],
               [capacity.p99_ms], [alone.peak_mib]),
        _answers("accepted at three times that", accepted, elapsed, memory.peak_mib),
        _answers("refused with 503", refused, elapsed, memory.peak_mib),
    ]  # fmt: skip
    if others:
        figures.append(Figure("answered otherwise or not at all", "deliveries", others, [others / elapsed]))
    return figures


def _answers(name: str, taken: list[float], seconds: float, peak_mib: float) -> Figure:
    if not taken:
        return Figure(name, "deliveries", 0, [0.0])
    p50, p99 = 1000 * quantile(taken, 0.5), 1000 * quantile(taken, 0.99)
    return Figure(name, "deliveries", len(taken), [len(taken) / seconds], None, [p50], [p99], [peak_mib])


async def _offer_open(port: int, requests: list[bytes], per_second: float) -> list[tuple[int, float]]:
    """Send each request when it is due, by the clock. A late answer delays no later request of other connections.

    Each connection sends its next request after the answer to the last one, as a vendor's sender does. The time of an
    answer counts from the moment its request was sent.
    """
    answers: list[tuple[int, float]] = []
    begun = time.perf_counter() + 0.5

    async def send(first: int) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for number in range(first, len(requests), OVERLOAD_CONNECTIONS):
            due = begun + number / per_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            try:
                if streams is None:
                    streams = await asyncio.open_connection("127.0.0.1", port)
                reader, writer = streams
                sent = time.perf_counter()
                writer.write(requests[number])
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            except (OSError, asyncio.IncompleteReadError):
                answers.append((0, 0.0))
                streams = None
                continue
            answers.append((int(head[9:12]), time.perf_counter() - sent))
            if b"connection: close" in head:
                writer.close()
                streams = None

    await asyncio.gather(*(send(first) for first in range(OVERLOAD_CONNECTIONS)))
    return answers
