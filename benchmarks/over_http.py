"""Deliveries and account queries over HTTP with 32 connections. The limits do the least possible work."""

import hashlib
import hmac
from collections.abc import Sequence

from benchmarks import servers
from benchmarks.environment import append_history, build_history, create_bench_ledger, open_database
from benchmarks.figures import Figure
from benchmarks.load import LoadResult, get, post, send_requests
from benchmarks.servers import MASTER_KEY
from benchmarks.simulation import SentDelivery
from ledger.store import api_keys
from ledger.store.registry import InboundConnection
from projections.engine.worker import catch_up

WARM_UP = 500  # requests, until the server has opened all its connections
ACCOUNTS = "SELECT account_id FROM accounts WHERE ledger_id = $1 ORDER BY md5(account_id) LIMIT 5000"


async def ingest(events: int, runs: int) -> list[Figure]:
    """POST deliveries to the service. The limit only authenticates and parses them."""
    measured: dict[str, list[LoadResult]] = {
        "the load client alone": [],
        "authenticated and parsed, not stored": [],
        "stored": [],
        "stored, the projector beside it": [],
    }
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        by_id = {one.connection_id: one for one in bench_ledger.inbound.values()}
        with (
            servers.run_server(servers.canned_server) as canned_port,
            servers.run_server(servers.bare_webhook, by_id) as bare,
            servers.run_server(servers.whole_service, database.dsn, database.folder, False) as stored,
        ):
            for port in (bare, stored):
                await send_requests(port, requests_of(build_history(WARM_UP, seed=98), bench_ledger.inbound))
            for run in range(runs):
                requests = requests_of(build_history(events, seed=run + 1), bench_ledger.inbound)
                for name, port in zip(measured, (canned_port, bare, stored), strict=False):
                    measured[name].append(await send_requests(port, requests))
        with servers.run_server(servers.whole_service, database.dsn, database.folder, True) as projected:
            await catch_up(database.connection, bench_ledger.ledger.ledger_id)
            await send_requests(projected, requests_of(build_history(WARM_UP, seed=99), bench_ledger.inbound))
            for run in range(runs):
                requests = requests_of(build_history(events, seed=100 + run), bench_ledger.inbound)
                measured["stored, the projector beside it"].append(await send_requests(projected, requests))
    return [_figure(name, "deliveries", events, runs_of, list(measured)[1]) for name, runs_of in measured.items()]


def requests_of(deliveries: Sequence[SentDelivery], inbound: dict[str, InboundConnection]) -> list[bytes]:
    """Return the requests that vendors would send for some deliveries."""
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
    """GET accounts with their open lots. The limit is one row by its primary key."""
    bare, ours = "one row by its key", "an account with its lots"
    measured: dict[str, list[LoadResult]] = {bare: [], ours: []}
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        await append_history(database, bench_ledger, build_history(events))
        await catch_up(database.connection, bench_ledger.ledger.ledger_id)
        key = await api_keys.create_key(database.connection, MASTER_KEY, bench_ledger.ledger, ["read"])
        access = await api_keys.find_key(database.connection, MASTER_KEY, key)
        names = [row[0] for row in await database.connection.fetch(ACCOUNTS, bench_ledger.ledger.ledger_id)]
        headers = f"Authorization: Bearer {key}\r\n"
        requests = [get(f"/v1/accounts/{names[n % len(names)]}", headers) for n in range(events)]
        with (
            servers.run_server(servers.bare_query, database.dsn, access) as bare_query_port,
            servers.run_server(servers.whole_service, database.dsn, database.folder, False) as service_port,
        ):
            for port in (bare_query_port, service_port):
                await send_requests(port, requests[:WARM_UP])
            for _ in range(runs):
                measured[bare].append(await send_requests(bare_query_port, requests))
                measured[ours].append(await send_requests(service_port, requests))
    return [_figure(name, "answers", events, runs_of, bare) for name, runs_of in measured.items()]


def _figure(name: str, unit: str, size: int, runs: Sequence[LoadResult], limit: str) -> Figure:
    return Figure(
        name,
        unit,
        size,
        [run.per_second for run in runs],
        limit if name != limit else None,
        [run.p50_ms for run in runs],
        [run.p99_ms for run in runs],
    )
