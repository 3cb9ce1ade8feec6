"""The mock cluster of librdkafka: real sockets, the protocol of Kafka, and faults on demand."""

import asyncio
import contextlib
import ctypes
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, TopicPartition

PRODUCER = 0
PRODUCE_REQUEST = 0
REQUEST_TIMED_OUT, NOT_LEADER = 7, 6
BROKERS = 3
PARTITIONS = 4
ERROR_BYTES = 512
READ_SECONDS_MAX = 60.0


def _library() -> Any:
    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    [path] = folder.glob("librdkafka*")
    library = ctypes.CDLL(str(path))
    for name in ("rd_kafka_new", "rd_kafka_conf_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class KafkaCluster:
    """A cluster of BROKERS brokers with one topic of PARTITIONS partitions."""

    def __init__(self, topic: str) -> None:
        self._library = _library()
        error = ctypes.create_string_buffer(ERROR_BYTES)
        configuration = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        client = self._library.rd_kafka_new(PRODUCER, configuration, error, ctypes.c_size_t(ERROR_BYTES))
        assert client, error.value
        self._client = ctypes.c_void_p(client)
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._client, BROKERS))
        self.topic = topic
        self.servers: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        assert not self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), PARTITIONS, 1)

    def stop_brokers(self) -> None:
        """Close all connections, and accept none."""
        for broker in range(1, BROKERS + 1):
            self._library.rd_kafka_mock_broker_set_down(self._cluster, broker)

    def start_brokers(self) -> None:
        """Accept connections again."""
        for broker in range(1, BROKERS + 1):
            self._library.rd_kafka_mock_broker_set_up(self._cluster, broker)

    def refuse_requests(self, *errors: int) -> None:
        """Answer the next requests that produce messages with errors."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(PRODUCE_REQUEST), ctypes.c_size_t(len(errors)), codes
        )

    async def stored(self) -> list[Any]:
        """Return all messages, partition by partition, each in its order."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> list[Any]:
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "test", "log_level": 0})
        found: list[Any] = []
        try:
            for number in range(PARTITIONS):
                partition = TopicPartition(self.topic, number, 0)
                _, end = consumer.get_watermark_offsets(partition, timeout=READ_SECONDS_MAX)
                consumer.assign([partition])
                for _ in range(end):
                    message = consumer.poll(READ_SECONDS_MAX)
                    assert message is not None, "a message is missing"
                    assert message.error() is None, message.error()
                    found.append(message)
        finally:
            consumer.close()
        return found

    async def count(self) -> int:
        """Return the number of messages."""
        return len(await self.stored())

    def close(self) -> None:
        """End the cluster."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)


@contextlib.asynccontextmanager
async def kafka_cluster(topic: str = "loyalty.acme") -> AsyncIterator[KafkaCluster]:
    """Run a cluster."""
    cluster = KafkaCluster(topic)
    try:
        yield cluster
    finally:
        await asyncio.to_thread(cluster.close)
