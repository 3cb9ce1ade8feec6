"""Outgoing webhooks: facts sent through one endpoint, and their delay while events arrive at a pace.

The limit of the first is the least possible work: the same bytes, signed and posted in the same batches, without a
database.
"""

import asyncio
import time
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any, NamedTuple

import aiohttp
import orjson
from aiohttp import web

from benchmarks import servers
from benchmarks.environment import (
    BenchDatabase,
    BenchLedger,
    Stopwatch,
    append_history,
    build_history,
    create_bench_ledger,
    open_database,
)
from benchmarks.figures import Figure
from benchmarks.load import quantile, send_requests
from benchmarks.over_http import WARM_UP, requests_of
from benchmarks.servers import MASTER_KEY
from ledger.background import cancel_all
from ledger.database import connect
from projections.engine.worker import catch_up
from service.outgoing import administration
from service.outgoing.addresses import Destinations
from service.outgoing.dispatcher import REFRESH_SECONDS, Dispatcher
from service.outgoing.endpoint_options import EndpointOptions
from service.outgoing.endpoints import Endpoint, delete_endpoint, disable_endpoint, enable_endpoint
from service.outgoing.fact_feed import read_page
from service.outgoing.http_client import ReceiverClient
from service.outgoing.messages import FeedCursor, Message
from service.outgoing.open_sinks import open_sink

HERE = Destinations([ip_network("127.0.0.0/8")])
INTAKE = "intake over HTTP, nothing sent out"
EVENTS_PER_REQUEST = 1_000
EVENTS_PER_SECOND = 800  # about 1,000 facts
STEPS_PER_SECOND = 10
POLL_SECONDS = 0.02
RECEIVER_BYTES_MAX = 64 * 2**20
CHECKPOINT = "SELECT position FROM checkpoints WHERE ledger_id = $1"
RECORDED_AT = """
    SELECT position, extract(epoch FROM recorded_at)::float8 AS at FROM ledger.events WHERE ledger_id = $1
"""


class Delays(NamedTuple):
    """Seconds from the recording of events, sorted. The messages wait for the rows, so the first are the limit."""

    until_projected: list[float]
    until_arrived: list[float]


async def receiver_service() -> int:
    """Note the time at which the first message of each position arrives."""
    first_at: dict[int, float] = {}

    async def receive(request: web.Request) -> web.Response:
        events = orjson.loads(await request.read())
        now = time.time()
        for event in events:
            first_at.setdefault(int(event["id"].split("/", 1)[0]), now)
        return web.Response(status=204)

    async def report(_: web.Request) -> web.Response:
        answer = web.json_response(list(first_at.items()))
        first_at.clear()
        return answer

    app = web.Application(client_max_size=RECEIVER_BYTES_MAX)
    app.router.add_post("/", receive)
    app.router.add_get("/", report)
    return await servers.listen(app)


async def outgoing(events: int, runs: int) -> list[Figure]:
    """Send the facts of a whole ledger through one endpoint; then measure the delay at EVENTS_PER_SECOND.

    At last measure the intake with and without an endpoint, in turn.
    """
    sent, least, delays = list[float](), list[float](), list[Delays]()
    messages: list[Message] = []
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        await append_history(database, bench_ledger, build_history(events))
        await catch_up(database.connection, bench_ledger.ledger.ledger_id)
        with servers.run_server(receiver_service) as (port, _):
            url = f"http://127.0.0.1:{port}/"
            for run in range(runs):
                endpoint = await _make_endpoint(database, bench_ledger.ledger, url, after=0)
                messages = await _read_all(database, endpoint)
                least.append(len(messages) / await _post_all(endpoint, messages))
                sent.append(len(messages) / await _dispatch_all(database, endpoint))
                await delete_endpoint(database.connection, endpoint)
                delays.append(await _measure_delay(database, bench_ledger, url, events, seed=run + 2))
            without, with_endpoint = await _measure_intake(database, bench_ledger, url, events, runs)
    limit = "the same bytes, signed and posted"
    return [
        Figure(limit, "facts", len(messages), least),
        Figure("facts through one endpoint", "facts", len(messages), sent, limit),
        _delay_figure("until rows reflect an event", [one.until_projected for one in delays]),
        _delay_figure("until a message has arrived", [one.until_arrived for one in delays]),
        Figure(INTAKE, "deliveries", events, without),
        Figure("intake over HTTP, facts to an endpoint", "deliveries", events, with_endpoint, INTAKE),
    ]


async def _measure_intake(
    database: BenchDatabase, bench_ledger: BenchLedger, url: str, events: int, runs: int
) -> tuple[list[float], list[float]]:
    """Return deliveries a second while nothing is sent out, and while an endpoint gets each fact.

    Both have a projector. The runs take turns, each pair in another order, because a machine changes its speed.
    """
    ledger = bench_ledger.ledger
    endpoint = await _make_endpoint(database, ledger, url, after=await _tail(database, ledger.ledger_id))
    rates: dict[bool, list[float]] = {False: [], True: []}
    with (
        servers.run_server(servers.whole_service, database.dsn, database.folder, True) as service,
        servers.run_server(dispatch_alone, database.dsn),
    ):
        await send_requests(service.port, requests_of(build_history(WARM_UP, seed=97), bench_ledger.inbound))
        for run in range(runs):
            for is_sending in (False, True) if run % 2 else (True, False):
                change = enable_endpoint if is_sending else disable_endpoint
                await change(database.connection, MASTER_KEY, endpoint)
                await _await_rows(database, ledger.ledger_id)
                history = build_history(events, seed=200 + 2 * run + is_sending)
                load = await send_requests(service.port, requests_of(history, bench_ledger.inbound))
                rates[is_sending].append(load.per_second)
    return rates[False], rates[True]


