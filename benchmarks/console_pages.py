"""Pages of the console beside the API queries that they show: a simulated year, and one account with many lines.

A page may take 50 ms more than its query. Page and query are asked alternately, so both see the same machine.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from typing import NamedTuple

import aiohttp

from benchmarks import servers
from benchmarks.environment import append_history, create_bench_ledger, open_database
from benchmarks.figures import Figure
from benchmarks.servers import MASTER_KEY
from benchmarks.simulation import SentDelivery
from ledger.store import api_keys
from projections.engine.worker import catch_up
from service.demo.programme import ProgrammeSimulation
from service.demo.vendor_bodies import Person, activity, capillary, points_data

MEMBERS = 240
UNTIL = datetime(2026, 11, 30, tzinfo=UTC)
LOADS = 15  # of each page, for each run
WARM_UP = 3
BIG = Person(900_001, "Big", "Account", "big.account@example.com")
CUSTOMER = "capillary:204500:500001"
ACCOUNT = f"{CUSTOMER}:12:points"
BIG_ACCOUNT = "capillary:204500:900001:12:points"
MONTH = "from=2026-10-01&to=2026-10-31"
EARLIER = "at=2020-01-01T00:00:00Z"
SCOPES = ("read", "audit", "reveal", "admin", "operator")


class MeasuredPage(NamedTuple):
    """A page, and the queries of the API that hold its contents."""

    page: str
    queries: tuple[str, ...]


PAGES = (
    MeasuredPage("", ("/v1/info", "/v1/ledger/events?limit=10")),
    MeasuredPage(f"/customers/{CUSTOMER}", (f"/v1/customers/{CUSTOMER}",)),
    MeasuredPage(f"/accounts/{ACCOUNT}", (f"/v1/accounts/{ACCOUNT}", f"/v1/accounts/{ACCOUNT}/statement?limit=50")),
    MeasuredPage(f"/accounts/{BIG_ACCOUNT}", (f"/v1/accounts/{BIG_ACCOUNT}",)),
    MeasuredPage(f"/accounts/{BIG_ACCOUNT}?{EARLIER}", (f"/v1/accounts/{BIG_ACCOUNT}?{EARLIER}",)),
    MeasuredPage(f"/accounts/{BIG_ACCOUNT}/lots", (f"/v1/accounts/{BIG_ACCOUNT}",)),
    MeasuredPage(f"/accounts/{BIG_ACCOUNT}/losses", (f"/v1/accounts/{BIG_ACCOUNT}/statement?limit=50",)),
    MeasuredPage(f"/accounts/{BIG_ACCOUNT}/statement", (f"/v1/accounts/{BIG_ACCOUNT}/statement?limit=200",)),
    MeasuredPage(f"/explain/accounts/{BIG_ACCOUNT}", (f"/v1/accounts/{BIG_ACCOUNT}/explanation?limit=25",)),
    MeasuredPage(f"/explain/tiers/{CUSTOMER}:12", (f"/v1/tiers/{CUSTOMER}:12/explanation?limit=25",)),
    MeasuredPage("/events/1000", ("/v1/ledger/events/1000",)),
    MeasuredPage("/ledger", ("/v1/ledger/events?limit=50",)),
    MeasuredPage("/lists/accounts", ("/v1/accounts?limit=50",)),
    MeasuredPage("/lists/order-items", ("/v1/order-items?limit=50",)),
    MeasuredPage("/lists/tiers?at=2026-06-01T00:00:00Z", ("/v1/tiers?limit=50&at=2026-06-01T00:00:00Z",)),
    MeasuredPage("/lapses", ("/v1/lots?limit=100",)),
    MeasuredPage("/reconciliation", ("/v1/reconciliation",)),
    MeasuredPage("/reconciliation/drift", ("/v1/reconciliation/drift?limit=50",)),
    MeasuredPage("/reconciliation/shared-redemptions", ("/v1/reconciliation/shared-redemptions?limit=50",)),
    MeasuredPage("/reconciliation/merged-customers", ("/v1/reconciliation/merged-customers?limit=50",)),
    MeasuredPage(f"/finance?{MONTH}", (f"/v1/liability?{MONTH}",)),
    MeasuredPage(f"/finance/accounts?{MONTH}&figure=closing", (f"/v1/liability?{MONTH}",)),
    MeasuredPage("/finance/trial-balance", ("/v1/trial-balance",)),
    MeasuredPage("/finance/periods", ("/v1/periods",)),
    MeasuredPage("/operations", ("/v1/projections",)),
    MeasuredPage("/operations/generations", ("/v1/generations",)),
    MeasuredPage("/operations/endpoints", ("/v1/endpoints",)),
)


async def measure_pages(lines: int, runs: int) -> list[Figure]:
    """Load each page and its queries. The large account has `lines` statement lines."""
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        year = ProgrammeSimulation(UNTIL, MEMBERS).deliveries()
        deliveries = [*(SentDelivery(one.source, one.body) for one in year), *_big_account(lines)]
        await append_history(database, bench_ledger, deliveries)
        await catch_up(database.connection, bench_ledger.ledger.ledger_id)
        key = await api_keys.create_key(database.connection, MASTER_KEY, bench_ledger.ledger, SCOPES)
        with servers.run_server(servers.whole_service, database.dsn, database.folder, False) as service:
            address = f"http://127.0.0.1:{service.port}"
            async with aiohttp.ClientSession(address, headers={"Authorization": f"Bearer {key}"}) as session:
                return [figure for one in PAGES for figure in await _measure(session, one, runs)]


def _big_account(lines: int) -> Iterator[SentDelivery]:
    """Yield one delivery for each statement line: four of five earn, one spends."""
    start = datetime(2016, 1, 1, tzinfo=UTC)
    for number in range(lines):
        at = start + timedelta(hours=9 * number)
        if number % 5 == 4:
            redemption = activity("PointsRedemption", redemptionId=f"big{number}")
            data = points_data(BIG, totalPointsRedeemed=30, triggeringActivity=redemption)
            yield SentDelivery("capillary", capillary("pointsRedeemed", f"big-{number:06}-0000", at, data).body)
        else:
            expiry = (at + timedelta(days=900)).date().isoformat()
            bill = activity("TransactionAdd", BillId=7_000_000 + number, billNumber=f"BIG-{number}")
            lots = [{"points": 10, "expiryAt": expiry}]
            data = points_data(BIG, totalPointsIssued=10, regularPointsIssued=10, regularPointsBreakup=lots)
            data["triggeringActivity"] = bill
            yield SentDelivery("capillary", capillary("pointsIssued", f"big-{number:06}-0000", at, data).body)


async def _measure(session: aiohttp.ClientSession, measured: MeasuredPage, runs: int) -> list[Figure]:
    page, queries = f"/console{measured.page}", " + ".join(measured.queries)
    times: dict[str, list[list[float]]] = {page: [], queries: []}
    for run in range(runs):
        of_run: dict[str, list[float]] = {page: [], queries: []}
        for load in range(LOADS + (WARM_UP if run == 0 else 0)):
            for name, paths in ((page, (page,)), (queries, measured.queries)):
                begun = time.perf_counter()
                for path in paths:
                    async with session.get(path) as response:
                        response.raise_for_status()
                        await response.read()
                if run or load >= WARM_UP:
                    of_run[name].append(1_000 * (time.perf_counter() - begun))
        for name, milliseconds in of_run.items():
            times[name].append(milliseconds)
    return [_figure(page, times[page], queries), _figure(queries, times[queries], None)]


def _figure(name: str, runs: list[list[float]], limit: str | None) -> Figure:
    p50 = [median(run) for run in runs]
    p99 = [quantiles(run, n=100)[-1] for run in runs]
    return Figure(name, "loads", LOADS, [1_000 / one for one in p50], limit, p50, p99)
