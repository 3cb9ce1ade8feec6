"""A database for one benchmark: PostgreSQL of its own in a temporary folder, fsync on, gone afterwards."""

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
from benchmarks.simulation import Mix, Sent
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


class Place(NamedTuple):
    """A migrated database without a ledger, and one connection to it."""

    dsn: str
    folder: Path
    connection: Connection


class Book(NamedTuple):
    """One ledger, and what feeds it by source."""

    ledger: Ledger
    inbound: dict[str, InboundConnection]
    vault: Vault


@asynccontextmanager
async def opened() -> AsyncIterator[Place]:
    """Make a database and take it away afterwards."""
    with tempfile.TemporaryDirectory(prefix="loyalty-bench-") as folder:
        path = Path(folder)
        with EmbeddedPostgres.start(path / "data") as postgres:
            await migrations.upgrade(postgres.dsn())
            connection = await connect(postgres.dsn())
            await generations.ensure_active_generation(connection)
            try:
                yield Place(postgres.dsn(), path, connection)
            finally:
                await connection.close()


def server_pid(place: Place) -> int:
    """Give the process id of the place's PostgreSQL."""
    return int((place.folder / "data" / "postgres" / "postmaster.pid").read_text().partition("\n")[0])


async def new_book(place: Place, name: str) -> Book:
    """Make a ledger with one connection a vendor."""
    ledger = await registry.create_ledger(place.connection, name)
    inbound = {
        source: await registry.create_connection(place.connection, MASTER_KEY, ledger, source=source, secret=SECRET)
        for source in SOURCES
    }
    return Book(ledger, inbound, Vault(MASTER_KEY))


async def fill(place: Place, book: Book, deliveries: Sequence[Sent]) -> int:
    """Append a history in its own order; give the number of events."""
    origins = {source: one.origin(book.vault) for source, one in book.inbound.items()}
    events = 0
    for start in range(0, len(deliveries), BLOCK):
        block = [identify(origins[source], body) for source, body in deliveries[start : start + BLOCK]]
        appended = await append(place.connection, book.vault, book.ledger.ledger_id, block)
        events += sum(map(len, appended))
    return events


def a_history(deliveries: int, seed: int = 1) -> list[Sent]:
    """Give a history of a size whose customers grow with it."""
    return list(history(deliveries, Mix(seed=seed, customers=max(100, deliveries // 10))))


class Watch:
    """Times a stretch: `with Watch() as watch: …` and then `watch.seconds`."""

    seconds: float

    def __enter__(self) -> "Watch":
        self._begun = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._begun
