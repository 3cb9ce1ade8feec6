"""Send messages to a topic of Kafka by an idempotent producer, and wait for its delivery reports.

- The topic is `loyalty.LEDGER`. The key is the subject, so the messages of a subject stay in one partition, in order.
- The client of librdkafka works in threads. One thread of ours feeds it, because its asynchronous class takes no
  headers.
- A failed batch ends the producer. A later one gets a new identity, so an earlier producer's failure blocks nothing.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as StoredMessage

from service.outgoing.messages import Message, encode_message, text_attributes
from service.outgoing.sinks.message_sink import SECONDS_MAX, AnswerReceived, divide_by_subject, printable_answer
from service.outgoing.sinks.stream_addresses import StreamAddress
from service.outgoing.sinks.stream_credentials import StreamCredentials

DELIVERY_SECONDS_MAX = 15.0  # of one message, with the retries of the client
CLIENT_NAME = "loyalty-ledger"
TIMED_OUT = "_MSG_TIMED_OUT"
ALL_DOWN = "_ALL_BROKERS_DOWN"


class KafkaSink:
    """Sends the messages of one ledger to Kafka. It connects when it first sends."""

    def __init__(self, address: StreamAddress, credentials: StreamCredentials, ledger: str) -> None:
        self._address, self._ledger = address, ledger
        self._topic = f"loyalty.{ledger}"
        self._options = producer_options(address, credentials)
        self._thread = ThreadPoolExecutor(1, f"kafka {ledger}")
        self._producer: Producer | None = None
        self._error = ""  # the last that the client has reported: why messages time out

    async def send(self, messages: Sequence[Message]) -> AnswerReceived:
        """Produce a batch, and return when every message is acknowledged, or one is not."""
        began = time.monotonic()
        failure = await asyncio.get_running_loop().run_in_executor(self._thread, self._produce, messages)
        milliseconds = round((time.monotonic() - began) * 1000)
        return AnswerReceived(None, failure or "", milliseconds, is_acknowledged=failure is None)

    async def close(self) -> None:
        """End the producer. Messages on their way are given up."""
        producer = self._producer
        if producer is not None:
            producer.purge(blocking=False)  # so that a batch on its way ends at once
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end_producer)
        self._thread.shutdown(wait=False)

    def _produce(self, messages: Sequence[Message]) -> str | None:
        """Produce messages in the thread. Return why one failed; None if all are stored."""
        ends_at = time.monotonic() + SECONDS_MAX
        failure: str | None = None
        try:
            if self._producer is None:
                self._error = ""
                self._producer = Producer({**self._options, "error_cb": self._keep_error})
            for part in divide_by_subject(messages):
                failure = self._produce_part(self._producer, part, max(0.0, ends_at - time.monotonic()))
                if failure is not None:
                    break
        except KafkaException as error:
            failure = _describe(error.args[0])
        except BufferError:
            failure = "the queue of the client is full"
        if failure is not None:
            self._end_producer()
            return self._error if failure == TIMED_OUT and self._error else failure
        return None

    def _produce_part(self, producer: Producer, part: Sequence[Message], seconds: float) -> str | None:
        failures: list[str] = []

        def report(error: KafkaError | None, _: StoredMessage) -> None:
            if error is not None:
                failures.append(_describe(error))

        for message in part:
            headers, body = self._encode(message)
            key = message.subject.encode()
            producer.produce(self._topic, value=body, key=key, headers=headers, on_delivery=report)
        if producer.flush(seconds):
            failures.append(TIMED_OUT)
        return failures[0] if failures else None

    def _encode(self, message: Message) -> tuple[list[tuple[str, str | bytes | None]], bytes]:
        """Return the headers and the value of a message, as the Kafka binding of CloudEvents defines both modes."""
        if self._address.content_mode == "structured":
            return [("content-type", "application/cloudevents+json; charset=UTF-8")], (
                encode_message(message, self._ledger)
            )
        attributes = text_attributes(message, self._ledger)
        headers = {"content-type": "application/json", **{f"ce_{name}": text for name, text in attributes.items()}}
        return [*headers.items()], message.data

    def _keep_error(self, error: KafkaError) -> None:
        name = _describe(error)
        if not self._error or name != ALL_DOWN:  # it follows an error with the cause
            self._error = name

    def _end_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.flush(0)


def producer_options(address: StreamAddress, credentials: StreamCredentials) -> Mapping[str, Any]:
    """Return the options of librdkafka's producer."""
    options: dict[str, Any] = {
        "bootstrap.servers": ",".join(address.servers),
        "client.id": CLIENT_NAME,
        "enable.idempotence": True,
        "partitioner": "murmur2_random",  # of Java's client, so that other producers choose the same partitions
        "compression.type": "lz4",
        "linger.ms": 1,
        "message.timeout.ms": round(DELIVERY_SECONDS_MAX * 1000),
        "topic.metadata.propagation.max.ms": 5_000,
        "log_level": 0,  # the log of attempts has the errors
    }
    security = "SSL" if address.uses_tls else "PLAINTEXT"
    if credentials.user:
        security = "SASL_SSL" if address.uses_tls else "SASL_PLAINTEXT"
        options["sasl.mechanism"] = address.mechanism
        options["sasl.username"], options["sasl.password"] = credentials.user, credentials.password
    options["security.protocol"] = security
    if credentials.ca:
        options["ssl.ca.pem"] = credentials.ca
    if credentials.certificate:
        options["ssl.certificate.pem"], options["ssl.key.pem"] = credentials.certificate, credentials.key
    return options


def _describe(error: KafkaError) -> str:
    """Describe an error without credentials and addresses: by its name, which librdkafka documents."""
    return printable_answer(error.name())
