"""Find the events in a delivered body and name each one, before anything is stored.

An event key says what makes an event the same event when it comes again. It is made of (source, org, kind, the
vendor's id or what stands in for it) and of nothing that may change between deliveries. Once published, the derivation
of a kind's key never changes: golden tests hold it.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from ledger.errors import Unreadable
from ledger.reading import Document, read
from ledger.vendors import VENDORS
from ledger.vendors.vendor import NO_ORG, Member

KEY_BYTES = 16
EVENTS_PER_DELIVERY_MAX = 1000

UNREADABLE = "unreadable"  # the kind of a body that is no JSON we accept
UNKNOWN = "unknown"  # the kind of a readable body in no envelope that we know


class Draft(NamedTuple):
    """An event as it will be appended, but for what only the ledger can give: position and recorded time."""

    connection_id: str
    source: str
    org: str
    kind: str
    event_key: bytes
    content: bytes
    occurred_at: datetime | None
    ordinal: int
    entry_head: str
    entry_tail: str


class Delivery(NamedTuple):
    """One delivered body and the events in it."""

    payload: bytes
    drafts: Sequence[Draft]


def identify(ledger: str, connection_id: str, source: str, kind: str | None, body: bytes) -> Delivery:
    """Name every event of a body that came in over a connection; `kind` is the event the connection names, if any.

    Never refuses: a body that cannot be read is one event of kind "unreadable", one in no known envelope is "unknown".
    """
    members = _members(source, kind, body)
    payload_hash = hashlib.sha256(body).hexdigest()
    return Delivery(
        body,
        [
            _draft(ledger, connection_id, source, member, ordinal, payload_hash)
            for ordinal, member in enumerate(members)
        ],
    )


def _members(source: str, kind: str | None, body: bytes) -> list[Member]:
    try:
        document = read(body)
    except Unreadable:
        return [whole(UNREADABLE, body)]
    members = open_document(source, kind, document)
    return members or [whole(UNKNOWN, body)]


def open_document(source: str, kind: str | None, document: Document) -> list[Member]:
    """Find the events in a document of a source; none when its envelope is unknown or holds too many."""
    vendor = VENDORS.get(source)
    members = vendor.open(document, kind) if vendor else None
    return members if members and len(members) <= EVENTS_PER_DELIVERY_MAX else []


def whole(kind: str, body: bytes) -> Member:
    """Take a body as one event that is known by its bytes alone."""
    digest = hashlib.sha256(body).hexdigest()
    return Member(kind, NO_ORG, ("body", digest), None, digest, {})


def _draft(ledger: str, connection_id: str, source: str, member: Member, ordinal: int, payload_hash: str) -> Draft:
    content = _hash(member.content)
    identity = member.identity if member.identity[0] != "data" else (*member.identity, content.hex())
    event_key = _hash([source, member.org, member.kind, *identity])
    occurred_at = member.occurred_at
    head = _CANONICAL.encode(
        {
            "connection": connection_id,
            "content": content.hex(),
            "event_key": event_key.hex(),
            "kind": member.kind,
            "ledger": ledger,
            "occurred_at": None if occurred_at is None else text_of(occurred_at),
            "ordinal": ordinal,
            "org": member.org,
            "payload_sha256": payload_hash,
        }
    )
    return Draft(
        connection_id=connection_id,
        source=source,
        org=member.org,
        kind=member.kind,
        event_key=event_key,
        content=content,
        occurred_at=occurred_at,
        ordinal=ordinal,
        entry_head=head[:-1].decode() + ',"position":',
        entry_tail=f'"source":"{source}"}}',
    )


def text_of(time: datetime) -> str:
    """Write a time the one way entries do: UTC, with all six places of the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _hash(value: Any) -> bytes:
    """Hash a document independently of the order of its keys and of white space."""
    return hashlib.sha256(_CANONICAL.encode(value)).digest()[:KEY_BYTES]


_CANONICAL = msgspec.json.Encoder(order="sorted", decimal_format="number")
