"""Open the sink of an endpoint. The libraries of streams are extras, and are imported when they are needed."""

from collections.abc import Sequence

import msgspec

from ledger.errors import RequestInvalid
from service.outgoing.addresses import Destinations
from service.outgoing.endpoints import Endpoint
from service.outgoing.http_client import ReceiverClient
from service.outgoing.messages import Message
from service.outgoing.sinks.message_sink import AnswerReceived, MessageSink
from service.outgoing.sinks.stream_addresses import NATS, StreamAddress, check_servers, is_stream, parse_stream_address
from service.outgoing.sinks.stream_credentials import StreamCredentials
from service.outgoing.sinks.webhook_sink import WebhookSink


class ClosedSink:
    """A sink that cannot be opened: it sends nothing, and names the reason."""

    def __init__(self, detail: str) -> None:
        self._detail = detail

    async def send(self, _: Sequence[Message]) -> AnswerReceived:
        """Return the reason."""
        return AnswerReceived(None, self._detail, 0)

    async def close(self) -> None:
        """Do nothing: nothing is open."""


def open_sink(endpoint: Endpoint, client: ReceiverClient, destinations: Destinations) -> MessageSink:
    """Open the sink of an endpoint. It connects when it first sends. Close it at the end."""
    ledger = endpoint.ledger.name
    if not is_stream(endpoint.url):
        return WebhookSink(
            client,
            endpoint.url,
            endpoint.secrets,
            endpoint_id=endpoint.endpoint_id,
            ledger=ledger,
            batched=endpoint.batched,
        )
    try:
        address = parse_stream_address(endpoint.url)
        check_servers(address, destinations.servers)
        return _open_stream(address, msgspec.json.decode(endpoint.secrets[0], type=StreamCredentials), ledger)
    except RequestInvalid as error:  # the list of servers has changed
        return ClosedSink(str(error))
    except ImportError:
        return ClosedSink("the packages of this stream are not installed; docs/outgoing.md names them")


def _open_stream(address: StreamAddress, credentials: StreamCredentials, ledger: str) -> MessageSink:
    if address.kind == NATS:
        from service.outgoing.sinks.nats_sink import JetStreamSink  # an extra

        return JetStreamSink(address, credentials, ledger)
    from service.outgoing.sinks.kafka_sink import KafkaSink  # an extra

    return KafkaSink(address, credentials, ledger)
