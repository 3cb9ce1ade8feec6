"""The interface of a sink: a receiver of messages. Webhooks, NATS and Kafka each have one class.

A sink sends the messages of one batch, and returns one result for all. It never raises for a fault of the receiver.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ledger.vendors.personal_values import is_personal_value
from service.outgoing.messages import Message

SECONDS_MAX = 20.0  # of one batch
GONE = 410
HELD_BACK = "(the answer is not kept: it may hold personal data)"


class AnswerReceived(NamedTuple):
    """The result of one batch. `status` is None if there was no answer, or the sink is a stream.

    `detail` names the reason of a failure.
    """

    status: int | None
    detail: str
    milliseconds: int
    retry_after_seconds: float | None = None
    is_acknowledged: bool = False  # by a stream, which has no status

    @property
    def is_success(self) -> bool:
        """True if the receiver has accepted the messages."""
        return self.is_acknowledged or (self.status is not None and 200 <= self.status < 300)

    @property
    def is_gone(self) -> bool:
        """True if the receiver wants no further messages."""
        return self.status == GONE


class MessageSink(Protocol):
    """Sends batches of messages to one endpoint."""

    async def send(self, messages: Sequence[Message]) -> AnswerReceived:
        """Send a batch, and return when all of it is accepted, or a part is not."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


def printable_answer(text: str) -> str:
    """Return a text of a receiver as it may be stored."""
    text = text.replace("\0", "")
    return HELD_BACK if is_personal_value(text) else text


def divide_by_subject(messages: Sequence[Message]) -> list[list[Message]]:
    """Divide messages into parts, each with at most one message of a subject, in order.

    A part is sent when the one before it is acknowledged. So no message overtakes an earlier one of its subject, even
    if a stream loses or refuses single messages.
    """
    parts: list[list[Message]] = []
    counts: dict[str, int] = defaultdict(int)
    for message in messages:
        number = counts[message.subject]
        counts[message.subject] += 1
        if number == len(parts):
            parts.append([])
        parts[number].append(message)
    return parts
