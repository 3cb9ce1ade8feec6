"""Derive the facts of a stored event, or the reason why it has none. Pure, so a rebuild derives the same facts."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace
from pydantic import ValidationError

from ledger.errors import Unreadable
from ledger.events import Event
from ledger.facts import Fact, Occurrence, RecordedFact, encode
from ledger.facts.accounts import AccountFact
from ledger.facts.tiers import TierFact
from ledger.failures import describe_failure
from ledger.intake.identify import UNREADABLE, parse_envelope
from ledger.parsing import parse_json, reparse_json
from ledger.privacy.redaction import reason_unreadable
from ledger.vendors import SOURCES
from ledger.vendors.leniency import UnreadableValue, describe_error, unreadable_values
from ledger.vendors.vendor import EventContext, EventType, ParsedEvent, ProgrammeDescription

REASON_CHARACTERS_MAX = 300
UNKNOWN_ENVELOPE = "no envelope that we know"
UNKNOWN_KIND = "a kind that we do not know"
FACTS_PER_EVENT_MAX = 10_000
CLOCK_AHEAD_MAX = timedelta(minutes=15)  # beyond this an event dated in the future is listed: no clock is so wrong


class Interpretation(NamedTuple):
    """The facts of an event. `status` is None if it was interpreted, even without facts.

    - "quarantined": the body cannot be read.
    - "unrecognised": the kind or format is not known, or the event cannot be interpreted.

    `reason` explains the status. A rebuild interprets such events again, with newer code.
    """

    facts: Sequence[RecordedFact]
    status: str | None = None
    reason: str | None = None


class ParsedDelivery(NamedTuple):
    """The body of a delivery, parsed once for its events of one kind. `failure`: why it cannot be parsed."""

    payload: bytes
    source: str
    kind: str
    events: Sequence[ParsedEvent]
    failure: Interpretation | None = None


def interpret(event: Event) -> Interpretation:
    """Derive the facts of one event, in order of effect."""
    return _interpret(event, _parse_delivery(event))


def describe_programmes(event: Event) -> list[ProgrammeDescription]:
    """Return the descriptions of programmes in an event. Empty if it has none, or cannot be read."""
    delivery = _parse_delivery(event)
    if event.source not in SOURCES or event.ordinal >= len(delivery.events):
        return []
    return list(SOURCES[event.source].describe_programmes(delivery.events[event.ordinal].body))


def interpret_all(events: Iterable[Event]) -> Iterator[Interpretation]:
    """Derive the facts of several events. Consecutive events of one delivery share its parsed body."""
    delivery = None
    for event in events:
        if delivery is None or (event.payload, event.kind, event.source) != (
            delivery.payload,
            delivery.kind,
            delivery.source,
        ):
            delivery = _parse_delivery(event)
        yield _interpret(event, delivery)


def _parse_delivery(event: Event) -> ParsedDelivery:
    try:
        document = (parse_json if event.kind == UNREADABLE else reparse_json)(event.payload)
    except Unreadable as unreadable:
        quarantined = Interpretation((), "quarantined", str(unreadable.args[0]))
        return ParsedDelivery(event.payload, event.source, event.kind, (), quarantined)
    except Exception as error:
        return _failed_delivery(event, error)
    reason = reason_unreadable(document.value) if event.kind == UNREADABLE else None
    if reason is not None:
        return ParsedDelivery(event.payload, event.source, event.kind, (), Interpretation((), "quarantined", reason))
    try:
        events = parse_envelope(event.source, event.kind, document)
    except Exception as error:
        return _failed_delivery(event, error)
    return ParsedDelivery(event.payload, event.source, event.kind, events)


def _failed_delivery(event: Event, error: Exception) -> ParsedDelivery:
    """Build the result for a delivery if our own code failed before it found an event."""
    return ParsedDelivery(
        event.payload, event.source, event.kind, (), Interpretation((), "unrecognised", describe_failure(error))
    )


def _interpret(event: Event, delivery: ParsedDelivery) -> Interpretation:
    if delivery.failure is not None:
        return delivery.failure
    parsed_events = delivery.events
    if event.ordinal >= len(parsed_events):
        return Interpretation((), "unrecognised", UNKNOWN_ENVELOPE)
    parsed = parsed_events[event.ordinal]
    event_type = SOURCES[event.source].kinds.get(parsed.kind)
    if event_type is None:
        return Interpretation((), "unrecognised", UNKNOWN_KIND)
    tag = event.event_tag
    try:
        occurred_at, untimed, facts = _facts(event_type, parsed, event, tag.hex())
        for fact in facts:
            _check_fact(fact)
        if not facts and (dropped := unreadable_values(event_type.model, parsed.body)):
            return Interpretation((), "unrecognised", _join_reasons(_dropped_values_reasons(dropped)))
    except ValidationError as invalid:
        return Interpretation((), "unrecognised", _invalid_body_reason(invalid))
    except ValueError as invalid:
        return Interpretation(
            (),
            "unrecognised",
            _join_reasons([str(invalid), *_dropped_values_reasons(unreadable_values(event_type.model, parsed.body))]),
        )
    except Exception as error:  # our own bug: it affects only this event
        return Interpretation((), "unrecognised", describe_failure(error))
    return Interpretation(
        [
            RecordedFact(fact, Occurrence(occurred_at, tag, ordinal, event.position, untimed))
            for ordinal, fact in enumerate(facts)
        ]
    )


def _facts(
    event_type: EventType[Any], parsed: ParsedEvent, event: Event, tag: str
) -> tuple[datetime, bool, Sequence[Fact]]:
    """Return an event's time, True if that is only its recorded time, and its facts."""
    shape = event_type.model.model_validate(parsed.body)
    own_time = event_type.occurred(shape) if event_type.occurred else None
    occurred_at, untimed = _occurrence_time(event, own_time, parsed.occurred_at)
    context = EventContext(event.source, parsed.org, occurred_at, tag)
    facts = event_type.facts(shape, context)
    if len(facts) > FACTS_PER_EVENT_MAX:
        raise ValueError("too many facts")
    dated = own_time or parsed.occurred_at
    if untimed and dated is not None and dated > event.recorded_at + CLOCK_AHEAD_MAX:
        facts = [replace(fact, dated=dated) if isinstance(fact, TierFact) else fact for fact in facts]
    return occurred_at, untimed, facts


