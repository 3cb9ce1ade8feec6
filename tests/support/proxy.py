"""A TCP proxy before PostgreSQL that fails as networks do: silent, cut, refused, slow, or cutting bytes off."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, quote, urlsplit


class Proxy:
    """Forwards connections. A setting holds for open connections, and for new ones where that is noted."""

    def __init__(self, target: str) -> None:
        self._target = target  # the path of a Unix socket
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._silenced: set[asyncio.StreamWriter] = set()
        self.delay_seconds = 0.0
        self.refuses = False
        self.silent = False  # new connections too
        self.pass_on: int | None = None  # bytes of the next answer that get through; then the connection is cut

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection in both directions until either side ends it."""
        if self.refuses:
            writer.transport.abort()
            return
        server_reader, server_writer = await asyncio.open_unix_connection(self._target)
        pair = (writer, server_writer)
        self._pairs.append(pair)
        if self.silent:
            self._silenced.update(pair)
        both = [
            asyncio.create_task(self._forward(reader, server_writer, is_answer=False)),
            asyncio.create_task(self._forward(server_reader, writer, is_answer=True)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            for end in pair:
                end.transport.abort()
            self._pairs.remove(pair)

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                if target in self._silenced:
                    await asyncio.Event().wait()  # swallow it: no reset, no end
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if is_answer and self.pass_on is not None:
                    target.write(data[: self.pass_on])
                    await target.drain()
                    self.pass_on = None
                    return
                target.write(data)
                await target.drain()

    def silence(self) -> None:
        """Stop forwarding on all open connections, without closing any; new ones work."""
        for pair in self._pairs:
            self._silenced.update(pair)

    def cut(self) -> None:
        """Reset all open connections; new ones work."""
        for pair in self._pairs:
            for end in pair:
                end.transport.abort()


@asynccontextmanager
async def proxied(dsn: str) -> AsyncIterator[tuple[str, Proxy]]:
    """Run a proxy before the server of a DSN that names a Unix socket; yield the DSN that leads through it."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    proxy = Proxy(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}")
    running: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(proxy.take(reader, writer))
        running.add(task)
        task.add_done_callback(running.discard)

    listener = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(accept, sock=listener)
    port = listener.getsockname()[1]
    try:
        yield f"postgresql://{parts.username}:{quote(parts.password or '')}@127.0.0.1:{port}{parts.path}", proxy
    finally:
        server.close()
        for task in list(running):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
