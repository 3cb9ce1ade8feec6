"""A ledger with events, and a dispatcher that hurries."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest

from ledger.background import cancel_all
from ledger.database import Connection
from ledger.privacy.encryption import MasterKey
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine.worker import catch_up
from service.outgoing import administration, dispatcher, endpoint_sender, retry_schedule
from service.outgoing.addresses import Destinations
from service.outgoing.dispatcher import Dispatcher
from service.outgoing.endpoint_options import EndpointOptions
from service.outgoing.endpoints import Endpoint
from service.outgoing.sinks.stream_credentials import StreamCredentials
from tests.support.client import MASTER_KEY
from tests.support.payloads import VAULT, delivery

HERE = Destinations([ip_network("127.0.0.0/8")])
WAIT_SECONDS_MAX = 60.0


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(dispatcher, "REFRESH_SECONDS", 0.02)
    monkeypatch.setattr(dispatcher, "WAIT_SECONDS", 0.02)
    monkeypatch.setattr(endpoint_sender, "WRITE_SECONDS", 0.0)
    monkeypatch.setattr(retry_schedule, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(retry_schedule, "RETRY_SECONDS_MAX", 0.02)


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    """Poll until there is a result."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not (found := await look()):  # noqa: ASYNC110 -- another task does what is awaited
            await asyncio.sleep(0.01)
    return found


async def record(connection: Connection, ledger: Ledger, *bodies: bytes) -> None:
    """Append deliveries, and bring the rows up to date."""
    await append(connection, VAULT, ledger.ledger_id, [delivery(body, ledger=ledger.name) for body in bodies])
    await catch_up(connection, ledger.ledger_id)


async def make_endpoint(
    connection: Connection,
    ledger: Ledger,
    url: str,
    *,
    after: int = 0,
    destinations: Destinations = HERE,
    credentials: StreamCredentials | None = None,
    **options: Any,
) -> Endpoint:
    return await administration.create(
        connection,
        MASTER_KEY,
        ledger,
        url,
        EndpointOptions(**options),
        destinations=destinations,
        after=after,
        since=None,
        credentials=credentials,
    )


@asynccontextmanager
async def dispatching(dsn: str, master_key: MasterKey = MASTER_KEY, **options: Any) -> AsyncIterator[None]:
    """Run a dispatcher that may send to this machine."""
    task = asyncio.create_task(Dispatcher(dsn, master_key, **{"destinations": HERE, **options}).run())
    try:
        yield
    finally:
        await cancel_all([task])


async def state_of(connection: Connection, endpoint: Endpoint) -> dict[str, Any]:
    [described] = await administration.describe(connection, [endpoint])
    return described


async def until_delivered(connection: Connection, endpoint: Endpoint) -> dict[str, Any]:
    """Wait until an endpoint has got everything."""

    async def delivered() -> dict[str, Any] | None:
        state = await state_of(connection, endpoint)
        return state if state["events_behind"] == 0 and not state["failures"] else None

    state: dict[str, Any] = await until(delivered)
    return state
