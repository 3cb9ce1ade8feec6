"""The measured servers, each in a process of its own: the service, and servers that do the least possible work."""

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, NamedTuple, cast

import orjson
import uvloop
from aiohttp import web

from ledger.database import connect
from ledger.gc_tuning import freeze_loaded_objects
from ledger.privacy.encryption import MasterKey
from ledger.store.api_keys import ApiAccess
from ledger.store.registry import InboundConnection
from ledger.transparency.signer import Signer
from projections.engine import generations
from projections.engine.progress import ProjectionProgress
from projections.engine.worker import Projector
from service.api.requests.webhook_auth import authenticate
from service.api.responses import json_response
from service.queries.reader_pool import ReaderPool
from service.server.app import make_app
from service.server.projector_process import projector_process
from service.server.protocol import LimitedRunner
from service.settings import Settings

MASTER_KEY = MasterKey(bytes(32))
ONE_ROW = "SELECT account_id, available, promised, debt FROM accounts WHERE ledger_id = $1 AND account_id = $2"
KEPT: set["asyncio.Task[None]"] = set()  # background work of a server, which would be collected otherwise
CANNED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class RunningServer(NamedTuple):
    port: int
    pid: int


class CannedProtocol(asyncio.Protocol):
    """Answers every request with the same bytes: the limit of the load client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, _data: bytes) -> None:
        self._transport.write(CANNED)


async def canned_server() -> int:
    server = await asyncio.get_running_loop().create_server(CannedProtocol, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    return port


async def whole_service(dsn: str, data: Path, project: bool, seal: bool = False) -> int:
    """Run the service, with or without a projector process, and with or without a sealer that signs every second."""
    settings = Settings(data=data, database_url=None, checkpoint_seconds=1)
    app = make_app(dsn, settings, MASTER_KEY, project=False, signer=Signer(data / "signer") if seal else None)
    if project:
        app.cleanup_ctx.append(projector_process(dsn))
    return await listen(app)


async def project_alone(dsn: str) -> int:
    """Run a projector. The port means nothing."""
    keep(asyncio.create_task(Projector(dsn, ProjectionProgress()).run()))
    return 0


async def bare_webhook(inbound: dict[str, InboundConnection]) -> int:
    """Authenticate and parse each delivery, and store nothing."""

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        authenticate(inbound[request.match_info["connection_id"]], request.headers, body, 0.0)
        orjson.loads(body)
        return json_response({"ledger": "bench", "events": [{"position": 1, "outcome": "appended", "kind": ""}]})

    app = web.Application()
    app.router.add_post("/v1/hooks/{connection_id}", receive)
    return await listen(app)


async def bare_query(dsn: str, access: ApiAccess) -> int:
    """Read one row by its primary key for each request."""
    pool = ReaderPool(dsn, Settings().pool_size)
    connection = await connect(dsn)
    await pool.enter((await generations.active_generation(connection)).generation)
    await connection.close()

    async def get(request: web.Request) -> web.Response:
        async with pool.acquire() as connection:
            row = await connection.fetchrow(ONE_ROW, access.ledger.ledger_id, request.match_info["id"])
        return json_response(dict(row))

    app = web.Application()
    app.router.add_get("/v1/accounts/{id}", get)
    return await listen(app)


def keep(task: "asyncio.Task[None]") -> None:
    """Keep a task until the process ends."""
    KEPT.add(task)


async def listen(app: web.Application) -> int:
    runner = LimitedRunner(app, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    return port


@contextmanager
def run_server(start: Callable[..., Any], *arguments: Any) -> Iterator[RunningServer]:
    """Run one of these servers in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, start, arguments))
    process.start()
    theirs.close()  # so that `recv` fails if the process ends
    try:
        yield RunningServer(ours.recv(), process.pid or 0)
    finally:
        ours.close()
        process.join(20)
        process.kill()


def _run(pipe: Pipe, start: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    async def serve() -> None:
        port = await start(*arguments)
        freeze_loaded_objects()  # as `loyalty serve` does; for all servers, to be fair
        pipe.send(port)
        over = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), over.set)  # readable when the other end is closed
        await over.wait()

    uvloop.run(serve())
