"""The section `webhooks` of the OpenAPI document: the messages that endpoints receive, from their table of types."""

from collections.abc import Mapping
from typing import Any

from service.outgoing.message_types import MESSAGE_TYPES, MessageType
from service.outgoing.messages import CONTENT_TYPE

WEBHOOK_DATA = tuple(one.data for one in MESSAGE_TYPES.values())
IN_BATCHES = "In batches the body is an array, as `application/cloudevents-batch+json`."
STRING: Mapping[str, Any] = {"type": "string"}
HEADERS: Mapping[str, str] = {
    "webhook-id": "The id of the request. A retry has the same.",
    "webhook-timestamp": "The time of the attempt, in seconds since 1970.",
    "webhook-signature": "`v1,` and the signature in base64, for each live secret, separated by blanks.",
}
ENVELOPE: Mapping[str, Mapping[str, Any]] = {
    "specversion": {"const": "1.0"},
    "id": {**STRING, "description": "Together with `source` it names the message. A message sent again has the same."},
    "source": {**STRING, "description": "The path of the ledger."},
    "subject": {**STRING, "description": "The subject; messages of one subject arrive in order."},
    "time": {**STRING, "format": "date-time"},
    "sequence": {
        **STRING,
        "pattern": "^[0-9]{20}$",
        "description": "The order of messages: texts that sort as the ledger does. Notices and tests have none.",
    },
    "datacontenttype": {"const": "application/json"},
}
REQUIRED = ("specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data")
ANSWERS: Mapping[str, Any] = {
    "2XX": {"description": "The messages are accepted. The next ones follow."},
    "410": {"description": "No further messages are wanted. The endpoint is disabled."},
    "default": {"description": "The same request is sent again later, for days. `Retry-After` is kept."},
}


def build_webhooks(schemas: Mapping[int, Any]) -> dict[str, Any]:
    """Return the section. `schemas` holds the schema of each type's data by identity."""
    return {one.name: {"post": _webhook(one, schemas)} for one in MESSAGE_TYPES.values()}


def _webhook(one: MessageType, schemas: Mapping[int, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": list(REQUIRED),
        "properties": {**ENVELOPE, "type": {"const": one.name}, "data": schemas[id(one.data)]},
    }
    return {
        "operationId": f"receive_{one.name.replace('.', '_')}",
        "tags": ["outgoing"],
        "summary": one.summary,
        "description": f"{one.description}\n\n{IN_BATCHES}",
        "security": [],
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": dict(STRING)}
            for name, text in HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {CONTENT_TYPE: {"schema": schema, "example": example_of(one)}}},
        "responses": dict(ANSWERS),
    }


def example_of(one: MessageType) -> dict[str, Any]:
    """Return a whole message of a type."""
    event = {
        "specversion": "1.0",
        "id": one.example_id,
        "source": "/ledgers/acme",
        "type": one.name,
        "subject": one.example_subject,
        "time": "2026-03-01T09:30:00Z",
        "datacontenttype": "application/json",
    }
    if one.example_sequence is not None:
        event["sequence"] = one.example_sequence
    return {**event, "data": dict(one.example)}
