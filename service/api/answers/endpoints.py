"""Types of the answers and bodies about endpoints of outgoing webhooks."""

from typing import Annotated, Literal, TypedDict

import msgspec
from msgspec import Meta

from service.api.answers.fields import Cursor, Time
from service.outgoing.endpoint_options import (
    EVENTS_PER_REQUEST_DEFAULT,
    EVENTS_PER_REQUEST_MAX,
    NOTICE_DAYS_DEFAULT,
    NOTICE_DAYS_MAX,
)
from service.outgoing.sinks.stream_credentials import StreamCredentials

EndpointId = Annotated[str, Meta(examples=["ep_0123456789abcdef01234567"])]
Secret = Annotated[str, Meta(description="The secret of Standard Webhooks. It is shown only once.")]


class EndpointAnswer(TypedDict):
    """An endpoint, and how far it has got."""

    endpoint_id: EndpointId
    ledger: str
    label: str
    url: str
    types: list[str]
    kinds: Annotated[list[str], Meta(description="Kinds of facts; empty means all.")]
    events_per_request: int
    notice_days: int
    corrections: Annotated[bool, Meta(description="True if differences that a promotion uncovers are sent.")]
    live_secrets: int
    created_at: Time
    status: Literal["active", "failing", "disabled"]
    disabled_at: Time | None
    stop_reason: Annotated[
        Literal["gone", "failing", "moved"] | None,
        Meta(
            description="Why it is disabled: `gone` after 410, `failing` after days of failures, "
            "`moved` if it waits for the end of a move. Null if an operator did it."
        ),
    ]
    position: Annotated[int, Meta(ge=0, description="Everything up to this position is delivered.")]
    events_behind: Annotated[int, Meta(ge=0)]
    attempts: int
    succeeded: int
    failures: Annotated[int, Meta(description="Failed attempts since the last success.")]
    failing_since: Time | None
    retry_at: Time | None


class EndpointCreated(EndpointAnswer):
    """A new endpoint, with its secret. A stream has none."""

    secret: Secret | None


class EndpointPage(TypedDict):
    """All endpoints of a ledger."""

    items: list[EndpointAnswer]
    next: Cursor


class EndpointChanged(TypedDict):
    """An endpoint that was changed."""

    endpoint_id: EndpointId
    disabled: bool


class EndpointDeleted(TypedDict):
    """An endpoint that was removed."""

    endpoint_id: EndpointId
    deleted: bool


class EndpointRotated(TypedDict):
    """A further secret of an endpoint."""

    endpoint_id: EndpointId
    secret: Secret


class EndpointSettled(TypedDict):
    """The end of a rotation."""

    endpoint_id: EndpointId
    live_secrets: int


class EndpointCredentialsReplaced(TypedDict):
    """The credentials of a stream that were replaced."""

    endpoint_id: EndpointId
    replaced: bool


class EndpointReplayed(TypedDict):
    """A replay that was begun."""

    endpoint_id: EndpointId
    position: Annotated[int, Meta(ge=0, description="Everything after this position is sent again.")]


class EndpointTested(TypedDict):
    """The result of a test."""

    endpoint_id: EndpointId
    at: Time
    message_id: str
    outcome: Literal["delivered", "failed"]
    status: int | None
    milliseconds: int
    detail: str


class DeliveryAttempt(TypedDict):
    """One attempt to reach an endpoint."""

    attempt: int
    at: Time
    message_id: Annotated[str, Meta(description="The header `webhook-id` of the request.")]
    events: Annotated[int, Meta(description="The number of CloudEvents in the request.")]
    first_id: str
    last_id: str
    outcome: Literal["delivered", "failed", "gone", "test"]
    status: Annotated[int | None, Meta(description="The status of the answer, or null without one.")]
    milliseconds: int
    detail: Annotated[
        str, Meta(description="Why there was no answer, or the first 1,024 bytes of an answer that refuses.")
    ]


class AttemptPage(TypedDict):
    """One page of attempts, newest first."""

    items: list[DeliveryAttempt]
    next: Cursor


class NewEndpoint(msgspec.Struct, forbid_unknown_fields=True):
    """The options of a new endpoint. Empty lists mean everything."""

    url: Annotated[
        str,
        Meta(
            description="The URL of a webhook, or of a stream: nats://, nats+tls://, kafka:// or kafka+tls://.",
            examples=["https://example.com/hooks", "nats+tls://nats.example.com:4222"],
        ),
    ]
    types: Annotated[list[str], Meta(description="Types of messages; see the webhooks of this document.")] = []
    kinds: Annotated[list[str], Meta(description="Kinds of facts.")] = []
    events_per_request: Annotated[
        int,
        Meta(description=f"1 to {EVENTS_PER_REQUEST_MAX}; above 1 the body is an array."),
    ] = EVENTS_PER_REQUEST_DEFAULT
    notice_days: Annotated[
        int, Meta(description=f"Days before a lapse or an expiry at which to give notice, 1 to {NOTICE_DAYS_MAX}.")
    ] = NOTICE_DAYS_DEFAULT
    corrections: Annotated[bool, Meta(description="Send differences that a promotion uncovers, once.")] = False
    label: str = ""
    after: Annotated[int | None, Meta(description="Send what comes after this position. Default: what is new.")] = None
    since: Annotated[str | None, Meta(description="Send what was recorded after this time.")] = None
    credentials: Annotated[StreamCredentials | None, Meta(description="The credentials of a stream.")] = None


class ChangedEndpoint(msgspec.Struct, forbid_unknown_fields=True):
    """The options that change. Options that are left out, or null, stay."""

    url: str | None = None
    types: Annotated[list[str] | None, Meta(description="Types of messages. An empty list means all.")] = None
    kinds: Annotated[list[str] | None, Meta(description="Kinds of facts. An empty list means all.")] = None
    events_per_request: int | None = None
    notice_days: int | None = None
    label: str | None = None
    corrections: Annotated[bool | None, Meta(description="Send differences that a promotion uncovers, once.")] = None


class Replay(msgspec.Struct, forbid_unknown_fields=True):
    """From where on everything is sent again: a position or a time."""

    after: int | None = None
    since: str | None = None