async def _await_rows(database: BenchDatabase, ledger_id: int) -> None:
    """Wait until the rows reflect every event, and the dispatcher has seen a changed endpoint."""
    while await database.connection.fetchval(CHECKPOINT, ledger_id) < await _tail(database, ledger_id):  # noqa: ASYNC110
        await asyncio.sleep(POLL_SECONDS)
    await asyncio.sleep(2 * REFRESH_SECONDS)


def _delay_figure(name: str, delays: list[list[float]]) -> Figure:
    return Figure(
        name,
        "events",
        min(map(len, delays)),
        [float(EVENTS_PER_SECOND)] * len(delays),
        p50_ms=[1000 * quantile(one, 0.5) for one in delays],
        p99_ms=[1000 * quantile(one, 0.99) for one in delays],
    )


async def _make_endpoint(database: BenchDatabase, ledger: Any, url: str, *, after: int) -> Endpoint:
    options = EndpointOptions(types=["fact.recorded"], events_per_request=EVENTS_PER_REQUEST)
    return await administration.create(
        database.connection, MASTER_KEY, ledger, url, options, destinations=HERE, after=after, since=None
    )


async def _read_all(database: BenchDatabase, endpoint: Endpoint) -> list[Message]:
    cursor, messages = FeedCursor(0), list[Message]()
    while (page := await read_page(database.connection, endpoint, cursor)).end != cursor:
        messages += page.messages
        cursor = page.end
    return messages


async def _post_all(endpoint: Endpoint, messages: Sequence[Message]) -> float:
    """Sign and post messages without a database. Return the seconds."""
    async with ReceiverClient(HERE.networks) as client:
        sink = open_sink(endpoint, client, HERE)
        with Stopwatch() as watch:
            for start in range(0, len(messages), EVENTS_PER_REQUEST):
                answer = await sink.send(messages[start : start + EVENTS_PER_REQUEST])
                assert answer.is_success, answer
    return watch.seconds


async def _dispatch_all(database: BenchDatabase, endpoint: Endpoint) -> float:
    """Dispatch until the endpoint has got everything. Return the seconds since the first attempt began."""
    dispatching = asyncio.create_task(Dispatcher(database.dsn, MASTER_KEY, destinations=HERE).run())
    try:
        with Stopwatch() as watch:
            while (await administration.describe(database.connection, [endpoint]))[0]["events_behind"]:  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
    finally:
        await cancel_all([dispatching])
    return watch.seconds


async def _measure_delay(database: BenchDatabase, bench_ledger: Any, url: str, events: int, *, seed: int) -> Delays:
    """Append at a pace while a projector and a dispatcher run, and measure the delays."""
    ledger_id = bench_ledger.ledger.ledger_id
    endpoint = await _make_endpoint(database, bench_ledger.ledger, url, after=await _tail(database, ledger_id))
    async with aiohttp.ClientSession() as session:
        await _arrivals(session, url)  # forgets earlier ones
        with servers.run_server(servers.project_alone, database.dsn), servers.run_server(dispatch_alone, database.dsn):
            before = await _tail(database, ledger_id)
            projected_at: dict[int, float] = {}
            sampling = asyncio.create_task(_sample_checkpoint(database.dsn, ledger_id, projected_at))
            history = build_history(events, seed=seed)
            step = EVENTS_PER_SECOND // STEPS_PER_SECOND
            begun = time.perf_counter()
            for number, start in enumerate(range(0, len(history), step), 1):
                await append_history(database, bench_ledger, history[start : start + step])
                await asyncio.sleep(max(0.0, begun + number / STEPS_PER_SECOND - time.perf_counter()))
            while (await administration.describe(database.connection, [endpoint]))[0]["events_behind"]:  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
            await cancel_all([sampling])
        arrivals = await _arrivals(session, url)
    await delete_endpoint(database.connection, endpoint)
    recorded = dict(await database.connection.fetch(RECORDED_AT, ledger_id))
    found = [
        sorted(at - recorded[position] for position, at in times.items() if position > before)
        for times in (projected_at, arrivals)
    ]
    return Delays(*found)


async def _sample_checkpoint(dsn: str, ledger_id: int, projected_at: dict[int, float]) -> None:
    """Note every POLL_SECONDS the positions that the rows have reached meanwhile, until cancelled."""
    connection = await connect(dsn)
    last: int = await connection.fetchval(CHECKPOINT, ledger_id)
    try:
        while True:
            reached: int = await connection.fetchval(CHECKPOINT, ledger_id)
            now = time.time()
            projected_at.update((position, now) for position in range(last + 1, reached + 1))
            last = reached
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await connection.close()


async def _tail(database: BenchDatabase, ledger_id: int) -> int:
    last: int | None = await database.connection.fetchval(
        "SELECT max(position) FROM ledger.events WHERE ledger_id = $1", ledger_id
    )
    return last or 0


async def _arrivals(session: aiohttp.ClientSession, url: str) -> dict[int, float]:
    """Return the time of the first arrival by position, and let the receiver forget it."""
    async with session.get(url) as response:
        return dict(orjson.loads(await response.read()))


async def dispatch_alone(dsn: str) -> int:
    """Run a dispatcher. The port means nothing."""
    servers.keep(asyncio.create_task(Dispatcher(dsn, MASTER_KEY, destinations=HERE).run()))
    return 0
