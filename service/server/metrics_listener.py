"""Serve metrics on an address of their own, without a key: GET /metrics for Prometheus, GET /live for health checks.

The labels name ledgers and connections, so the address must not be public. A scrape costs a few milliseconds and never
waits longer than a few seconds. Many scrapes at once get one answer.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ledger.errors import SetupWrong
from service.api.health import live
from service.environment import service_url
from service.monitoring.database_gauges import DatabaseGauges
from service.monitoring.instruments import Instruments
from service.server.protocol import ConnectionLimits, LimitedRunner
from service.settings import Settings, split_address

CONNECTIONS_PER_ADDRESS_MAX = 16
KEEPALIVE_SECONDS = 75.0  # longer than usual intervals of scrapes
KEPT_SECONDS = 1.0  # an answer; faster scrapes cost nothing
CLOSE_SECONDS_MAX = 1.0


class MetricsPage:
    """The text of all metrics. It is written again if it is older than KEPT_SECONDS."""

    def __init__(self, instruments: Instruments, gauges: DatabaseGauges | None) -> None:
        self._instruments = instruments
        self._gauges = gauges
        self._text = b""
        self._written_at = float("-inf")
        self._lock = asyncio.Lock()

    async def get_metrics(self, _request: web.Request) -> web.Response:
        """GET /metrics: all metrics in Prometheus' text format."""
        async with self._lock:
            if time.monotonic() - self._written_at >= KEPT_SECONDS:
                if self._gauges is not None:
                    await self._gauges.refresh()
                # On a thread: many ledgers and routes take some milliseconds, and requests go on meanwhile.
                self._text = await asyncio.to_thread(generate_latest, self._instruments.registry)
                self._written_at = time.monotonic()
        return web.Response(body=self._text, headers={"Content-Type": CONTENT_TYPE_LATEST})


@asynccontextmanager
async def metrics_listener(
    dsn: str, settings: Settings, instruments: Instruments, *, worker: int = 0
) -> AsyncIterator[str | None]:
    """Serve metrics at `settings.metrics` while the block runs, and yield the URL. Without an address do nothing.

    A worker of several serves only its own metrics, at the port increased by its number. Raises SetupWrong if it cannot
    listen there.
    """
    if settings.metrics is None:
        yield None
        return
    gauges = None if worker else DatabaseGauges(dsn, settings, instruments.registry)
    page = MetricsPage(instruments, gauges)
    app = web.Application()
    app.router.add_routes([web.get("/metrics", page.get_metrics), web.get("/live", live)])
    runner = LimitedRunner(
        app,
        connections=ConnectionLimits(CONNECTIONS_PER_ADDRESS_MAX),
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=CLOSE_SECONDS_MAX,
    )
    await runner.setup()
    host, port = split_address(settings.metrics)
    try:
        try:  # a worker that is being replaced still listens
            await web.TCPSite(runner, host, port and port + worker, reuse_port=worker > 0 or None).start()
        except OSError as error:
            raise SetupWrong(f"metrics cannot be served at {settings.metrics}: {error.strerror or error}") from error
        yield f"{service_url(host, runner.addresses[0][1])}/metrics"
    finally:
        await runner.cleanup()
        if gauges is not None:
            await gauges.close()
