"""The service over a fresh database, and a client for each of its ledgers, as vendor and as caller."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp.test_utils import TestServer

from ledger.database import Connection, connect
from ledger.privacy.encryption import MasterKey
from ledger.store import api_keys, registry
from ledger.store.registry import InboundConnection, Ledger
from service.server.app import make_app
from service.server.protocol import ConnectionLimits, LimitedRunner
from service.settings import Settings
from tests.support.contract import CheckedClient

UNTIL_SECONDS_MAX = 30
CONNECTIONS_MAX = 10_000
MEMORY_MIB = 4096  # of the process of the tests, with all that they keep
MASTER_KEY = MasterKey(bytes(range(32)))


async def wait_until(done: Callable[[], bool]) -> None:
    """Wait until a condition holds for which there is no event to wait for."""
    async with asyncio.timeout(UNTIL_SECONDS_MAX):
        while not done():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(0.01)


class Served(TestServer):
    """A server that runs an application as the service does."""

    async def _make_runner(self, **settings: Any) -> LimitedRunner:
        unlimited = ConnectionLimits(CONNECTIONS_MAX)
        return LimitedRunner(self.app, connections=unlimited, auto_decompress=False, lingering_time=0.5, **settings)


class TenantClient:
    """The vendor and the caller of one ledger: delivers webhooks and sends requests."""

    def __init__(self, client: CheckedClient, ledger: Ledger, key: str) -> None:
        self.client = client
        self.ledger = ledger
        self.key = key
        self.dsn = ""
        self.inbound: dict[str, InboundConnection] = {}

    async def deliver(self, body: bytes, source: str = "capillary", **headers: str) -> tuple[int, Any]:
        """POST a body over the connection of a source, with its secret, or with the given headers instead."""
        inbound = self.inbound[source]
        given = headers or {inbound.header: inbound.secrets[0].decode()}
        response = await self.client.post(f"/v1/hooks/{inbound.connection_id}", data=io.BytesIO(body), headers=given)
        return response.status, await response.json()

    async def ask(self, path: str, *, key: str | None = None, **query: str) -> tuple[int, Any]:
        """GET a path with the ledger's key."""
        bearer = {"Authorization": f"Bearer {self.key if key is None else key}"}
        response = await self.client.get(path, params=query, headers=bearer)
        return response.status, await response.json()

    async def ask_now(self, path: str, **query: str) -> Any:
        """GET a path once all appended events are projected. The status must be 200."""
        _, projections = await self.ask("/v1/projections")
        status, body = await self.ask(path, min_position=str(projections["ledger_position"]), **query)
        assert status == 200, body
        return body

    async def wait_for_position(self, position: int) -> None:
        """Wait until the projections reflect a position. The ledger may not have reached it yet."""
        async with asyncio.timeout(UNTIL_SECONDS_MAX):
            while (await self.ask("/v1/projections"))[1]["as_of_position"] < position:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Connection]:
        """Lend a connection to the database that is served."""
        connection = await connect(self.dsn)
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def serving(dsn: str, *names: str, settings: Settings | None = None) -> AsyncIterator[list[TenantClient]]:
    """Serve a database with a ledger of each name. Each ledger has a key to read and a header connection per source."""
    async with CheckedClient(Served(make_app(dsn, settings or Settings(memory_mib=MEMORY_MIB), MASTER_KEY))) as client:
        connection = await connect(dsn)
        clients = []
        for name in names:
            ledger = await registry.create_ledger(connection, name)
            client_of_ledger = TenantClient(
                client, ledger, await api_keys.create_key(connection, MASTER_KEY, ledger, ["read"])
            )
            for source in ("capillary", "ascenda", "fabric"):
                client_of_ledger.inbound[source] = await registry.create_connection(
                    connection, MASTER_KEY, ledger, source=source
                )
            client_of_ledger.inbound["voucherify"] = await registry.create_connection(
                connection, MASTER_KEY, ledger, source="voucherify", scheme="header", header="x-secret"
            )
            client_of_ledger.dsn = dsn
            clients.append(client_of_ledger)
        await connection.close()
        yield clients
