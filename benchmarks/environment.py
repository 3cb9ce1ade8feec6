"""A database for one benchmark: an embedded PostgreSQL with fsync in a temporary folder, removed afterwards."""

import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import migrations
from benchmarks.history import history
from benchmarks.payload_templates import SOURCES
from benchmarks.servers import MASTER_KEY
from benchmarks.simulation import Mix, SentDelivery
from ledger.database import Connection, connect
from ledger.intake.identify import identify
from ledger.privacy.vault import Vault
from ledger.store import registry
from ledger.store.append import append
from ledger.store.registry import InboundConnection, Ledger
from projections.engine import generations
from service.embedded.server import EmbeddedPostgres

BLOCK = 1_000
SECRET = "0123456789abcdef0123456789abcdef"  # of every connection


class BenchDatabase(NamedTuple):
    """A migrated database without a ledger, with one connection to it."""

    dsn: str
    folder: Path
    connection: Connection


class BenchLedger(NamedTuple):
    """One ledger with its inbound connections by source."""

    ledger: Ledger
    inbound: dict[str, InboundConnection]
    vault: Vault


@asynccontextmanager
async def open_database() -> AsyncIterator[BenchDatabase]:
    """Create a database, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="loyalty-bench-") as folder:
        path = Path(folder)
        with EmbeddedPostgres.start(path / "data") as postgres:
            await migrations.upgrade(postgres.dsn())
            connection = await connect(postgres.dsn())
            await generations.ensure_active_generation(connection)
            try:
                yield BenchDatabase(postgres.dsn(), path, connection)
            finally:
                await connection.close()


def postgres_pid(database: BenchDatabase) -> int:
    """Return the process id of the database's PostgreSQL."""
    return int((database.folder / "data" / "postgres" / "postmaster.pid").read_text().partition("\n")[0])


async def create_bench_ledger(database: BenchDatabase, name: str) -> BenchLedger:
    """Create a ledger with one inbound connection for each vendor."""
    ledger = await registry.create_ledger(database.connection, name)
    inbound = {
        source: await registry.create_connection(database.connection, MASTER_KEY, ledger, source=source, secret=SECRET)
        for source in SOURCES
    }
    return BenchLedger(ledger, inbound, Vault(MASTER_KEY))


async def append_history(database: BenchDatabase, bench_ledger: BenchLedger, deliveries: Sequence[SentDelivery]) -> int:
    """Append a history in its own order. Return the number of events."""
    origins = {source: one.origin(bench_ledger.vault) for source, one in bench_ledger.inbound.items()}
    events = 0
    for start in range(0, len(deliveries), BLOCK):
        block = [identify(origins[source], body) for source, body in deliveries[start : start + BLOCK]]
        appended = await append(database.connection, bench_ledger.vault, bench_ledger.ledger.ledger_id, block)
        events += sum(map(len, appended))
    return events


def build_history(deliveries: int, seed: int = 1) -> list[SentDelivery]:
    """Return a history. The number of its customers grows with the number of deliveries."""
    return list(history(deliveries, Mix(seed=seed, customers=max(100, deliveries // 10))))


class Stopwatch:
    """Measures a block: `with Stopwatch() as watch: …`, then `watch.seconds`."""

    seconds: float

    def __enter__(self) -> "Stopwatch":
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begun
