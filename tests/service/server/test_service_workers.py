"""Several service processes behind one address: replaced under load, killed, and stopped, without a lost delivery."""

import asyncio
import contextlib
import itertools
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from ledger.database import connect
from ledger.privacy.encryption import MasterKey
from ledger.store import registry
from ledger.store.registry import InboundConnection
from service.embedded.server import EmbeddedPostgres
from tests.service.cli.test_cli import serving
from tests.support.payloads import issued

SENDERS = 3
CUSTOMERS = 5
WAIT_SECONDS_MAX = 240.0  # a process starts slowly beside other tests


class Senders:
    """Vendors that deliver over a new connection each time, and keep every answer."""

    def __init__(self, url: str, inbound: InboundConnection) -> None:
        self.url = f"{url}/v1/hooks/{inbound.connection_id}"
        self.headers = {inbound.header: inbound.secrets[0].decode()}
        self.acknowledged: list[str] = []
        self.statuses: set[int] = set()
        self.broken = 0  # connections that broke before their answer

    async def send(self, client: aiohttp.ClientSession, sender: int) -> None:
        for number in itertools.count():
            name = f"{sender}-{number}"
            body = issued(name, number, number % CUSTOMERS, 10)
            try:
                async with client.post(self.url, data=body, headers=self.headers) as response:
                    self.statuses.add(response.status)
                    if response.status == 200:
                        self.acknowledged.append(name)
            except aiohttp.ClientConnectionError:
                self.broken += 1

    @contextlib.asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:
            tasks = [asyncio.create_task(self.send(client, sender)) for sender in range(SENDERS)]
            yield
            assert [task for task in tasks if task.done()] == []
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def until_acknowledged(self, more: int) -> None:
        """Wait until some more deliveries are acknowledged."""
        wanted = len(self.acknowledged) + more
        while len(self.acknowledged) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def children(parent: int) -> set[int]:
    """Return the worker processes of a process."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, ppid = stat.read_text().rpartition(")")[2].split()[:2]
            command = stat.with_name("cmdline").read_bytes()
            if int(ppid) == parent and state != "Z" and b"spawn_main" in command:
                found.add(int(stat.parent.name))
    return found


async def sign_up(folder: Path) -> tuple[registry.Ledger, InboundConnection]:
    key = MasterKey.from_file(folder / "master.key")
    with EmbeddedPostgres.start(folder) as server:
        connection = await connect(server.dsn())
        ledger = await registry.create_ledger(connection, "acme")
        inbound = await registry.create_connection(connection, key, ledger, source="capillary")
        await connection.close()
    return ledger, inbound


@pytest.mark.timeout(300)
async def test_workers_are_replaced_killed_and_stopped_under_load_without_a_loss(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data, "--workers=2") as (process, url):
        ledger, inbound = await sign_up(data)
        senders = Senders(url, inbound)
        first = children(process.pid)
        assert len(first) == 3  # two workers and the projector
        async with senders.sending(), asyncio.timeout(WAIT_SECONDS_MAX):
            await senders.until_acknowledged(10)

            process.send_signal(signal.SIGHUP)
            while len(first & children(process.pid)) > 1 or len(children(process.pid)) > 3:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await senders.until_acknowledged(10)
            assert (senders.statuses, senders.broken) == ({200}, 0)

            second = children(process.pid)
            killed = min(second - first)
            os.kill(killed, signal.SIGKILL)
            while len(children(process.pid) - {killed}) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            await senders.until_acknowledged(10)
            assert senders.statuses == {200}

            process.send_signal(signal.SIGTERM)
            while process.poll() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            assert (process.returncode, senders.statuses) == (0, {200})

    with EmbeddedPostgres.start(data) as server:
        connection = await connect(server.dsn())
        rows = await connection.fetch(
            "SELECT position, payload FROM ledger.events WHERE ledger_id = $1 ORDER BY position", ledger.ledger_id
        )
        await connection.close()
    stored = [row["payload"].split(b'"eventId": "')[1].split(b'"')[0].decode() for row in rows]
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(set(stored)) == len(stored)
    assert set(senders.acknowledged) <= set(stored)
