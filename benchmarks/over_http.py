"""Deliveries and account queries over HTTP with 32 connections. The limits do the least possible work."""

import hashlib
import hmac
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks import servers
from benchmarks.environment import (
    BenchDatabase,
    append_history,
    build_history,
    create_bench_ledger,
    open_database,
    postgres_pid,
)
from benchmarks.figures import Figure
from benchmarks.load import LoadResult, get, post, send_requests
from benchmarks.processes import CpuTime
from benchmarks.servers import MASTER_KEY, RunningServer
from benchmarks.simulation import SentDelivery
from ledger.store import api_keys
from ledger.store.registry import InboundConnection
from projections.engine.worker import catch_up

WARM_UP = 500  # requests, until the server has opened all its connections
ACCOUNTS = "SELECT account_id FROM accounts WHERE ledger_id = $1 ORDER BY md5(account_id) LIMIT 5000"


class MeasuredLoad(NamedTuple):
    """Answers of a server, and the CPU time of each: of the server with its processes, and of PostgreSQL."""

    load: LoadResult
    cpu_us: tuple[float, float]


async def ingest(events: int, runs: int) -> list[Figure]:
    """POST deliveries to the service. The limit only authenticates and parses them."""
    measured: dict[str, list[MeasuredLoad]] = {
        "the load client alone": [],
        "authenticated and parsed, not stored": [],
        "stored": [],
        "stored, the projector beside it": [],
    }
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        by_id = {one.connection_id: one for one in bench_ledger.inbound.values()}
        with (
            servers.run_server(servers.canned_server) as canned,
            servers.run_server(servers.bare_webhook, by_id) as bare,
            servers.run_server(servers.whole_service, database.dsn, database.folder, False) as stored,
        ):
            for server in (bare, stored):
                await send_requests(server.port, requests_of(build_history(WARM_UP, seed=98), bench_ledger.inbound))
            for run in range(runs):
                requests = requests_of(build_history(events, seed=run + 1), bench_ledger.inbound)
                for name, server in zip(measured, (canned, bare, stored), strict=False):
                    measured[name].append(await _measure(database, server, requests))
        with servers.run_server(servers.whole_service, database.dsn, database.folder, True) as projected:
            await catch_up(database.connection, bench_ledger.ledger.ledger_id)
            await send_requests(projected.port, requests_of(build_history(WARM_UP, seed=99), bench_ledger.inbound))
            for run in range(runs):
                requests = requests_of(build_history(events, seed=100 + run), bench_ledger.inbound)
                measured["stored, the projector beside it"].append(await _measure(database, projected, requests))
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
    measured: dict[str, list[MeasuredLoad]] = {bare: [], ours: []}
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
            servers.run_server(servers.bare_query, database.dsn, access) as bare_server,
            servers.run_server(servers.whole_service, database.dsn, database.folder, False) as service,
        ):
            for server in (bare_server, service):
                await send_requests(server.port, requests[:WARM_UP])
            for _ in range(runs):
                measured[bare].append(await _measure(database, bare_server, requests))
                measured[ours].append(await _measure(database, service, requests))
    return [_figure(name, "answers", events, runs_of, bare) for name, runs_of in measured.items()]


async def _measure(database: BenchDatabase, server: RunningServer, requests: Sequence[bytes]) -> MeasuredLoad:
    with CpuTime(server.pid, postgres=postgres_pid(database)) as cpu:
        load = await send_requests(server.port, requests)
    return MeasuredLoad(load, cpu.per_unit(len(requests)))


def _figure(name: str, unit: str, size: int, runs: Sequence[MeasuredLoad], limit: str) -> Figure:
    return Figure(
        name,
        unit,
        size,
        [run.load.per_second for run in runs],
        limit if name != limit else None,
        [run.load.p50_ms for run in runs],
        [run.load.p99_ms for run in runs],
        cpu_us=[run.cpu_us for run in runs],
    )
