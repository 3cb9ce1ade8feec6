"""Each ledger has its share of connections: heavy reports of one ledger do not delay others, and no wait is endless."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from ledger.database import Connection, connect
from ledger.errors import LedgerReadsTooMany
from service.api.requests.request_shares import HEAVY_MAX, HEAVY_WAITING_MAX, RequestShares
from service.server.app import make_app
from service.server.protocol import LimitedRunner
from service.settings import Settings
from tests.support.client import MASTER_KEY, TenantClient, serving
from tests.support.payloads import issued

LIABILITY = "/v1/liability"
TEN_YEARS = {"from": "2019-01-01", "to": "2029-01-01"}
WAITING_FOR_A_LOCK = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def test_a_place_is_given_back_however_its_user_ends() -> None:
    shares = RequestShares(1, waiting_max=1, wait_seconds_max=30)

    async def fail() -> None:
        async with shares.take(7):
            raise ValueError("a report that failed")

    with pytest.raises(ValueError, match="failed"):
        await fail()
    async with shares.take(7), shares.take(8):
        waiting = asyncio.create_task(fail())
        await asyncio.sleep(0)
        with pytest.raises(LedgerReadsTooMany):
            async with shares.take(7):
                pass
        waiting.cancel()
        await asyncio.wait([waiting])
    async with shares.take(7):
        pass


async def test_a_request_that_waits_too_long_for_its_share_is_refused() -> None:
    shares = RequestShares(1, waiting_max=1, wait_seconds_max=0.01)

    async with shares.take(7):
        with pytest.raises(LedgerReadsTooMany):
            async with shares.take(7):
                pass


async def test_reports_that_hang_for_one_ledger_leave_another_alone(dsn: str, connection: Connection) -> None:
    async with serving(dsn, "acme", "other") as [acme, other]:
        for one in (acme, other):
            await one.deliver(issued("a", 0, 1, 10))
            await one.ask_now("/v1/projections")
        schema = await connection.fetchval("SELECT schema_name FROM projections.generations WHERE state = 'active'")
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {schema}.accounts IN ACCESS EXCLUSIVE MODE")
            reports = [asyncio.create_task(acme.ask(LIABILITY)) for _ in range(HEAVY_MAX + HEAVY_WAITING_MAX + 2)]
            done, hanging = await asyncio.wait(reports, return_when=asyncio.FIRST_COMPLETED)
            while len(done) < 2:
                more, hanging = await asyncio.wait(hanging, return_when=asyncio.FIRST_COMPLETED)
                done |= more
            refused = [task.result() for task in done]
            own = await acme.ask("/v1/ledger/events")
            theirs = await other.ask("/v1/ledger/events")
        answered = await asyncio.gather(*hanging)

    assert [(status, problem["type"]) for status, problem in refused] == [(429, "/v1/errors/too-many-requests")] * 2
    assert (own[0], theirs[0]) == (200, 200)
    assert {status for status, _ in answered} == {200}


async def test_a_report_whose_client_has_left_is_given_up_in_the_database_too(dsn: str, connection: Connection) -> None:
    async def until_waiting(sessions: int) -> None:
        async with asyncio.timeout(20):
            while await watching.fetchval(WAITING_FOR_A_LOCK) != sessions:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    watching = await connect(dsn)
    async with serving(dsn, "acme") as [acme]:
        await acme.deliver(issued("a", 0, 1, 10))
        await acme.ask_now("/v1/projections")
        runner = LimitedRunner(make_app(dsn, Settings(erase_on_request=False, seal=False), MASTER_KEY, project=False))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        schema = await connection.fetchval("SELECT schema_name FROM projections.generations WHERE state = 'active'")
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {schema}.accounts IN ACCESS EXCLUSIVE MODE")
            _, writer = await asyncio.open_connection(host, port)
            request = f"GET {LIABILITY} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {acme.key}\r\n\r\n"
            writer.write(request.encode())
            await until_waiting(1)

            writer.close()

            await until_waiting(0)
        await runner.cleanup()
    await watching.close()


async def test_a_page_of_a_long_roll_forward_is_no_larger_than_its_limit(dsn: str) -> None:
    async with serving(dsn, "acme") as [acme]:
        for n in range(12):
            await acme.deliver(issued(f"i{n}", n * 40 * 86_400, n % 3, 10))
        await acme.ask_now("/v1/projections")

        one = await acme.ask_now(LIABILITY, **TEN_YEARS, limit="1")
        pages = await _all_pages(acme, limit="3")
        whole = await _all_pages(acme, limit="1000")

    assert (len(one["items"]), len(one["totals"])) == (1, 1)
    assert all(len(page["items"]) <= 3 and len(page["totals"]) <= 3 for page in pages)
    assert [row for page in pages for row in page["items"]] == [row for page in whole for row in page["items"]]
    assert [row for page in pages for row in page["totals"]] == [row for page in whole for row in page["totals"]]
    assert one["tie_outs"] == whole[-1]["tie_outs"]


async def _all_pages(acme: TenantClient, **query: str) -> list[Any]:
    pages = []
    days = {"from": "2023-11-01", "to": "2025-03-31", "by": "month"}
    cursor: dict[str, str] = {}
    while True:
        page = await acme.ask_now(LIABILITY, **days, **query, **cursor)
        pages.append(page)
        if page["next"] is None:
            return pages
        cursor = {"cursor": page["next"]}
