"""Load a long history into a ledger with several processes side by side.

Each process appends a history of its own about the same customers. So events of one process are late for the others, or
contradict theirs.
"""

import asyncio
import multiprocessing
from itertools import islice
from typing import NamedTuple

import uvloop

from benchmarks.environment import BLOCK, BenchDatabase, create_bench_ledger
from benchmarks.history import history
from benchmarks.servers import MASTER_KEY
from benchmarks.simulation import Mix
from ledger.database import connect
from ledger.events import Origin
from ledger.intake.identify import identify
from ledger.privacy.vault import Vault
from ledger.store.append import append

EVENTS_PER_CUSTOMER = 10


class LoadShare(NamedTuple):
    """The deliveries that one process loads."""

    dsn: str
    ledger_id: int
    origins: dict[str, Origin]
    deliveries: int
    mix: Mix


async def load(database: BenchDatabase, events: int, processes: int) -> None:
    """Append histories of `events` deliveries in total to a new ledger."""
    bench_ledger = await create_bench_ledger(database, "history")
    origins = {source: one.origin(bench_ledger.vault) for source, one in bench_ledger.inbound.items()}
    customers = max(100, events // EVENTS_PER_CUSTOMER)
    shares = [
        LoadShare(
            database.dsn,
            bench_ledger.ledger.ledger_id,
            origins,
            events // processes,
            Mix(seed=seed + 1, customers=customers),
        )
        for seed in range(processes)
    ]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        await asyncio.to_thread(pool.map, _load, shares)


def _load(share: LoadShare) -> None:
    async def work() -> None:
        connection = await connect(share.dsn)
        vault = Vault(MASTER_KEY)
        deliveries = history(share.deliveries, share.mix)
        while block := [identify(share.origins[source], body) for source, body in islice(deliveries, BLOCK)]:
            await append(connection, vault, share.ledger_id, block)
        await connection.close()

    uvloop.run(work())