def _occurrence_time(event: Event, *times: datetime | None) -> tuple[datetime, bool]:
    """Return the first of the vendor's times that is possible, and whether none was.

    An event cannot be recorded before it happens. If no time is possible, the recorded time is returned, and the facts
    are marked untimed. So a vendor's clock that is ahead hides no event.
    """
    for time in times:
        if time is not None and time <= event.recorded_at:
            return time, False
    return event.recorded_at, True


def _check_fact(fact: Fact) -> None:
    """Check that a fact is possible and can be stored (projections/engine/store.py). Raises any error."""
    if isinstance(fact, AccountFact):
        fact.check()
    assert isinstance(fact.subject, str)
    assert fact.alias is None or isinstance(fact.alias, str)
    encode(fact)


def _invalid_body_reason(invalid: ValidationError) -> str:
    """Describe validation errors, such as "totalPointsIssued is not a number". Values are left out: they may be
    personal.
    """
    errors = invalid.errors(include_input=False, include_url=False)
    return _join_reasons([f"{_format_path(error['loc'])} {describe_error(error)}" for error in errors])


def _dropped_values_reasons(dropped: Iterable[UnreadableValue]) -> list[str]:
    return [f"{_format_path(value.path)} {value.problem}" for value in dropped]


def _format_path(parts: Iterable[str | int]) -> str:
    return ".".join(map(str, parts)) or "the body"


def _join_reasons(reasons: Iterable[str]) -> str:
    return "; ".join(reasons)[:REASON_CHARACTERS_MAX]
