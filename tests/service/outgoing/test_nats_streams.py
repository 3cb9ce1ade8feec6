"""Streams of NATS JetStream, with a real server: everything arrives at least once, in the order of its subject."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.database import Connection
from ledger.store.registry import Ledger
from service.outgoing import endpoints
from service.outgoing.addresses import Destinations
from service.outgoing.sinks.stream_credentials import StreamCredentials
from tests.service.outgoing.certificates import make_certificates
from tests.service.outgoing.conftest import dispatching, make_endpoint, record, state_of, until, until_delivered
from tests.service.outgoing.nats_server import NatsServer, nats_server
from tests.service.outgoing.test_dispatcher import history, in_order_per_subject
from tests.service.outgoing.test_killed_dispatcher import start_dispatcher
from tests.support.client import MASTER_KEY
from tests.support.payloads import issued

FACTS = "SELECT position, ordinal FROM facts ORDER BY position, ordinal"
PASSWORD = "correct-horse-battery"


def destinations(server: NatsServer) -> Destinations:
    return Destinations(servers={server.address})


async def make_stream_endpoint(
    connection: Connection, ledger: Ledger, server: NatsServer, **options: Any
) -> endpoints.Endpoint:
    options = {"types": ["fact.recorded"], "url": f"nats://{server.address}", **options}
    return await make_endpoint(connection, ledger, options.pop("url"), destinations=destinations(server), **options)


@asynccontextmanager
async def stream_with_endpoint(
    connection: Connection, ledger: Ledger, folder: Path, **options: Any
) -> AsyncIterator[tuple[NatsServer, endpoints.Endpoint]]:
    """Run a server with a stream, and make an endpoint that sends to it."""
    async with nats_server(folder) as server:
        await server.make_stream()
        yield server, await make_stream_endpoint(connection, ledger, server, **options)


async def ids_of_facts(connection: Connection) -> list[str]:
    return [f"{row['position']}/{row['ordinal']}" for row in await connection.fetch(FACTS)]


async def test_every_fact_reaches_the_stream_once_as_a_structured_cloud_event(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await record(connection, ledger, *history(8))
    async with stream_with_endpoint(connection, ledger, tmp_path) as (server, endpoint):
        async with dispatching(dsn, destinations=destinations(server)):
            await until_delivered(connection, endpoint)
            await record(connection, ledger, issued("late", 99, 1, 7))
            await until_delivered(connection, endpoint)
        stored = await server.stored()

    events = [json.loads(message.data) for message in stored]
    assert sorted(event["id"] for event in events) == sorted(await ids_of_facts(connection))
    assert in_order_per_subject(events)
    assert {message.subject for message in stored} == {"loyalty.acme.fact.recorded"}
    assert [message.headers["Nats-Msg-Id"] for message in stored] == [f"acme/{event['id']}" for event in events]
    assert {message.headers["content-type"] for message in stored} == {"application/cloudevents+json"}
    assert {event["source"] for event in events} == {"/ledgers/acme"}


async def test_a_replay_within_the_window_of_duplicates_stores_nothing_twice(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await record(connection, ledger, *history(6))
    async with stream_with_endpoint(connection, ledger, tmp_path) as (server, endpoint):
        again = await make_stream_endpoint(connection, ledger, server)
        async with dispatching(dsn, destinations=destinations(server)):
            await until_delivered(connection, endpoint)
            await until_delivered(connection, again)
        count = await server.count()

    assert count == len(await ids_of_facts(connection))


async def test_the_binary_mode_has_the_attributes_in_headers(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await record(connection, ledger, *history(1))
    async with nats_server(tmp_path) as server:
        await server.make_stream()
        endpoint = await make_stream_endpoint(connection, ledger, server, url=f"nats://{server.address}?mode=binary")
        async with dispatching(dsn, destinations=destinations(server)):
            await until_delivered(connection, endpoint)
        [first, *_] = await server.stored()

    assert first.headers == {
        "Nats-Msg-Id": "acme/1/0",
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "1/0",
        "ce-source": "/ledgers/acme",
        "ce-type": "fact.recorded",
        "ce-subject": "account/capillary:9001:1",
        "ce-time": "2023-11-14T22:13:20Z",
        "ce-sequence": "00000000000001000000",
    }
    assert json.loads(first.data)["fact"] == "Issued"


async def test_a_server_that_is_killed_again_and_again_gets_everything_in_order(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await record(connection, ledger, *history(10))
    async with stream_with_endpoint(connection, ledger, tmp_path, events_per_request=3) as (server, endpoint):
        async with dispatching(dsn, destinations=destinations(server)):
            await until_delivered(connection, endpoint)
            for kill in range(2):
                await server.kill()
                await record(
                    connection,
                    ledger,
                    *(issued(f"k{kill}-{number}", 100 + kill, number % 3, 5) for number in range(10)),
                )
                await until(lambda: is_failing(connection, endpoint))
                await server.start()
                await until_delivered(connection, endpoint)
        events = [json.loads(message.data) for message in await server.stored()]

    assert {event["id"] for event in events} == set(await ids_of_facts(connection))
    assert in_order_per_subject(events)


async def is_failing(connection: Connection, endpoint: endpoints.Endpoint) -> bool:
    return bool((await state_of(connection, endpoint))["failures"])


async def test_a_sender_that_is_killed_loses_nothing(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await record(connection, ledger, *history(24))
    async with stream_with_endpoint(connection, ledger, tmp_path, events_per_request=1) as (server, endpoint):
        for count in (3, 12):
            process = await start_dispatcher(dsn, outgoing_servers=server.address)
            await until(lambda count=count: has_stored(server, count))  # type: ignore[misc]
            process.kill()
            await process.wait()
        async with dispatching(dsn, destinations=destinations(server)):
            await until_delivered(connection, endpoint)
        events = [json.loads(message.data) for message in await server.stored()]

    assert {event["id"] for event in events} == set(await ids_of_facts(connection))
    assert in_order_per_subject(events)


async def has_stored(server: NatsServer, count: int) -> bool:
    stored: int = await server.count()
    return stored >= count


async def test_a_server_without_a_stream_is_a_failure_that_names_the_subject(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path
) -> None:
    await record(connection, ledger, *history(3))
    async with nats_server(tmp_path) as server:
        endpoint = await make_stream_endpoint(connection, ledger, server)
        async with dispatching(dsn, destinations=destinations(server)):
            await until(lambda: is_failing(connection, endpoint))
            await server.make_stream()
            await until_delivered(connection, endpoint)
        count = await server.count()

    detail = await connection.fetchval("SELECT detail FROM outgoing.attempts ORDER BY attempt LIMIT 1")
    assert detail == "no stream takes the subject loyalty.LEDGER.TYPE"
    assert count == len(await ids_of_facts(connection))


async def test_tls_and_a_password_protect_a_stream_and_nothing_shows_the_password(
    dsn: str, connection: Connection, ledger: Ledger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await record(connection, ledger, *history(3))
    made = make_certificates(tmp_path)
    config = (
        f'authorization {{ user: loyalty, password: "{PASSWORD}" }}\n'
        f'tls {{ cert_file: "{made.server_file}", key_file: "{made.server_key_file}", ca_file: "{made.ca_file}", '
        "verify: true }"
    )
    context = ssl.create_default_context(cafile=str(made.ca_file))
    context.load_cert_chain(made.client_file, made.client_key_file)
    async with nats_server(tmp_path, config, tls=context, user="loyalty", password=PASSWORD) as server:
        await server.make_stream()
        url = f"nats+tls://{server.address}"
        given = StreamCredentials(
            user="loyalty", password="wrong-" + PASSWORD, ca=made.ca_file.read_text(),
            certificate=made.client_file.read_text(), key=made.client_key_file.read_text(),
        )  # fmt: skip
        endpoint = await make_stream_endpoint(connection, ledger, server, url=url, credentials=given)
        async with dispatching(dsn, destinations=destinations(server)):
            await until(lambda: is_failing(connection, endpoint))
            right = msgspec.structs.replace(given, password=PASSWORD)
            await endpoints.replace_credentials(connection, MASTER_KEY, endpoint, right)
            await until_delivered(connection, endpoint)
        count = await server.count()

    assert count == len(await ids_of_facts(connection))
    detail = await connection.fetchval("SELECT detail FROM outgoing.attempts ORDER BY attempt LIMIT 1")
    assert detail == "the server refuses the credentials"
    stored = await connection.fetch("SELECT e::text, a::text FROM outgoing.endpoints e, outgoing.attempts a")
    assert PASSWORD not in str(stored)
    assert PASSWORD.encode().hex() not in str(stored)
    assert "PRIVATE KEY" not in str(stored)
    assert PASSWORD not in caplog.text
    assert PASSWORD not in str(await state_of(connection, endpoint))
