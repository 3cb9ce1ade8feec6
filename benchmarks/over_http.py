"""Deliveries in and accounts out over HTTP, by 32 connections, against the least that could do the same work."""

import hashlib
import hmac
from collections.abc import Sequence

from benchmarks import servers
from benchmarks.environment import a_history, fill, new_book, opened
from benchmarks.figures import Figure
from benchmarks.load import Offered, get, offer, post
from benchmarks.servers import MASTER_KEY
from benchmarks.simulation import Sent
from ledger.store import api_keys
from ledger.store.registry import InboundConnection
from projections.engine.worker import catch_up

WARM_UP = 500  # requests, until all connections are open that the first ones open
ACCOUNTS = "SELECT account_id FROM accounts WHERE ledger_id = $1 ORDER BY md5(account_id) LIMIT 5000"


async def ingest(events: int, runs: int) -> list[Figure]:
    """POST deliveries: what we do with each, and what authenticating and parsing alone would allow."""
    measured: dict[str, list[Offered]] = {
        "the load client alone": [],
        "authenticated and parsed, not stored": [],
        "stored": [],
        "stored, the projector beside it": [],
    }
    async with opened() as place:
        book = await new_book(place, "bench")
        by_id = {one.connection_id: one for one in book.inbound.values()}
        with (
            servers.running(servers.canned) as canned,
            servers.running(servers.bare_door, by_id) as bare,
            servers.running(servers.house, place.dsn, place.folder, False) as stored,
        ):
            for port in (bare, stored):
                await offer(port, requests_of(a_history(WARM_UP, seed=0), book.inbound))
            for run in range(runs):
                requests = requests_of(a_history(events, seed=run + 1), book.inbound)
                for name, port in zip(measured, (canned, bare, stored), strict=False):
                    measured[name].append(await offer(port, requests))
        with servers.running(servers.house, place.dsn, place.folder, True) as projected:
            await catch_up(place.connection, book.ledger.ledger_id)
            await offer(projected, requests_of(a_history(WARM_UP, seed=99), book.inbound))
            for run in range(runs):
                requests = requests_of(a_history(events, seed=100 + run), book.inbound)
                measured["stored, the projector beside it"].append(await offer(projected, requests))
    return [_figure(name, "deliveries", events, runs_of, list(measured)[1]) for name, runs_of in measured.items()]


def requests_of(deliveries: Sequence[Sent], inbound: dict[str, InboundConnection]) -> list[bytes]:
    """Write each delivery as the request that its vendor would send."""
    requests = []
    for source, body in deliveries:
        one = inbound[source]
        requests.append(post(f"/v1/hooks/{one.connection_id}", _credentials(one, body), body))
    return requests


def _credentials(inbound: InboundConnection, body: bytes) -> str:
    (secret,) = inbound.secrets
    if inbound.scheme == "voucherify":
        return f"{inbound.header}: {hmac.digest(secret, body, hashlib.sha256).hex()}\r\n"
    return f"{inbound.header}: {secret.decode()}\r\n"


async def get_accounts(events: int, runs: int) -> list[Figure]:
    """GET accounts with their open lots, against one row by its primary key."""
    bare, ours = "one row by its key", "an account with its lots"
    measured: dict[str, list[Offered]] = {bare: [], ours: []}
    async with opened() as place:
        book = await new_book(place, "bench")
        await fill(place, book, a_history(events))
        await catch_up(place.connection, book.ledger.ledger_id)
        key = await api_keys.create_key(place.connection, MASTER_KEY, book.ledger, ["read"])
        access = await api_keys.find_key(place.connection, MASTER_KEY, key)
        names = [row[0] for row in await place.connection.fetch(ACCOUNTS, book.ledger.ledger_id)]
        headers = f"Authorization: Bearer {key}\r\n"
        requests = [get(f"/v1/accounts/{names[n % len(names)]}", headers) for n in range(events)]
        with (
            servers.running(servers.bare_window, place.dsn, access) as window,
            servers.running(servers.house, place.dsn, place.folder, False) as house,
        ):
            for port in (window, house):
                await offer(port, requests[:WARM_UP])
            for _ in range(runs):
                measured[bare].append(await offer(window, requests))
                measured[ours].append(await offer(house, requests))
    return [_figure(name, "answers", events, runs_of, bare) for name, runs_of in measured.items()]


def _figure(name: str, unit: str, size: int, runs: Sequence[Offered], limit: str) -> Figure:
    return Figure(
        name,
        unit,
        size,
        [run.per_second for run in runs],
        limit if name != limit else None,
        [run.p50_ms for run in runs],
        [run.p99_ms for run in runs],
    )
