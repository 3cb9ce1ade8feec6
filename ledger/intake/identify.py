"""Find the events in a delivered body and identify each one, before anything is stored.

An event key identifies an event when it is delivered again. It is a hash of:

- source, organisation and kind;
- the vendor's id, or its replacement;
- nothing that can change between deliveries.

Once published, the derivation of a kind's key never changes. Golden tests hold it.
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from ledger.errors import Unreadable
from ledger.events import Delivery, NewEvent, Origin
from ledger.facts.fact import quote_id
from ledger.failures import describe_failure
from ledger.parsing import Document, canonical_body, parse_json
from ledger.privacy.detection import PersonalValue
from ledger.privacy.redaction import PersonalPart, RedactedBody, RedactedSpan, redact, redact_unreadable
from ledger.vendors import SOURCES
from ledger.vendors.personal_fields import UNKNOWN_VENDOR as UNKNOWN_PERSONAL
from ledger.vendors.personal_names import identifier_kind_of_name, without_blanks
from ledger.vendors.personal_values import identifier_kind_of_value, normalize_identifier
from ledger.vendors.vendor import NO_ORG, Identity, ParsedEvent

KEY_BYTES = 16
EVENTS_PER_DELIVERY_MAX = 1000

UNREADABLE = "unreadable"  # the kind of a body that is not accepted as JSON
UNKNOWN = "unknown"  # the kind of a readable body in no known envelope


def identify(origin: Origin, body: bytes) -> Delivery:
    """Identify every event of a body, and replace its personal values by markers. Never raises because of content.

    - A body that cannot be parsed is one event of kind "unreadable".
    - A body in no known envelope is one event of kind "unknown".
    - If our own code fails on a body, the body is stored as unreadable.
    - If our own code fails on one event, the bytes of the delivery identify that event.
    """
    try:
        redacted, parsed_events = _redact_and_parse(origin, body)
    except Exception as error:
        redacted, parsed_events = _unreadable(origin, body, describe_failure(error))
    events = _new_events(origin, body, redacted, parsed_events)
    try:
        parts = _parts(origin.source, events[0], redacted)
    except Exception as error:
        redacted, parsed_events = _unreadable(origin, body, describe_failure(error))
        events = _new_events(origin, body, redacted, parsed_events)
        parts = _parts(origin.source, events[0], redacted)
    return Delivery(redacted.payload, events, parts)


def _redact_and_parse(origin: Origin, body: bytes) -> tuple[RedactedBody, list[ParsedEvent]]:
    try:
        document = parse_json(body)
    except Unreadable as unreadable:
        return _unreadable(origin, body, str(unreadable.args[0]))
    vendor = SOURCES.get(origin.source)
    redacted = redact(
        body, document, vendor.personal if vendor else UNKNOWN_PERSONAL, partial(pseudonym, origin.body_hash_key)
    )
    try:
        parsed_events = parse_envelope(origin.source, origin.kind, document)
    except Exception:  # interpret.py reports the failure, as long as it lasts
        parsed_events = []
    if vendor and parsed_events:
        inner = vendor.unwrapped(document.value)
        redacted = (
            redacted if inner is document.value else redacted._replace(sent_structures=frozenset(_structure_ids(inner)))
        )
    return redacted, parsed_events or [_event_of_bytes(UNKNOWN, _body_hash(origin, body))]


def _structure_ids(value: Any) -> Iterator[int]:
    """Yield the ids of all objects in a JSON value."""
    values = [value]
    while values:
        structure = values.pop()
        if isinstance(structure, dict):
            yield id(structure)
            values += structure.values()
        elif isinstance(structure, list):
            values += structure


def _unreadable(origin: Origin, body: bytes, reason: str) -> tuple[RedactedBody, list[ParsedEvent]]:
    """Build one unreadable event from a body. All of the body is treated as personal."""
    return redact_unreadable(body, reason), [_event_of_bytes(UNREADABLE, _body_hash(origin, body))]


def _body_hash(origin: Origin, body: bytes) -> bytes:
    return hmac.digest(origin.body_hash_key, canonical_body(body), "sha256")


def _new_events(
    origin: Origin, body: bytes, redacted: RedactedBody, parsed_events: Sequence[ParsedEvent]
) -> list[NewEvent]:
    payload_hash = hashlib.sha256(redacted.payload).hexdigest()
    events = []
    for ordinal, parsed in enumerate(parsed_events):
        try:
            events.append(_new_event(origin, parsed, ordinal, payload_hash))
        except Exception:
            fallback = _event_of_bytes(parsed.kind, _body_hash(origin, body), str(ordinal))
            events.append(_new_event(origin, fallback._replace(occurred_at=parsed.occurred_at), ordinal, payload_hash))
    return events


def _parts(source: str, first: NewEvent, redacted: RedactedBody) -> list[PersonalPart]:
    """Return the personal values of a delivery by person.

    Values of no named person belong to the only person, if there is exactly one, else to the event itself. Only values
    in structures that the vendor sent belong to the event's normalized values.
    """
    if not redacted.spans:
        return []
    people = [owner for owner in redacted.spans if owner is not None]
    only = people[0] if len(people) == 1 else None
    subjects = {owner: _subject(source, first, owner or only) for owner in redacted.spans}
    spans: dict[str, list[RedactedSpan]] = {}
    for owner, owner_spans in redacted.spans.items():
        spans.setdefault(subjects[owner], []).extend(owner_spans)
    found: dict[str, list[PersonalValue]] = {subject: [] for subject in spans}
    for value in redacted.found:
        found[subjects[value.owner]].append(value)
    sent = redacted.sent_structures
    return [_part(subject, spans[subject], found[subject], sent) for subject in sorted(spans)]


def _part(
    subject: str, spans: Sequence[RedactedSpan], found: Sequence[PersonalValue], sent_structures: frozenset[int] | None
) -> PersonalPart:
    """Build the part of one person. `sent_structures` are those without the wrapper; None: there is no wrapper."""
    pairs = [(without_blanks(value.key), value.value) for value in found]
    identifiers = sorted({pair for key, value in pairs for pair in _identifiers(key, value)})
    if sent_structures is None:
        return PersonalPart(subject, sorted(spans), _canonical_lines(pairs), identifiers)
    sent = [pair for pair, value in zip(pairs, found, strict=True) if id(value.structure) in sent_structures]
    wrapped = _canonical_lines(pairs) if sent_structures else b""
    return PersonalPart(subject, sorted(spans), _canonical_lines(sent) if sent else None, identifiers, wrapped)


def _canonical_lines(pairs: Sequence[tuple[str, Any]]) -> bytes:
    """Encode pairs in canonical order, without duplicates."""
    if len(pairs) == 1:
        return _CANONICAL.encode(pairs[0])
    return b"\n".join(sorted({_CANONICAL.encode(pair) for pair in pairs}))


def _subject(source: str, first: NewEvent, owner: str | None) -> str:
    if owner is None:
        return f"event:{first.event_key.hex()}"
    vendor = SOURCES.get(source)
    return owner if vendor and vendor.personal.person_is_ref else f"{source}:{quote_id(first.org)}:{quote_id(owner)}"


def _identifiers(key: str, value: Any) -> list[tuple[str, str]]:
    """Return the customer's identifiers for look-ups, as pairs (kind of identifier, value)."""
    if type(value) is list:
        return [pair for item in value for pair in _identifiers(key, item)]
    if type(value) in (str, int):
        kind = (
            EXTERNAL_IDS.get(key)
            or identifier_kind_of_name(key)
            or (identifier_kind_of_value(value) if type(value) is str else None)
        )
        if kind:
            return [(kind, str(value))]
    return []


