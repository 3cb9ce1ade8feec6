"""A database that falls silent, is cut off, or becomes read-only: every part notices it, reports it, and reconnects."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

import migrations
from ledger.database import Session, connect
from service.embedded.server import EmbeddedPostgres
from service.settings import Settings
from tests.support.client import TenantClient, serving
from tests.support.payloads import SAMPLES
from tests.support.proxy import Proxy, proxied

BODY = (SAMPLES / "capillary" / "pointsIssued.json").read_bytes()
ANSWER_SECONDS_MAX = 30.0  # the limit is 5 on an idle machine; without it, minutes
STOP_SECONDS_MAX = 60.0  # the limit is 30 on an idle machine
SMALL = {"shared_buffers": "16MB", "max_connections": "40"}


@pytest.fixture
async def behind_proxy(dsn: str) -> AsyncIterator[tuple[TenantClient, Proxy]]:
    """A service with one ledger whose every connection to PostgreSQL passes a proxy."""
    async with proxied(dsn) as (address, proxy), serving(address, "acme") as [acme]:
        yield acme, proxy


async def test_a_statement_that_times_out_ends_its_connection_at_once(dsn: str) -> None:
    connection = await connect(dsn)

    with pytest.raises((TimeoutError, asyncpg.InterfaceError)):
        async with connection.transaction():
            await connection.fetchval("SELECT pg_sleep(60)", timeout=0.1)

    assert connection.is_closed()


async def test_a_cancelled_statement_ends_its_connection_at_once(dsn: str) -> None:
    connection = await connect(dsn)
    asking = asyncio.create_task(connection.fetchval("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.05)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert connection.is_closed()


async def test_closing_a_silent_connection_takes_seconds_and_raises_nothing(dsn: str) -> None:
    async with proxied(dsn) as (address, proxy):
        connection = await connect(address)
        proxy.silence()
        began = time.monotonic()

        await connection.close()

    assert time.monotonic() - began < ANSWER_SECONDS_MAX


async def test_a_connection_over_tcp_is_kept_alive(dsn: str) -> None:
    async with proxied(dsn) as (address, _):
        connection = await connect(address)
        assert isinstance(connection, Session)
        raw = connection._transport.get_extra_info("socket")

        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 10_000
        await connection.close()


async def test_webhooks_and_questions_find_new_connections_when_all_fall_silent(
    behind_proxy: tuple[TenantClient, Proxy],
) -> None:
    acme, proxy = behind_proxy
    assert (await acme.deliver(BODY))[0] == 200

    await asyncio.sleep(2.1)  # until the last check of the connections is too old
    proxy.silence()
    began = time.monotonic()
    answers = await asyncio.gather(
        *(acme.deliver(BODY) for _ in range(8)), *(acme.ask("/v1/projections") for _ in range(8))
    )

    assert {status for status, _ in answers} <= {200, 503}
    assert time.monotonic() - began < ANSWER_SECONDS_MAX
    assert (await acme.deliver(BODY))[1]["events"][0]["outcome"] == "duplicate"
    await acme.ask_now("/v1/accounts/87884897:838:points")  # the projector has reconnected too


async def test_a_database_that_stays_silent_is_answered_503_within_seconds(
    behind_proxy: tuple[TenantClient, Proxy],
) -> None:
    acme, proxy = behind_proxy
    proxy.silence()
    proxy.silent = True
    began = time.monotonic()

    answers = await asyncio.gather(acme.deliver(BODY), acme.ask("/v1/projections"), acme.client.get("/ready"))

    assert time.monotonic() - began < ANSWER_SECONDS_MAX
    assert [answers[0][0], answers[1][0], answers[2].status] == [503, 503, 503]
    assert (await acme.client.get("/live")).status == 200


@pytest.mark.parametrize("fault", ["cut", "refused", "truncated", "slow"])
async def test_after_a_fault_of_the_network_everything_goes_on(
    behind_proxy: tuple[TenantClient, Proxy], fault: str
) -> None:
    acme, proxy = behind_proxy
    assert (await acme.deliver(BODY))[0] == 200

    match fault:
        case "cut":
            proxy.cut()
        case "refused":
            proxy.refuses = True
            proxy.cut()
        case "truncated":
            proxy.pass_on = 3
        case "slow":
            proxy.delay_seconds = 0.2
    status, _ = await acme.deliver(BODY)
    assert status in {200, 503}

    proxy.refuses, proxy.delay_seconds = False, 0.0
    status, body = await acme.deliver(BODY)
    assert (status, body["events"][0]["outcome"]) == (200, "duplicate")
    await acme.ask_now("/v1/accounts/87884897:838:points")


async def test_a_service_stops_in_time_while_its_database_is_silent(dsn: str) -> None:
    async with proxied(dsn) as (address, proxy), serving(address, "acme") as [acme]:
        assert (await acme.deliver(BODY))[0] == 200
        proxy.silence()
        proxy.silent = True
        began = time.monotonic()

    assert time.monotonic() - began < STOP_SECONDS_MAX


async def test_sessions_that_a_demotion_leaves_alive_are_left_at_once(tmp_path: Path) -> None:
    with EmbeddedPostgres.start(tmp_path / "demoted", settings=SMALL) as server:
        await migrations.upgrade(server.dsn())
        async with serving(server.dsn(), "acme", settings=Settings(attest_hours=0.001)) as [acme]:
            assert (await acme.deliver(BODY))[0] == 200
            await acme.ask_now("/v1/accounts/87884897:838:points")
            operator = await asyncpg.connect(server.dsn())
            await operator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            await operator.execute("SELECT pg_reload_conf()")
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                while (await acme.client.get("/ready")).status == 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

            answers = [(await acme.deliver(BODY))[0], (await acme.ask("/v1/projections"))[0]]

            assert [*answers, (await acme.client.get("/ready")).status] == [503, 503, 503]
            await operator.execute("SET default_transaction_read_only = off")
            await operator.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await operator.execute("SELECT pg_reload_conf()")
            await operator.close()
            assert (await acme.deliver(BODY, "ascenda"))[0] == 200
            await acme.ask_now("/v1/accounts/87884897:838:points")


async def test_a_server_that_becomes_read_only_is_left_at_once(
    behind_proxy: tuple[TenantClient, Proxy], dsn: str
) -> None:
    acme, _ = behind_proxy
    assert (await acme.deliver(BODY))[0] == 200
    name = dsn.split("@/")[1].split("?")[0]
    operator = await asyncpg.connect(dsn)
    await operator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await operator.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name
    )

    answers = [(await acme.deliver(BODY))[0], (await acme.ask("/v1/projections"))[0]]
    ready = (await acme.client.get("/ready")).status

    assert [*answers, ready] == [503, 503, 503]
    await operator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await operator.close()
    assert (await acme.deliver(BODY))[0] == 200
    await acme.ask_now("/v1/accounts/87884897:838:points")
