"""The types of messages: the meaning, the data and an example of each. The OpenAPI document publishes this table."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, TypedDict

from msgspec import Meta

from service.outgoing.messages import FACTS, RETRACTIONS, sequence_of

FACT_RECORDED = "fact.recorded"
FACT_RETRACTED = "fact.retracted"
ENDPOINT_TEST = "endpoint.test"

MessagePoints = Annotated[Decimal, Meta(description="Exact points in plain notation.")]
MessageTime = Annotated[datetime, Meta(tz=True)]
MessagePosition = Annotated[int, Meta(ge=1, description="The position of the event in the ledger.")]


class FactData(TypedDict):
    """A fact, as `GET /v1/ledger/events/{position}` shows it."""

    position: MessagePosition
    ordinal: Annotated[int, Meta(ge=0, description="The number of the fact within its event.")]
    fact: Annotated[str, Meta(description="The kind of the fact.")]
    subject_kind: str
    subject: str
    occurred_at: MessageTime
    untimed: Annotated[bool, Meta(description="True if the recorded time stands for a time that the vendor left out.")]
    fields: Annotated[dict[str, Any], Meta(description="The fields of the fact; points are strings.")]


class RetractedFactData(FactData):
    """A fact that is no longer folded."""

    retracted_by: Annotated[int, Meta(ge=1, description="The position of the event that took it back.")]


class TestData(TypedDict):
    """The data of a test."""

    endpoint: str


class MessageType(NamedTuple):
    """One type of messages. `example` is the data of one."""

    name: str
    summary: str
    description: str
    data: Any
    example: Mapping[str, Any]
    example_id: str
    example_subject: str
    example_sequence: str | None = None  # None for notices and tests, which the clock or an operator causes


EXAMPLE_FACT: Mapping[str, Any] = {
    "position": 17,
    "ordinal": 0,
    "fact": "Issued",
    "subject_kind": "account",
    "subject": "capillary:9001:87884897",
    "occurred_at": "2026-03-01T09:30:00Z",
    "untimed": False,
    "fields": {
        "holder": "capillary:9001:87884897",
        "programme": "838",
        "grants": [{"points": "120", "expires_on": "2027-03-31"}],
    },
}

MESSAGE_TYPES: Mapping[str, MessageType] = {
    one.name: one
    for one in (
        MessageType(
            FACT_RECORDED,
            "A fact was recorded",
            "Each fact of each event, in the order of the ledger. The id is `position/ordinal`. `kinds` of an endpoint "
            "selects kinds of facts.",
            FactData,
            EXAMPLE_FACT,
            "17/0",
            "account/capillary:9001:87884897",
            sequence_of(17, FACTS, 0),
        ),
        MessageType(
            FACT_RETRACTED,
            "A fact was taken back",
            "An event with the same key and other content won, or a policy changed. The fact counts no longer.",
            RetractedFactData,
            {**EXAMPLE_FACT, "retracted_by": 23},
            "23/fact.retracted/17/0",
            "account/capillary:9001:87884897",
            sequence_of(23, RETRACTIONS, 1),
        ),
        MessageType(
            ENDPOINT_TEST,
            "A test of the endpoint",
            "Sent when an operator asks for a test. It has no sequence, and means nothing else.",
            TestData,
            {"endpoint": "ep_0123456789abcdef01234567"},
            "test/1772357400000000",
            "ep_0123456789abcdef01234567",
        ),
    )
}
SUBSCRIBED_TYPES = frozenset(MESSAGE_TYPES) - {ENDPOINT_TEST}  # that an endpoint may ask for
