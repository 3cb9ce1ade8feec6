"""Find the events in a delivered body and name each one, before anything is stored.

An event key says what makes an event the same event when it comes again. It is made of (source, org, kind, the
vendor's id or what stands in for it) and of nothing that may change between deliveries. Once published, the derivation
of a kind's key never changes: golden tests hold it.
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import msgspec

from ledger.errors import Unreadable
from ledger.facts.fact import quote_id
from ledger.failures import failure
from ledger.parsing import Document, as_known, parse_json
from ledger.privacy.redaction import PersonalPart, RedactedBody, RedactedSpan, cut_unreadable, redact
from ledger.vendors import SOURCES
from ledger.vendors.personal_fields import UNKNOWN_VENDOR as UNKNOWN_PERSONAL
from ledger.vendors.personal_names import identifier_kind_of_name, without_blanks
from ledger.vendors.personal_values import identifier_kind_of_value, normalize_identifier
from ledger.vendors.vendor import NO_ORG, Identity, ParsedEvent

KEY_BYTES = 16
EVENTS_PER_DELIVERY_MAX = 1000

UNREADABLE = "unreadable"  # the kind of a body that is no JSON we accept
UNKNOWN = "unknown"  # the kind of a readable body in no envelope that we know


class NewEvent(NamedTuple):
    """An event as it will be appended, but for what only the vault and the ledger can give: the commitment to the
    personal part, position and recorded time, which stand between the head and the tail of the entry."""

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
    """One delivered body without its personal values, the events in it, and what was cut out, by person."""

    payload: bytes
    drafts: Sequence[NewEvent]
    parts: Sequence[PersonalPart]


class Origin(NamedTuple):
    """Where a body came from. `kind` is the event that the connection names, if any; `mask` a secret of the ledger: a
    body that cannot be read is known by its bytes, and their plain hash might give away a short one."""

    ledger: str
    connection_id: str
    source: str
    kind: str | None
    mask: bytes


def identify(origin: Origin, body: bytes) -> Delivery:
    """Name every event of a body, and cut out what is personal.

    Never refuses: a body that cannot be read is one event of kind "unreadable", one in no known envelope is "unknown".
    Never fails on content either. Where our own code fails on a body, it is kept as if it could not be read; where it
    fails on one event, that event is known by the bytes of the delivery.
    """
    try:
        taken, members = _open(origin, body)
    except Exception as error:
        taken, members = _unread(origin, body, failure(error))
    drafts = _drafts(origin, body, taken, members)
    try:
        parts = _parts(origin.source, drafts[0], taken)
    except Exception as error:
        taken, members = _unread(origin, body, failure(error))
        drafts = _drafts(origin, body, taken, members)
        parts = _parts(origin.source, drafts[0], taken)
    return Delivery(taken.payload, drafts, parts)


def _open(origin: Origin, body: bytes) -> tuple[RedactedBody, list[ParsedEvent]]:
    try:
        document = parse_json(body)
    except Unreadable as unreadable:
        return _unread(origin, body, str(unreadable.args[0]))
    vendor = SOURCES.get(origin.source)
    taken = redact(body, document, vendor.personal if vendor else UNKNOWN_PERSONAL, partial(pseudonym, origin.mask))
    try:
        members = parse_envelope(origin.source, origin.kind, document)
    except Exception:  # interpret.py tells which, as long as it fails
        members = []
    if vendor and members:
        inner = vendor.unwrapped(document.value)
        taken = taken if inner is document.value else taken._replace(told=frozenset(_structures(inner)))
    return taken, members or [_by_bytes(UNKNOWN, _digest(origin, body))]


def _structures(value: Any) -> Iterator[int]:
    """Give the ids of all structures in a value."""
    values = [value]
    while values:
        one = values.pop()
        if isinstance(one, dict):
            yield id(one)
            values += one.values()
        elif isinstance(one, list):
            values += one


def _unread(origin: Origin, body: bytes, reason: str) -> tuple[RedactedBody, list[ParsedEvent]]:
    """Take a body as one event that cannot be read, all of it personal."""
    return cut_unreadable(body, reason), [_by_bytes(UNREADABLE, _digest(origin, body))]


def _digest(origin: Origin, body: bytes) -> bytes:
    return hmac.digest(origin.mask, as_known(body), "sha256")


def _drafts(origin: Origin, body: bytes, taken: RedactedBody, members: Sequence[ParsedEvent]) -> list[NewEvent]:
    payload_hash = hashlib.sha256(taken.payload).hexdigest()
    drafts = []
    for ordinal, member in enumerate(members):
        try:
            drafts.append(_draft(origin, member, ordinal, payload_hash))
        except Exception:
            nameless = _by_bytes(member.kind, _digest(origin, body), str(ordinal))
            drafts.append(_draft(origin, nameless._replace(occurred_at=member.occurred_at), ordinal, payload_hash))
    return drafts


def _parts(source: str, first: NewEvent, taken: RedactedBody) -> list[PersonalPart]:
    """Give what was cut out of a delivery for each person. What is about nobody named is the only person's, if there is
    one, else the event's own. Only what stands in structures that the vendor sent is a part of what the event says."""
    if not taken.pieces:
        return []
    people = [owner for owner in taken.pieces if owner is not None]
    only = people[0] if len(people) == 1 else None
    subjects = {owner: _subject(source, first, owner or only) for owner in taken.pieces}
    pieces: dict[str, list[RedactedSpan]] = {subject: [] for subject in subjects.values()}
    values: dict[str, list[tuple[str, Any]]] = {subject: [] for subject in pieces}
    for owner, cut_out in taken.pieces.items():
        pieces[subjects[owner]] += cut_out
    said: dict[str, set[bytes]] = {subject: set() for subject in pieces} if taken.told is None else {}
    for one in taken.found:
        pair = (without_blanks(one.key), one.value)
        values[subjects[one.owner]].append(pair)
        if taken.told is None or id(one.structure) in taken.told:
            said.setdefault(subjects[one.owner], set()).add(_CANONICAL.encode(pair))
    return [
        PersonalPart(
            subject,
            sorted(pieces[subject]),
            b"\n".join(sorted(said[subject])) if subject in said else None,
            sorted({found for key, value in values[subject] for found in _identifiers(key, value)}),
            b"\n".join(sorted({_CANONICAL.encode(value) for value in values[subject]})) if taken.told else b"",
        )
        for subject in sorted(pieces)
    ]


