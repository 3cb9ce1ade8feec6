"""List what reading an event repairs: where, by which rule, what stood there, and what it is read as (domain §1.2).

Nothing is recorded when an event comes in: the stored bytes never change, so what their reading repairs is worked out
whenever somebody asks. It is always there, also for events older than a rule, and costs an arriving event nothing.

Theory. A vendor's names mean the same throughout its documents, so the shapes of all its kinds together say how a value
is read: by the name of the structure it stands in and its own, or by its own where all shapes agree. What counts as a
repair is then asked of the reader itself: blanks without which it reads the same were damage, and a value that it reads
as nothing was not meant as one. A new kind, and a new reader, need no line here.

Personal values are markers in what is stored, so none can show here, nor what was repaired in one.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from datetime import date
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, cast, get_args, get_origin

import msgspec
from pydantic import BeforeValidator

from ledger.decimals import plain
from ledger.errors import Unreadable
from ledger.failures import failure
from ledger.parsing import Document, as_spelt, parse_json, without_mark
from ledger.privacy.redaction import MARKED
from ledger.vendors.fields import (
    ABSENT,
    REDACTED,
    VendorModel,
    as_id,
    as_optional_points,
    as_points,
    as_required_id,
    as_text,
    squeeze,
)
from ledger.vendors.key_repair import FREE_MAPS
from ledger.vendors.leniency import unreadable_values
from ledger.vendors.vendor import Vendor

BYTE_ORDER_MARK = "a byte order mark before the text"
BLANK_IN_KEY = "blank in a key"
KEY_TWICE = "a key spelt twice"  # the spoilt spelling beside the sound one, which counts
BLANK_IN_ID = "blank in an id"
BLANK_IN_TIME = "blank in a time"
BLANK_IN_NUMBER = "blank in a number"
BLANK_IN_WORD = "blank in a word"
BLANK_IN_ADDRESS = "blank in an address"
BLANK_AT_EDGE = "blank at the edge of a text"
FRACTION = "a whole number spelt with a fraction or an exponent"
REDACTED_VALUE = "redacted, counted as absent"
WORD_FOR_NONE = "a word for none, counted as absent"
IMPOSSIBLE_TIME = "not a time that can be true, counted as absent"
EVENT_ALIAS = "another name of the event"
ROUNDED = "more than 6 decimals, rounded"
LEFT_OUT = "left out"  # and why
NOT_LISTED = "the repairs cannot be listed"

VALUE_CHARACTERS_MAX = 100

_TIME_FORMAT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")
_EVENT_NAME_KEYS = frozenset({"eventName", "eventType", "event_type", "type"})

FieldParser = Callable[[Any], Any]
FieldParsers = Mapping[tuple[str | None, str], FieldParser]  # by (the structure's name, None: any; the value's name)


class Repair(NamedTuple):
    """One thing that is read otherwise than it is spelt. `path` is a JSON pointer (RFC 6901) into the stored payload;
    `after` is None where the value, or the key with all that stands under it, is left out."""

    path: str
    rule: str
    before: str
    after: str | None


class _Location(NamedTuple):
    """Where a value stands: its pointer, its own name and that of the structure around it, both without blanks."""

    path: str
    name: str
    under: str


def list_repairs(vendor: Vendor, kind: str, payload: bytes) -> list[Repair]:
    """List the repairs of a stored payload in the order of its text; none where it cannot be read.

    The events of one delivery share its body, so each of them lists the whole delivery's. Where our own code fails, the
    list says so in one entry.
    """
    try:
        return _list_repairs(vendor, kind, payload)
    except Unreadable:
        return []
    except Exception as error:
        return [Repair("", f"{NOT_LISTED}: {failure(error)}", "", None)]


def _list_repairs(vendor: Vendor, kind: str, payload: bytes) -> list[Repair]:
    document = parse_json(payload)
    models = (*(event_type.model for event_type in vendor.kinds.values()), *vendor.repair_rules.other_models)
    search = _RepairFinder(vendor, kind, field_parsers(models))
    text = without_mark(payload)
    mark = [] if text == payload else [Repair("", BYTE_ORDER_MARK, "\ufeff", None)]
    found = [*mark, *search.look_into(document.value, as_spelt(payload), _Location("", "", ""))]
    return found + _list_unreadable(vendor, kind, document, {one.path for one in found if one.after is None})


def _list_unreadable(vendor: Vendor, kind: str, document: Document, told: Set[str]) -> list[Repair]:
    """List the values that cannot be read, and that the event is read without. Where all of the event is unread they
    stand in its reason, too."""
    places: dict[str, list[str]] = {}
    for path in _paths(document.value, ""):
        places.setdefault(_without_blanks(path).rpartition("/")[2], []).append(path)
    found: dict[str, Repair] = {}
    for member in vendor.parse_envelope(document, kind) or ():
        model = vendor.kinds[member.kind].model if member.kind in vendor.kinds else None
        for one in unreadable_values(model, member.body) if model is not None else ():
            parts = [_escape(str(part)) for part in one.path if part != "envelope"]
            ending = "/" + "/".join(parts)
            place = next((path for path in places.get(parts[-1], ()) if _without_blanks(path).endswith(ending)), None)
            if place is not None and place not in told and one.value != MARKED:
                found[place] = Repair(place, f"{LEFT_OUT}: it {one.problem}", _shorten(one.value), None)
    return list(found.values())


def _paths(value: Any, path: str) -> Iterator[str]:
    """Give the pointer of every value in a document."""
    pairs: Iterable[tuple[Any, Any]] = ()
    if type(value) is dict:
        pairs = value.items()
    elif type(value) is list:
        pairs = enumerate(value)
    for key, child in pairs:
        inner = f"{path}/{_escape(str(key))}"
        yield inner
        yield from _paths(child, inner)


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _without_blanks(path: str) -> str:
    return squeeze(path) if " " in path else path


def _shorten(value: Any) -> str:
    """Write a value in short, as it may stand in a list of repairs."""
    text = value if type(value) is str else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"


@cache
def field_parsers(models: tuple[type[VendorModel], ...]) -> FieldParsers:
    """Say how each value is read that these shapes name, or those inside them; a name alone says it where all agree."""
    found: dict[tuple[str | None, str], FieldParser] = {}
    by_name: dict[str, set[FieldParser]] = {}
    for under, name, reader in _fields_of(models):
        found.setdefault((under, name), reader)
        by_name.setdefault(name, set()).add(_optional_form(reader))
    return found | {(None, name): reader for name, (reader, *others) in by_name.items() if not others}


def _optional_form(reader: FieldParser) -> FieldParser:
    """Take an id, or points, that must be there for such that may, since they are spelt alike."""
    if reader is as_required_id:
        return as_id
    return as_points if reader is as_optional_points else reader


def _fields_of(models: Iterable[type[VendorModel]]) -> Iterator[tuple[str, str, FieldParser]]:
    """Give (structure, name, reader) of every value in these shapes; the outermost structures have no name."""
    pending = [("", model) for model in models]
    seen = set(pending)
    while pending:
        under, model = pending.pop()
        for own_name, field in model.model_fields.items():
            name = field.alias or own_name
            for leaf, reader in _leaf_types(field.annotation, _field_parser(field.metadata)):
                if isinstance(leaf, type) and issubclass(leaf, VendorModel):
                    if (name, leaf) not in seen:
                        seen.add((name, leaf))
                        pending.append((name, leaf))
                elif reader is not None:
                    yield under, name, reader


def _leaf_types(annotation: Any, reader: FieldParser | None) -> Iterator[tuple[Any, FieldParser | None]]:
    """Give the types that an annotation comes down to, each with what reads it."""
    inside = get_args(annotation)
    if get_origin(annotation) is Annotated:
        yield from _leaf_types(inside[0], _field_parser(inside[1:]))
    elif get_origin(annotation) in (Union, UnionType):
        for part in inside:
            yield from _leaf_types(part, reader)
    elif get_origin(annotation) in (list, tuple):
        for part in inside:
            yield from _leaf_types(part, None)
    elif annotation is not type(None) and annotation is not Ellipsis:
        yield annotation, reader


def _field_parser(metadata: Iterable[Any]) -> FieldParser | None:
    return next((cast(FieldParser, one.func) for one in metadata if isinstance(one, BeforeValidator)), None)


class _RepairFinder:
    """Walks through a document and its other reading, in which numbers with a fraction are text, side by side."""

    def __init__(self, vendor: Vendor, kind: str, known: FieldParsers) -> None:
        self._rules = vendor.repair_rules
        self._kind = kind
        self._readers = known

    def look_into(self, value: Any, spelt: Any, at: _Location) -> Iterator[Repair]:
        if type(value) is dict:
            if at.name not in FREE_MAPS:
                yield from self._look_into_pairs(value, spelt, at)
        elif type(value) is list:
            for n, (item, spelt_item) in enumerate(zip(value, spelt, strict=True)):
                yield from self.look_into(item, spelt_item, at._replace(path=f"{at.path}/{n}"))
        elif type(value) is str:
            yield from self._of_text(value, at)
        elif type(value) is int:
            yield from self._of_number(value, str(spelt), at)
        elif type(value) is Decimal:
            yield from self._of_fraction(value, str(spelt), at)

    def _look_into_pairs(self, structure: dict[str, Any], spelt: dict[str, Any], at: _Location) -> Iterator[Repair]:
        for key, child in structure.items():
            path = f"{at.path}/{_escape(key)}"
            name = key
            if " " in key and squeeze(key) in self._rules.known_keys:
                name = squeeze(key)
                if name in structure:
                    yield Repair(path, KEY_TWICE, key, None)
                    continue
                yield Repair(path, BLANK_IN_KEY, key, name)
            yield from self.look_into(child, spelt[key], _Location(path, name, at.name))

    def _reader(self, at: _Location) -> FieldParser | None:
        return self._readers.get((at.under, at.name)) or self._readers.get((None, at.name))

    def _of_text(self, value: str, at: _Location) -> Iterator[Repair]:
        sound = squeeze(value)
        if not sound:
            return
        if at.name in _EVENT_NAME_KEYS and value != self._kind and self._names_the_event(sound):
            yield Repair(at.path, EVENT_ALIAS, value, self._kind)
        elif sound in REDACTED:
            yield Repair(at.path, REDACTED_VALUE, value, None)
        elif sound != value and _TIME_FORMAT.fullmatch(sound):
            yield Repair(at.path, BLANK_IN_TIME, value, sound)
        elif sound != value and _is_web_address(at.name, value):
            yield Repair(at.path, BLANK_IN_ADDRESS, value, sound)
        elif reader := self._reader(at):
            yield from self._as_read(reader, value, at)

    def _names_the_event(self, name: str) -> bool:
        return self._rules.event_aliases.get(name.lower(), name).lower() == self._kind.lower()

    def _as_read(self, reader: FieldParser, value: str, at: _Location) -> Iterator[Repair]:
        """Ask the reader whether it takes the text for what it would be without its blanks."""
        sound, told = squeeze(value), _parse(reader, value)
        is_word = sound.upper() in self._rules.known_words
        if reader is as_text and not is_word:
            sound = value.strip()
        if sound != value and told is not None and (reader is as_text or told == _parse(reader, sound)):
            yield Repair(at.path, _blank_rule(reader, told, is_word=is_word), value, sound)
        elif isinstance(told, Decimal) and told != Decimal(sound):
            yield Repair(at.path, ROUNDED, value, plain(told))
        elif sound in ABSENT and told is None:
            yield Repair(at.path, WORD_FOR_NONE, value, None)
        elif told is None and _parses_times(reader):
            yield Repair(at.path, IMPOSSIBLE_TIME, value, None)

    def _of_fraction(self, value: Decimal, spelt: str, at: _Location) -> Iterator[Repair]:
        reader = self._reader(at)
        told = _parse(reader, value) if reader is not None else None
        if isinstance(told, Decimal) and told != value:
            yield Repair(at.path, ROUNDED, spelt, plain(told))

    def _of_number(self, value: int, spelt: str, at: _Location) -> Iterator[Repair]:
        """A whole number is repaired where it names something or says when; as a figure it may be spelt as it likes."""
        reader = self._reader(at)
        if reader is None:
            return
        told = _parse(reader, value)
        if told is None and str(value) in ABSENT:
            yield Repair(at.path, WORD_FOR_NONE, spelt, None)
        elif told is None and _parses_times(reader):
            yield Repair(at.path, IMPOSSIBLE_TIME, spelt, None)
        elif isinstance(told, str | date) and spelt != str(value):
            yield Repair(at.path, FRACTION, spelt, str(value))


def _parse(reader: FieldParser, value: Any) -> Any:
    """Read a value; None for one that the reader refuses."""
    try:
        return reader(value)
    except ValueError:
        return None


def _parses_times(reader: FieldParser) -> bool:
    return isinstance(_parse(reader, _SAMPLE_TIME), date)


def _blank_rule(reader: FieldParser, told: Any, *, is_word: bool) -> str:
    if isinstance(told, date):
        return BLANK_IN_TIME
    if not isinstance(told, str):
        return BLANK_IN_NUMBER
    if reader is not as_text:
        return BLANK_IN_ID
    return BLANK_IN_WORD if is_word else BLANK_AT_EDGE


def _is_web_address(name: str, value: str) -> bool:
    return name.lower().endswith("url") and value.lstrip().startswith(("https://", "http://"))


_SAMPLE_TIME = "2026-03-31T23:59:59Z"
