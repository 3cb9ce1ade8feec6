"""Work out what a stored event means: its facts, or why there are none. Pure, so that replay gives the same again."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace
from pydantic import ValidationError

from ledger.errors import Unreadable
from ledger.facts import Fact, Occurrence, RecordedFact, encode
from ledger.facts.accounts import AccountFact
from ledger.facts.tiers import TierFact
from ledger.failures import failure
from ledger.intake.identify import UNREADABLE, parse_envelope
from ledger.parsing import parse_json, reparse_json
from ledger.privacy.redaction import reason_unreadable
from ledger.vendors import SOURCES
from ledger.vendors.leniency import UnreadableValue, describe_error, unreadable_values
from ledger.vendors.vendor import EventContext, EventType, ParsedEvent

REASON_CHARACTERS_MAX = 300
FACTS_PER_EVENT_MAX = 10_000
CLOCK_AHEAD_MAX = timedelta(minutes=15)  # an event dated further after its recording is listed: no clock is so far off


class Event(NamedTuple):
    """What the ledger holds of one event, its body included."""

    position: int
    source: str
    org: str
    kind: str
    event_key: bytes  # 16 bytes, or 32 where it is a conflict
    content: bytes
    occurred_at: datetime | None
    recorded_at: datetime
    ordinal: int
    payload: bytes

    @property
    def tag(self) -> bytes:
        """Name the event by its key and content, the same in whatever order conflicting twins arrived."""
        return self.event_key[:8] + self.content[:8]


class Interpretation(NamedTuple):
    """The facts of an event. Without any, `unread` says whether it was "quarantined" (its body cannot be read) or
    "unrecognised" (its kind or shape is not known), and `reason` why; both are picked up by replay once code exists."""

    told: Sequence[RecordedFact]
    unread: str | None = None
    reason: str | None = None


class ParsedDelivery(NamedTuple):
    """The body of a delivery, read once for all of its events of one kind."""

    payload: bytes
    source: str
    kind: str
    members: Sequence[ParsedEvent]
    unread: Interpretation | None = None


def interpret(event: Event) -> Interpretation:
    """Derive the facts of one event, in the order they hold at one instant."""
    return _interpret(event, _open(event))


def interpret_all(events: Iterable[Event]) -> Iterator[Interpretation]:
    """Derive the facts of events, one after the other. What follows from one delivery is found by reading it once,
    where its events stand together and share one body."""
    opened = None
    for event in events:
        if opened is None or (event.payload, event.kind, event.source) != (opened.payload, opened.kind, opened.source):
            opened = _open(event)
        yield _interpret(event, opened)


def _open(event: Event) -> ParsedDelivery:
    try:
        document = (parse_json if event.kind == UNREADABLE else reparse_json)(event.payload)
    except Unreadable as unreadable:
        quarantined = Interpretation((), "quarantined", str(unreadable.args[0]))
        return ParsedDelivery(event.payload, event.source, event.kind, (), quarantined)
    except Exception as error:
        return _unopened(event, error)
    reason = reason_unreadable(document.value) if event.kind == UNREADABLE else None
    if reason is not None:
        return ParsedDelivery(event.payload, event.source, event.kind, (), Interpretation((), "quarantined", reason))
    try:
        members = parse_envelope(event.source, event.kind, document)
    except Exception as error:
        return _unopened(event, error)
    return ParsedDelivery(event.payload, event.source, event.kind, members)


def _unopened(event: Event, error: Exception) -> ParsedDelivery:
    """The events of a delivery in which our own code failed before it came to any of them."""
    return ParsedDelivery(
        event.payload, event.source, event.kind, (), Interpretation((), "unrecognised", failure(error))
    )


def _interpret(event: Event, opened: ParsedDelivery) -> Interpretation:
    if opened.unread is not None:
        return opened.unread
    members = opened.members
    if event.ordinal >= len(members):
        return Interpretation((), "unrecognised", "no envelope that we know")
    member = members[event.ordinal]
    kind = SOURCES[event.source].kinds.get(member.kind)
    if kind is None:
        return Interpretation((), "unrecognised", "a kind that we do not know")
    tag = event.tag
    try:
        occurred_at, untimed, facts = _facts(kind, member, event, tag.hex())
        for fact in facts:
            _check(fact)
        if not facts and (gone := unreadable_values(kind.model, member.body)):
            return Interpretation((), "unrecognised", _reason(_in_words(gone)))
    except ValidationError as invalid:
        return Interpretation((), "unrecognised", _shape_reason(invalid))
    except ValueError as invalid:
        return Interpretation(
            (), "unrecognised", _reason([str(invalid), *_in_words(unreadable_values(kind.model, member.body))])
        )
    except Exception as error:  # a fault of ours: it costs this event, and no other
        return Interpretation((), "unrecognised", failure(error))
    return Interpretation(
        [
            RecordedFact(fact, Occurrence(occurred_at, tag, ordinal, event.position, untimed))
            for ordinal, fact in enumerate(facts)
        ]
    )


def _facts(kind: EventType[Any], member: ParsedEvent, event: Event, tag: str) -> tuple[datetime, bool, Sequence[Fact]]:
    """Return when an event happened, whether that is only when it was recorded, and its facts."""
    shape = kind.model.model_validate(member.body)
    own_time = kind.occurred(shape) if kind.occurred else None
    occurred_at, untimed = _happened(event, own_time, member.occurred_at)
    stamp = EventContext(event.source, member.org, occurred_at, tag)
    facts = kind.facts(shape, stamp)
    if len(facts) > FACTS_PER_EVENT_MAX:
        raise ValueError("too many facts")
    dated = own_time or member.occurred_at
    if untimed and dated is not None and dated > event.recorded_at + CLOCK_AHEAD_MAX:
        facts = [replace(fact, dated=dated) if isinstance(fact, TierFact) else fact for fact in facts]
    return occurred_at, untimed, facts


def _happened(event: Event, *times: datetime | None) -> tuple[datetime, bool]:
    """Return the first of the vendor's times that can be true: nothing is recorded before it happens. Without any the
    recorded time stands in, and the facts say that they are untimed. So a vendor's clock that is ahead hides nothing,
    and an event dated in the future has no part in what is asked as of then only."""
    for time in times:
        if time is not None and time <= event.recorded_at:
            return time, False
    return event.recorded_at, True


def _check(fact: Fact) -> None:
    """Refuse a fact that no vendor can mean, or that could not be written down: see projections/engine/store.py. Raises
    whatever fails."""
    if isinstance(fact, AccountFact):
        fact.check()
    assert isinstance(fact.subject, str)
    assert fact.alias is None or isinstance(fact.alias, str)
    encode(fact)


def _shape_reason(invalid: ValidationError) -> str:
    """Say what is wrong where: "totalPointsIssued is not a number", and never with what: a value may be personal."""
    errors = invalid.errors(include_input=False, include_url=False)
    return _reason([f"{_path(error['loc'])} {describe_error(error)}" for error in errors])


def _in_words(gone: Iterable[UnreadableValue]) -> list[str]:
    return [f"{_path(one.path)} {one.problem}" for one in gone]


def _path(parts: Iterable[str | int]) -> str:
    return ".".join(map(str, parts)) or "the body"


def _reason(told: Iterable[str]) -> str:
    return "; ".join(told)[:REASON_CHARACTERS_MAX]