EXTERNAL_IDS = dict.fromkeys(("externalId", "external_id", "source_id"), "external_id")


def pseudonym(hash_key: bytes, kind: str, value: str) -> str:
    """Return the id that replaces an e-mail address or telephone number which a vendor uses as an id.

    Within one ledger it is the same for every spelling of the value. Without the master key it reveals nothing.
    """
    text = f"{kind} {normalize_identifier(kind, value)}"
    return f"{kind}-{hmac.digest(hash_key, text.encode(), 'sha256')[:KEY_BYTES].hex()}"


def parse_envelope(source: str, kind: str | None, document: Document) -> list[ParsedEvent]:
    """Find the events in a document of a source. Empty if its envelope is unknown or holds too many events."""
    vendor = SOURCES.get(source)
    parsed_events = vendor.parse_envelope(document, kind) if vendor else None
    return parsed_events if parsed_events and len(parsed_events) <= EVENTS_PER_DELIVERY_MAX else []


def _event_of_bytes(kind: str, digest: bytes, *place: str) -> ParsedEvent:
    """Build an event that is identified by the hash of its delivery's bytes, and by its place in the delivery."""
    return ParsedEvent(kind, NO_ORG, None, {}, lambda: Identity(("body", digest.hex(), *place), digest.hex()))


def _new_event(origin: Origin, parsed: ParsedEvent, ordinal: int, payload_hash: str) -> NewEvent:
    identity = parsed.identity()
    content = _hash(identity.content)
    parts = identity.parts if identity.parts[0] != "data" else (*identity.parts, content.hex())
    event_key = _hash([origin.source, parsed.org, parsed.kind, *parts])
    occurred_at = parsed.occurred_at
    head = _PLAIN.encode(
        _EntryHeader(
            connection=origin.connection_id,
            content=content.hex(),
            event_key=event_key.hex(),
            kind=parsed.kind,
            ledger=origin.ledger,
            occurred_at=None if occurred_at is None else format_time(occurred_at),
            ordinal=ordinal,
            org=parsed.org,
            payload_sha256=payload_hash,
        )
    )
    return NewEvent(
        connection_id=origin.connection_id,
        source=origin.source,
        org=parsed.org,
        kind=parsed.kind,
        event_key=event_key,
        content=content,
        occurred_at=occurred_at,
        ordinal=ordinal,
        entry_prefix=head[:-1].decode() + ",",
        entry_suffix=f'"source":"{origin.source}"}}',
    )


class _EntryHeader(msgspec.Struct):
    """The fields of an entry before those that the ledger adds, in alphabetical order."""

    connection: str
    content: str
    event_key: str
    kind: str
    ledger: str
    occurred_at: str | None
    ordinal: int
    org: str
    payload_sha256: str


def format_time(time: datetime) -> str:
    """Format a time as entries hold it: UTC, with six digits of fractional seconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _hash(value: Any) -> bytes:
    """Hash a document. The order of its keys and white space have no effect."""
    return hashlib.sha256(_CANONICAL.encode(value)).digest()[:KEY_BYTES]


_PLAIN = msgspec.json.Encoder()
_CANONICAL = msgspec.json.Encoder(order="sorted", decimal_format="number")
