"""Sealing behind the appends: leaves a second into a fresh tree, and what the sealer costs HTTP ingest and appends.

Runs with and without the sealer are taken alternately, each on a ledger of its own; before each, all ledgers are
sealed, so that nobody catches up on another's account.
"""

import time

from benchmarks import servers
from benchmarks.environment import Place, Watch, a_history, fill, new_book, opened
from benchmarks.figures import Figure
from benchmarks.load import Offered, offer
from benchmarks.over_http import requests_of
from ledger.merkle import TILE_WIDTH, Frontier, leaf_hash
from ledger.store.registry import list_ledgers
from ledger.transparency.signer import Signer
from ledger.transparency.tree import seal_all
from ledger.transparency.tree_heads import sign_head

LEAVES_PER_EVENT = 40  # a leaf costs so much less than a delivery
ENTRY = b"x" * 400
# What is sealed are entries, and nothing else of an event is read for it.
MANY = """
    INSERT INTO ledger.events (ledger_id, position, connection_id, source, org, kind, event_key, content, variant,
                               occurred_at, recorded_at, delivery_position, ordinal, payload, entry, leaf_hash)
    SELECT $1, n, '-', '-', '-', '-', int8send(n) || int8send(n), '', '', NULL, now(), n, 0, '',
           e.entry, sha256('\\x00'::bytea || e.entry)
      FROM generate_series(1, $2::bigint) n, LATERAL (SELECT convert_to(rpad(n::text, 400), 'UTF8') AS entry) e
"""

HASHED = "leaves and nodes hashed in memory"
SEALED = "sealed and signed"
APPENDED = "append, blocks of 1,000"
APPENDED_SEALED = "the same, a sealer beside it"
TAKEN_IN = "HTTP ingest, with the projector"
TAKEN_IN_SEALED = "the same, with the sealer too"


async def seal(events: int, runs: int) -> list[Figure]:
    """Seal a whole ledger; append and take in deliveries with and without a sealer."""
    leaves = events * LEAVES_PER_EVENT
    rates: dict[str, list[float]] = {HASHED: [], SEALED: [], APPENDED: [], APPENDED_SEALED: []}
    offered: dict[str, list[Offered]] = {TAKEN_IN: [], TAKEN_IN_SEALED: []}
    async with opened() as place:
        for run in range(runs):
            rates[HASHED].append(_hash(leaves))
            rates[SEALED].append(await _seal(place, leaves, f"sealed-{run}"))
            for name in (APPENDED, APPENDED_SEALED)[:: 1 if run % 2 else -1]:
                rates[name].append(await _append(place, events, run, sealer=name == APPENDED_SEALED))
            for name in (TAKEN_IN, TAKEN_IN_SEALED)[:: 1 if run % 2 else -1]:
                offered[name].append(await _take_in(place, events, run, sealer=name == TAKEN_IN_SEALED))
    return [
        Figure(HASHED, "leaves", leaves, rates[HASHED]),
        Figure(SEALED, "leaves", leaves, rates[SEALED], HASHED),
        Figure(APPENDED, "deliveries", events, rates[APPENDED]),
        Figure(APPENDED_SEALED, "deliveries", events, rates[APPENDED_SEALED], APPENDED),
        _figure(TAKEN_IN, events, offered[TAKEN_IN], None),
        _figure(TAKEN_IN_SEALED, events, offered[TAKEN_IN_SEALED], TAKEN_IN),
    ]


def _hash(leaves: int) -> float:
    begun = time.perf_counter()
    frontier = Frontier()
    for _ in range(leaves // TILE_WIDTH):
        for _tile in frontier.extend(b"".join([leaf_hash(ENTRY) for _ in range(TILE_WIDTH)])):
            pass
    frontier.root()
    return leaves / (time.perf_counter() - begun)


async def _seal(place: Place, leaves: int, name: str) -> float:
    """Seal so many events that are there already, and sign."""
    book = await new_book(place, name)
    await place.connection.execute(MANY, book.ledger.ledger_id, leaves)
    with Watch() as watch:
        await sign_head(place.connection, Signer(place.folder / name), book.ledger)
    return leaves / watch.seconds


async def _append(place: Place, events: int, run: int, *, sealer: bool) -> float:
    """Append deliveries in blocks, while a service seals, or one that does not runs."""
    await _seal_what_is_there(place)
    book = await new_book(place, f"appended-{run}-{int(sealer)}")
    deliveries = a_history(events, seed=run + 1)
    with servers.running(servers.house, place.dsn, place.folder, False, sealer), Watch() as watch:
        await fill(place, book, deliveries)
    return events / watch.seconds


async def _take_in(place: Place, events: int, run: int, *, sealer: bool) -> Offered:
    await _seal_what_is_there(place)
    book = await new_book(place, f"taken-in-{run}-{int(sealer)}")
    requests = requests_of(a_history(events, seed=100 + run), book.inbound)
    with servers.running(servers.house, place.dsn, place.folder, True, sealer) as port:
        return await offer(port, requests)


async def _seal_what_is_there(place: Place) -> None:
    for ledger in await list_ledgers(place.connection):
        await seal_all(place.connection, ledger.ledger_id)


def _figure(name: str, size: int, runs: list[Offered], limit: str | None) -> Figure:
    taken = [run.p50_ms for run in runs], [run.p99_ms for run in runs]
    return Figure(name, "deliveries", size, [run.per_second for run in runs], limit, *taken)
