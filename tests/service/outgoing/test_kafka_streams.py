"""Streams of Kafka, with the mock cluster of librdkafka: everything arrives at least once, in the order of its key."""

import json
from collections import defaultdict
from typing import Any

import pytest

from ledger.database import Connection
from ledger.store.registry import Ledger
from service.outgoing.addresses import Destinations
from service.outgoing.endpoints import Endpoint
from service.outgoing.sinks import kafka_sink
from tests.service.outgoing.conftest import dispatching, make_endpoint, record, state_of, until, until_delivered
from tests.service.outgoing.kafka_cluster import NOT_LEADER, REQUEST_TIMED_OUT, KafkaCluster, kafka_cluster
from tests.service.outgoing.test_dispatcher import history, in_order_per_subject
from tests.service.outgoing.test_killed_dispatcher import start_dispatcher
from tests.service.outgoing.test_nats_streams import ids_of_facts, is_failing
from tests.support.payloads import issued


def destinations(cluster: KafkaCluster) -> Destinations:
    return Destinations(servers=cluster.servers.split(","))


async def make_topic_endpoint(
    connection: Connection, ledger: Ledger, cluster: KafkaCluster, mode: str = "structured", **options: Any
) -> Endpoint:
    url = f"kafka://{cluster.servers}?mode={mode}"
    options = {"types": ["fact.recorded"], **options}
    return await make_endpoint(connection, ledger, url, destinations=destinations(cluster), **options)


def partitions_by_key(stored: list[Any]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for message in stored:
        found[message.key().decode()].add(message.partition())
    return found


async def test_every_fact_reaches_the_topic_once_with_its_subject_as_the_key(
    dsn: str, connection: Connection, ledger: Ledger
) -> None:
    await record(connection, ledger, *history(12))
    async with kafka_cluster() as cluster:
        endpoint = await make_topic_endpoint(connection, ledger, cluster)
        async with dispatching(dsn, destinations=destinations(cluster)):
            await until_delivered(connection, endpoint)
        stored = await cluster.stored()

    events = [json.loads(message.value()) for message in stored]
    assert sorted(event["id"] for event in events) == sorted(await ids_of_facts(connection))
    assert [message.key().decode() for message in stored] == [event["subject"] for event in events]
    assert in_order_per_subject(events)
    assert {len(partitions) for partitions in partitions_by_key(stored).values()} == {1}
    assert stored[0].headers() == [("content-type", b"application/cloudevents+json; charset=UTF-8")]


async def test_the_binary_mode_has_the_attributes_in_headers(dsn: str, connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, *history(1))
    async with kafka_cluster() as cluster:
        endpoint = await make_topic_endpoint(connection, ledger, cluster, mode="binary", kinds=["Issued"])
        async with dispatching(dsn, destinations=destinations(cluster)):
            await until_delivered(connection, endpoint)
        [first] = await cluster.stored()

    assert dict(first.headers()) == {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_id": b"1/0",
        "ce_source": b"/ledgers/acme",
        "ce_type": b"fact.recorded",
        "ce_subject": b"account/capillary:9001:1",
        "ce_time": b"2023-11-14T22:13:20Z",
        "ce_sequence": b"00000000000001000000",
    }
    assert json.loads(first.value())["fact"] == "Issued"


async def test_brokers_that_stop_and_refuse_get_everything_in_order(
    dsn: str, connection: Connection, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_sink, "DELIVERY_SECONDS_MAX", 1.0)
    await record(connection, ledger, *history(10))
    async with kafka_cluster() as cluster:
        endpoint = await make_topic_endpoint(connection, ledger, cluster, events_per_request=4)
        cluster.refuse_requests(REQUEST_TIMED_OUT, NOT_LEADER, REQUEST_TIMED_OUT)
        async with dispatching(dsn, destinations=destinations(cluster)):
            await until_delivered(connection, endpoint)
            cluster.stop_brokers()
            await record(connection, ledger, *(issued(f"k{number}", 100, number % 3, 5) for number in range(10)))
            await until(lambda: is_failing(connection, endpoint))
            cluster.start_brokers()
            await until_delivered(connection, endpoint)
        events = [json.loads(message.value()) for message in await cluster.stored()]

    assert {event["id"] for event in events} == set(await ids_of_facts(connection))
    assert in_order_per_subject(events)
    failed = await connection.fetchval("SELECT detail FROM outgoing.attempts WHERE outcome = 'failed' LIMIT 1")
    assert failed.startswith("_")  # a name of librdkafka, such as _TRANSPORT


async def test_a_sender_that_is_killed_loses_nothing(dsn: str, connection: Connection, ledger: Ledger) -> None:
    await record(connection, ledger, *history(24))
    async with kafka_cluster() as cluster:
        endpoint = await make_topic_endpoint(connection, ledger, cluster, events_per_request=1)
        for count in (3, 12):
            process = await start_dispatcher(dsn, outgoing_servers=cluster.servers.replace(",", " "))
            await until(lambda count=count: has_stored(cluster, count))  # type: ignore[misc]
            process.kill()
            await process.wait()
        async with dispatching(dsn, destinations=destinations(cluster)):
            await until_delivered(connection, endpoint)
        events = [json.loads(message.value()) for message in await cluster.stored()]

    assert {event["id"] for event in events} == set(await ids_of_facts(connection))
    assert in_order_per_subject(events)


async def has_stored(cluster: KafkaCluster, count: int) -> bool:
    return await cluster.count() >= count


async def test_brokers_that_cannot_be_reached_are_a_failure_and_other_endpoints_go_on(
    dsn: str, connection: Connection, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_sink, "DELIVERY_SECONDS_MAX", 1.0)
    await record(connection, ledger, *history(2))
    async with kafka_cluster() as cluster:
        endpoint = await make_topic_endpoint(connection, ledger, cluster)
        nowhere = Destinations(servers={"127.0.0.1:1", *cluster.servers.split(",")})
        lost = await make_endpoint(connection, ledger, "kafka://127.0.0.1:1", destinations=nowhere)
        async with dispatching(dsn, destinations=nowhere):
            await until_delivered(connection, endpoint)
            await until(lambda: is_failing(connection, lost))
        assert (await state_of(connection, lost))["position"] == 0
