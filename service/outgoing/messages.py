"""Messages to receivers, as CloudEvents 1.0 in JSON. Pure.

A message about an event of the ledger has a cursor: its place in the feed of an endpoint. Its id and its sequence
follow from the ledger alone. So a retry, a replay, a rebuild and another sender give a message the same id.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

CONTENT_TYPE = "application/cloudevents+json"
BATCH_CONTENT_TYPE = "application/cloudevents-batch+json"
ORDINALS_PER_GROUP = 100_000  # of one position: facts, then facts taken back, then changes; see `sequence_of`
MESSAGE_ID_CHARACTERS = 32
FACTS, RETRACTIONS, RESTORATIONS, CHANGES, TERMS = range(5)  # groups of messages about one position, in their order
SEQUENCE_DIGITS = 20
GROUPS = 10


class FeedCursor(NamedTuple):
    """The place of an endpoint in its feed: all messages up to `position` are delivered, and `ordinal` of the next."""

    position: int
    ordinal: int = 0


class Message(NamedTuple):
    """One message. `cursor` is the place after it; None for a notice, which the clock causes."""

    cursor: FeedCursor | None
    identifier: str
    type: str
    subject: str
    time: datetime
    sequence: str | None
    data: bytes  # JSON


def sequence_of(position: int, group: int, ordinal: int) -> str:
    """Return the sequence of a message: 20 digits, so that the order of texts is the order of messages."""
    return f"{(position * GROUPS + group) * ORDINALS_PER_GROUP + ordinal:0{SEQUENCE_DIGITS}d}"


def attributes_of(message: Message, ledger: str) -> dict[str, Any]:
    """Return the attributes of a message as a CloudEvent, without its data. The source is the path of the ledger."""
    attributes = {
        "specversion": "1.0",
        "id": message.identifier,
        "source": f"/ledgers/{ledger}",
        "type": message.type,
        "subject": message.subject,
        "time": message.time,
        "datacontenttype": "application/json",
    }
    if message.sequence is not None:
        attributes["sequence"] = message.sequence
    return attributes


def text_attributes(message: Message, ledger: str) -> dict[str, str]:
    """Return the attributes as texts, for headers of the binary mode. A header of its own has the type of the data."""
    attributes = attributes_of(message, ledger)
    del attributes["datacontenttype"]
    return {**attributes, "time": message.time.astimezone(UTC).isoformat().replace("+00:00", "Z")}


def encode_message(message: Message, ledger: str) -> bytes:
    """Return a message as a CloudEvent in JSON."""
    event = {**attributes_of(message, ledger), "data": orjson.Fragment(message.data)}
    return orjson.dumps(event, option=orjson.OPT_UTC_Z)


def encode_body(messages: Sequence[Message], ledger: str, *, batched: bool) -> bytes:
    """Return the body of a request: one CloudEvent, or a JSON array of them."""
    encoded = [encode_message(message, ledger) for message in messages]
    if not batched:
        [alone] = encoded
        return alone
    return b"[" + b",".join(encoded) + b"]"


def request_id(endpoint_id: str, messages: Sequence[Message]) -> str:
    """Return the id of a request. It is the same whenever the same messages are sent to the same endpoint."""
    ids = "\n".join((endpoint_id, *(message.identifier for message in messages)))
    return f"msg_{hashlib.sha256(ids.encode()).hexdigest()[:MESSAGE_ID_CHARACTERS]}"