def _subject(source: str, first: NewEvent, owner: str | None) -> str:
    if owner is None:
        return f"event:{first.event_key.hex()}"
    vendor = SOURCES.get(source)
    return owner if vendor and vendor.personal.person_is_ref else f"{source}:{quote_id(first.org)}:{quote_id(owner)}"


def _identifiers(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield by what a customer may be looked up: what it is, and its value."""
    if type(value) is list:
        for item in value:
            yield from _identifiers(key, item)
    elif type(value) in (str, int):
        kind = (
            EXTERNAL_IDS.get(key)
            or identifier_kind_of_name(key)
            or (identifier_kind_of_value(value) if type(value) is str else None)
        )
        if kind:
            yield kind, str(value)


EXTERNAL_IDS = dict.fromkeys(("externalId", "external_id", "source_id"), "external_id")


def pseudonym(mask: bytes, kind: str, value: str) -> str:
    """Return the id that takes the place of an e-mail address or telephone number which a vendor uses as one.

    It is the same for every spelling of the value in one ledger, and gives nothing away without the master key.
    """
    text = f"{kind} {normalize_identifier(kind, value)}"
    return f"{kind}-{hmac.digest(mask, text.encode(), 'sha256')[:KEY_BYTES].hex()}"


def parse_envelope(source: str, kind: str | None, document: Document) -> list[ParsedEvent]:
    """Find the events in a document of a source; none when its envelope is unknown or holds too many."""
    vendor = SOURCES.get(source)
    members = vendor.parse_envelope(document, kind) if vendor else None
    return members if members and len(members) <= EVENTS_PER_DELIVERY_MAX else []


def _by_bytes(kind: str, digest: bytes, *place: str) -> ParsedEvent:
    """Take a body, or one event of it at a place, as an event that is known by its bytes alone."""
    return ParsedEvent(kind, NO_ORG, None, {}, lambda: Identity(("body", digest.hex(), *place), digest.hex()))


def _draft(origin: Origin, member: ParsedEvent, ordinal: int, payload_hash: str) -> NewEvent:
    identity = member.identity()
    content = _hash(identity.content)
    parts = identity.parts if identity.parts[0] != "data" else (*identity.parts, content.hex())
    event_key = _hash([origin.source, member.org, member.kind, *parts])
    occurred_at = member.occurred_at
    head = _PLAIN.encode(
        _EntryHeader(
            connection=origin.connection_id,
            content=content.hex(),
            event_key=event_key.hex(),
            kind=member.kind,
            ledger=origin.ledger,
            occurred_at=None if occurred_at is None else text_of(occurred_at),
            ordinal=ordinal,
            org=member.org,
            payload_sha256=payload_hash,
        )
    )
    return NewEvent(
        connection_id=origin.connection_id,
        source=origin.source,
        org=member.org,
        kind=member.kind,
        event_key=event_key,
        content=content,
        occurred_at=occurred_at,
        ordinal=ordinal,
        entry_head=head[:-1].decode() + ",",
        entry_tail=f'"source":"{origin.source}"}}',
    )


class _EntryHeader(msgspec.Struct):
    """What an entry says before what the ledger adds, in the order of the alphabet."""

    connection: str
    content: str
    event_key: str
    kind: str
    ledger: str
    occurred_at: str | None
    ordinal: int
    org: str
    payload_sha256: str


def text_of(time: datetime) -> str:
    """Write a time the one way entries do: UTC, with all six places of the second."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _hash(value: Any) -> bytes:
    """Hash a document independently of the order of its keys and of white space."""
    return hashlib.sha256(_CANONICAL.encode(value)).digest()[:KEY_BYTES]


_PLAIN = msgspec.json.Encoder()
_CANONICAL = msgspec.json.Encoder(order="sorted", decimal_format="number")
