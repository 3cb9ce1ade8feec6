"""The values that pass through the ledger: a delivery and its events before they are stored, and a stored event."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ledger.privacy.redaction import PersonalPart


class Origin(NamedTuple):
    """The source of a body. `kind` is the kind that the connection names, or None.

    `body_hash_key` is a secret of the ledger. An unreadable body is identified by a keyed hash of its bytes. A plain
    hash could reveal a short body.
    """

    ledger: str
    connection_id: str
    source: str
    kind: str | None
    body_hash_key: bytes


class NewEvent(NamedTuple):
    """An event before the append. The ledger adds the commitment to personal parts, the position and the recorded time.

    They are in the entry between `entry_prefix` and `entry_suffix`.
    """

    connection_id: str
    source: str
    org: str
    kind: str
    event_key: bytes
    content: bytes
    occurred_at: datetime | None
    ordinal: int
    entry_prefix: str
    entry_suffix: str


class Delivery(NamedTuple):
    """One body with markers in place of personal values, its events, and the personal values by person."""

    payload: bytes
    events: Sequence[NewEvent]
    parts: Sequence[PersonalPart]

    def as_stored(self, recorded_at: datetime, position: int = 1) -> "list[Event]":
        """Return the events as they would be stored from a position on, to interpret them before the append."""
        return [
            Event(
                position=number,
                source=event.source,
                org=event.org,
                kind=event.kind,
                event_key=event.event_key,
                content=event.content,
                occurred_at=event.occurred_at,
                recorded_at=recorded_at,
                ordinal=event.ordinal,
                payload=self.payload,
            )
            for number, event in enumerate(self.events, position)
        ]


class Event(NamedTuple):
    """An event as it is stored, including its body."""

    position: int
    source: str
    org: str
    kind: str
    event_key: bytes  # 16 bytes, or 32 for an event in conflict
    content: bytes
    occurred_at: datetime | None
    recorded_at: datetime
    ordinal: int
    payload: bytes

    @property
    def event_tag(self) -> bytes:
        """16 bytes of event key and content. They order events in conflict independently of their arrival."""
        return self.event_key[:8] + self.content[:8]
