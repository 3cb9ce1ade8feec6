"""Send messages to a webhook, in one signed request."""

from collections.abc import Sequence

from ledger import clock
from service.outgoing.http_client import ReceiverClient
from service.outgoing.messages import BATCH_CONTENT_TYPE, CONTENT_TYPE, Message, encode_body, request_id
from service.outgoing.signatures import signature_headers
from service.outgoing.sinks.message_sink import AnswerReceived


class WebhookSink:
    """Sends the messages of one ledger to a URL. The client is shared with other sinks."""

    def __init__(
        self,
        client: ReceiverClient,
        url: str,
        secrets: Sequence[bytes],
        *,
        endpoint_id: str,
        ledger: str,
        batched: bool,
    ) -> None:
        self._client, self._url, self._secrets = client, url, secrets
        self._endpoint_id, self._ledger, self._batched = endpoint_id, ledger, batched

    async def send(self, messages: Sequence[Message]) -> AnswerReceived:
        """Send one request, and return its result."""
        body = encode_body(messages, self._ledger, batched=self._batched)
        message_id = request_id(self._endpoint_id, messages)
        headers = {
            "Content-Type": BATCH_CONTENT_TYPE if self._batched else CONTENT_TYPE,
            **signature_headers(self._secrets, message_id, clock.now(), body),
        }
        return await self._client.post(self._url, headers, body)

    async def close(self) -> None:
        """Do nothing: the client stays open for other sinks."""
