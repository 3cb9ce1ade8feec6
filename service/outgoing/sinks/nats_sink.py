"""Send messages to a stream of NATS JetStream, and wait for its acknowledgements.

- The subject of a message is `loyalty.LEDGER.TYPE`. The operator of the server binds a stream to `loyalty.LEDGER.>`.
- The header Nats-Msg-Id names the message. Within its window of duplicates a stream stores it once.
- A lost connection fails the batch, which is sent again on a new one. So the client itself never connects again: it
  would send to servers that the other side names.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client, RawCredentials
from nats.js.client import JetStreamContext

from service.outgoing.messages import Message, encode_message, text_attributes
from service.outgoing.sinks.message_sink import SECONDS_MAX, AnswerReceived, divide_by_subject, printable_answer
from service.outgoing.sinks.stream_addresses import StreamAddress
from service.outgoing.sinks.stream_credentials import StreamCredentials, make_tls_context

CONNECT_SECONDS_MAX = 10
PAUSE_SECONDS = 0  # before the second try of a server
MESSAGES_PENDING_MAX = 1_000
CLIENT_NAME = "loyalty-ledger"
HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
CREDENTIALS_REFUSED = "the server refuses the credentials"
DETAILS: Mapping[type[BaseException], str] = {
    nats.js.errors.NoStreamResponseError: "no stream takes the subject loyalty.LEDGER.TYPE",
    nats.errors.AuthorizationError: CREDENTIALS_REFUSED,
    nats.errors.MaxPayloadError: "a message is larger than the server allows",
    nats.errors.NoServersError: "no server can be reached",
    TimeoutError: f"no acknowledgement within {SECONDS_MAX:g} s",
}


class JetStreamSink:
    """Sends the messages of one ledger to JetStream. It connects when it first sends."""

    def __init__(self, address: StreamAddress, credentials: StreamCredentials, ledger: str) -> None:
        self._address, self._credentials, self._ledger = address, credentials, ledger
        self._client: Client | None = None
        self._stream: JetStreamContext | None = None
        self._closed: asyncio.Future[None] | None = None
        self._error: Exception | None = None  # the last that the client has reported

    async def send(self, messages: Sequence[Message]) -> AnswerReceived:
        """Publish a batch, and return when every message is acknowledged, or one is not."""
        began = time.monotonic()
        detail, is_acknowledged = "", False
        try:
            async with asyncio.timeout(SECONDS_MAX):
                stream = await self._connect()
                for part in divide_by_subject(messages):
                    await self._publish(stream, part)
            is_acknowledged = True
        except (nats.errors.Error, OSError, TimeoutError) as error:  # an error of TLS is an OSError
            detail = self._describe(error)
            await self.close()
        milliseconds = round((time.monotonic() - began) * 1000)
        return AnswerReceived(None, detail, milliseconds, is_acknowledged=is_acknowledged)

    async def close(self) -> None:
        """Close the connection."""
        client, self._client, self._stream = self._client, None, None
        if client is not None and not client.is_closed:
            await client.close()

    async def _connect(self) -> JetStreamContext:
        if self._stream is not None and self._client is not None and self._client.is_connected:
            return self._stream
        await self.close()
        self._error = None
        self._closed = asyncio.get_running_loop().create_future()
        self._client = client = Client()
        await client.connect(
            [f"{'tls' if self._address.uses_tls else 'nats'}://{server}" for server in self._address.servers],
            name=CLIENT_NAME,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # of each server; 0 would mean no limit
            reconnect_time_wait=PAUSE_SECONDS,
            connect_timeout=CONNECT_SECONDS_MAX,
            error_cb=self._keep_error,
            closed_cb=self._signal_closed,
            **self._login(),
        )
        self._stream = client.jetstream(publish_async_max_pending=MESSAGES_PENDING_MAX)
        return self._stream

    def _login(self) -> dict[str, Any]:
        """Return the options of a connection that hold credentials."""
        given = self._credentials
        options: dict[str, Any] = {}
        if self._address.uses_tls:
            options["tls"] = make_tls_context(given)
        if given.creds:
            options["user_credentials"] = RawCredentials(given.creds)
        elif given.token:
            options["token"] = given.token
        elif given.user:
            options["user"], options["password"] = given.user, given.password
        return options

    async def _publish(self, stream: JetStreamContext, part: Sequence[Message]) -> None:
        """Publish messages of different subjects, and wait for all acknowledgements. Raises an error of NATS."""
        assert self._closed is not None
        acknowledgements = []
        for message in part:
            headers, body = self._encode(message)
            subject = f"loyalty.{self._ledger}.{message.type}"
            acknowledgements.append(await stream.publish_async(subject, body, headers=headers))
        everything = asyncio.gather(*acknowledgements)
        try:
            await asyncio.wait((everything, self._closed), return_when=asyncio.FIRST_COMPLETED)
            if not everything.done():
                raise nats.errors.ConnectionClosedError
            everything.result()
        finally:
            everything.cancel()

    def _encode(self, message: Message) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body of a message, as the NATS binding of CloudEvents defines both modes."""
        headers = {"Nats-Msg-Id": quote(f"{self._ledger}/{message.identifier}", safe=HEADER_SAFE)}
        if self._address.content_mode == "structured":
            headers["content-type"] = "application/cloudevents+json"
            return headers, encode_message(message, self._ledger)
        headers["content-type"] = "application/json"
        attributes = text_attributes(message, self._ledger)
        return {**headers, **{f"ce-{name}": quote(text, safe=HEADER_SAFE) for name, text in attributes.items()}}, (
            message.data
        )

    async def _keep_error(self, error: Exception) -> None:
        self._error = error

    async def _signal_closed(self) -> None:
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def _describe(self, error: BaseException) -> str:
        """Describe an error without credentials and addresses."""
        if isinstance(error, (nats.errors.NoServersError, nats.errors.ConnectionClosedError)):
            error = self._error or error  # why it could not connect, or why the connection ended
        if isinstance(error, nats.js.errors.APIError):
            return printable_answer(f"{error.code} {error.description}")
        if "authorization violation" in str(error).lower():  # during the connection it has no type of its own
            return CREDENTIALS_REFUSED
        known = next((text for kind, text in DETAILS.items() if isinstance(error, kind)), None)
        return known or type(error).__name__
