"""Gauges that are read from the database when they are asked for, and kept for some seconds.

A dead projector, sealer or appender therefore shows: each reading is of the database, not of this process. Nothing here
can hang the service. A reading has a connection of its own, and time limits. Without the database the gauges are absent
and `loyalty_database_up` is 0.
"""

import asyncio
import logging
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import asyncpg
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from ledger.background import LogThrottle, cancel
from ledger.database import CONNECTION_LOST, Session, connect
from ledger.failures import describe_failure
from service.monitoring import samples
from service.monitoring.list_gauges import read_list_gauges
from service.monitoring.position_gauges import read_position_gauges
from service.monitoring.samples import GaugeFamily, Sample
from service.settings import Settings

KEPT_SECONDS = 5.0  # of the gauges of positions
LISTS_KEPT_SECONDS = 60.0  # of the gauges of open matters
LISTS_STALE_SECONDS = 600.0  # then they are absent
READ_SECONDS_MAX = 3.0  # for all gauges of positions; a scrape waits no longer
STATEMENT_SECONDS_MAX = 2.0
LIST_STATEMENT_SECONDS_MAX = 15.0
LOCK_SECONDS_MAX = 1.0

_log = logging.getLogger(__name__)


class DatabaseGauges(Collector):
    """The gauges of one database. Registered with a process's instruments, they are part of its scrape."""

    def __init__(self, dsn: str, settings: Settings, registry: CollectorRegistry) -> None:
        self._dsn = dsn
        self._settings = settings
        self._witnesses = [witness.key.name for witness in settings.witness_addresses()]
        self._connection: Session | None = None
        self._positions: list[Sample] = []
        self._read_at = float("-inf")
        self._lists: dict[str, list[Sample]] = {}
        self._lists_read_at = self._lists_tried_at = float("-inf")
        self._reading_lists: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._faults = LogThrottle(_log)
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """Yield the gauges of the last reading. Names that end with _total are counters, which the database keeps."""
        current = [*self._positions, *disk_samples(self._settings)]
        if time.monotonic() - self._lists_read_at < LISTS_STALE_SECONDS:
            current += [sample for some in self._lists.values() for sample in some]
        by_family = defaultdict[GaugeFamily, list[Sample]](list)
        for sample in current:
            by_family[sample.family].append(sample)
        for family, of_family in by_family.items():
            kind = CounterMetricFamily if family.name.endswith("_total") else GaugeMetricFamily
            gauge = kind(family.name, family.help, labels=family.labels)
            for sample in of_family:
                gauge.add_metric(sample.labels, sample.value)
            yield gauge

    def describe(self) -> list[GaugeMetricFamily]:
        """Return nothing, so that registering does not read the database."""
        return []

    async def refresh(self) -> None:
        """Read the gauges again if they are older than KEPT_SECONDS. Returns within READ_SECONDS_MAX.

        The gauges of open matters are read in the background; the next scrape shows them.
        """
        async with self._lock:
            if time.monotonic() - self._read_at < KEPT_SECONDS:
                return
            self._positions = await self._read_positions()
            self._read_at = time.monotonic()
        is_reading = self._reading_lists is not None and not self._reading_lists.done()
        if not is_reading and time.monotonic() - self._lists_tried_at >= LISTS_KEPT_SECONDS:
            self._lists_tried_at = time.monotonic()
            self._reading_lists = asyncio.create_task(self._read_lists())

    async def refresh_lists(self) -> None:
        """Wait for the reading of open matters that `refresh` has begun."""
        if self._reading_lists is not None:
            await self._reading_lists

    async def close(self) -> None:
        """Cancel a reading, and close the connection."""
        if self._reading_lists is not None:
            await cancel(self._reading_lists)
        if self._connection is not None:
            await self._connection.close()

    async def _read_positions(self) -> list[Sample]:
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await connect(
                        self._dsn,
                        search_path="pg_catalog",
                        statement_seconds=STATEMENT_SECONDS_MAX,
                        lock_seconds_max=LOCK_SECONDS_MAX,
                    )
                found = await read_position_gauges(self._connection, self._witnesses)
        except (*CONNECTION_LOST, asyncpg.PostgresError) as error:
            self._faults.error("positions", "metrics lack the gauges of the database: %s", describe_failure(error))
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None
            return [Sample(samples.DATABASE_UP, (), 0)]
        self._faults.recovered("positions")
        return [*found, Sample(samples.DATABASE_UP, (), 1)]

    async def _read_lists(self) -> None:
        """Read the gauges of open matters on a connection of their own, which locks the active generation meanwhile."""
        try:
            connection = await connect(
                self._dsn, statement_seconds=LIST_STATEMENT_SECONDS_MAX, lock_seconds_max=LOCK_SECONDS_MAX
            )
            try:
                self._lists = await read_list_gauges(connection, self._lists)
                self._lists_read_at = time.monotonic()
            finally:
                await connection.close()
        except (*CONNECTION_LOST, asyncpg.PostgresError) as error:
            self._faults.error("lists", "metrics lack the gauges of open matters: %s", describe_failure(error))
        else:
            self._faults.recovered("lists")


def disk_samples(settings: Settings) -> Iterator[Sample]:
    """Yield the free space of the disks of the data folder and the signer's folder, as far as these exist."""
    for name, folder in monitored_folders(settings).items():
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        yield Sample(samples.DISK_FREE, (name,), usage.free)
        yield Sample(samples.DISK_RATIO, (name,), usage.free / max(1, usage.total))


def monitored_folders(settings: Settings) -> Mapping[str, Path]:
    """Return the folders that this software writes to, by a name for the label."""
    folders = {"signer": settings.signer or settings.data / "signer"}
    return folders if settings.database_url else {"data": settings.data, **folders}
