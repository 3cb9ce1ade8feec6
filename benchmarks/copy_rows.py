"""Load a long history into a ledger by several processes side by side: each tells one of its own, of the same
customers, so that what one of them tells is late or contradicted for the others."""

import asyncio
import multiprocessing
from itertools import islice
from typing import NamedTuple

import uvloop

from benchmarks.environment import BLOCK, Place, new_book
from benchmarks.history import history
from benchmarks.servers import MASTER_KEY
from benchmarks.simulation import Mix
from ledger.database import connect
from ledger.intake.identify import Origin, identify
from ledger.privacy.vault import Vault
from ledger.store.append import append

EVENTS_PER_CUSTOMER = 10


class Share(NamedTuple):
    """What one process loads."""

    dsn: str
    ledger_id: int
    origins: dict[str, Origin]
    deliveries: int
    mix: Mix


async def load(place: Place, events: int, processes: int) -> None:
    """Append histories of so many deliveries altogether to a new ledger."""
    book = await new_book(place, "history")
    origins = {source: one.origin(book.vault) for source, one in book.inbound.items()}
    customers = max(100, events // EVENTS_PER_CUSTOMER)
    shares = [
        Share(place.dsn, book.ledger.ledger_id, origins, events // processes, Mix(seed=seed + 1, customers=customers))
        for seed in range(processes)
    ]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        await asyncio.to_thread(pool.map, _load, shares)


def _load(share: Share) -> None:
    async def work() -> None:
        connection = await connect(share.dsn)
        vault = Vault(MASTER_KEY)
        told = history(share.deliveries, share.mix)
        while block := [identify(share.origins[source], body) for source, body in islice(told, BLOCK)]:
            await append(connection, vault, share.ledger_id, block)
        await connection.close()

    uvloop.run(work())
