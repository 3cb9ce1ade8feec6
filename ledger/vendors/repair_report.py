"""List of the repairs in an event: the values that are read differently from their spelling (domain §1.2).

Examples of repairs:

- The key `"total PointsIssued"` is read as `"totalPointsIssued"`: a blank in a key.
- `"customerId": "3794 99720"` is read as "379499720": a blank in an id.
- `"email": "[email protected]"` is read as absent: the value was redacted before it reached us.
- `"createdAt": 156474848484` is read as absent: no event of a vendor happened in 1974.

Nothing is recorded when an event arrives, and stored bytes never change. The list is computed on request. So it also
covers events older than a rule, and arriving events cost nothing.

Method:

1. A name means the same in all documents of a vendor. So the fields of all its models give the parser of each value.
2. The parser is found by the name of the surrounding structure and the value's name. If all models agree on a parser,
   the value's name is enough.
3. The parser decides. If it returns the same value for the text without blanks, the blanks are damage. If it returns
   None, the text is not a value.

Therefore a new kind or a new parser needs no change in this file. Personal values are replaced by markers in stored
payloads, so neither they nor repairs inside them are listed.
"""

import re
from collections.abc import Iterable, Iterator, Set
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from ledger.decimals import format_decimal
from ledger.errors import Unreadable
from ledger.failures import describe_failure
from ledger.parsing import Document, parse_as_written, parse_json, without_byte_order_mark
from ledger.vendors.field_parsers import FieldParser, FieldParsers, field_parsers
from ledger.vendors.fields import (
    ABSENT,
    REDACTED,
    as_text,
    squeeze,
)
from ledger.vendors.key_repair import FREE_MAPS
from ledger.vendors.leniency import unreadable_values
from ledger.vendors.personal_values import MARKER_TEXT
from ledger.vendors.vendor import Vendor

BYTE_ORDER_MARK = "a byte order mark before the text"
BLANK_IN_KEY = "blank in a key"
KEY_TWICE = "a key spelt twice"  # a damaged and an undamaged spelling; the undamaged one is read
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
LEFT_OUT = "left out"  # followed by the reason
NOT_LISTED = "the repairs cannot be listed"

VALUE_CHARACTERS_MAX = 100

_TIME_FORMAT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?")
_EVENT_NAME_KEYS = frozenset({"eventName", "eventType", "event_type", "type"})


class Repair(NamedTuple):
    """One value that is read differently from its spelling.

    `path` is a JSON pointer (RFC 6901) into the stored payload. `after` is None if the value, or the key with its whole
    value, is left out.
    """

    path: str
    rule: str
    before: str
    after: str | None


class _Location(NamedTuple):
    """The place of a value: its JSON pointer, its name, and the name of the surrounding structure. Names are without
    blanks.
    """

    path: str
    name: str
    structure: str


def list_repairs(vendor: Vendor, kind: str, payload: bytes) -> list[Repair]:
    """Return the repairs of a stored payload, in the order of its text. The list is empty if the payload cannot be
    parsed.

    The events of one delivery share its body, so each event lists the repairs of the whole delivery. If our code fails,
    the list has a single entry that names the failure.
    """
    try:
        return _list_repairs(vendor, kind, payload)
    except Unreadable:
        return []
    except Exception as error:
        return [Repair("", f"{NOT_LISTED}: {describe_failure(error)}", "", None)]


def _list_repairs(vendor: Vendor, kind: str, payload: bytes) -> list[Repair]:
    document = parse_json(payload)
    models = (*(event_type.model for event_type in vendor.kinds.values()), *vendor.repair_rules.other_models)
    finder = _RepairFinder(vendor, kind, field_parsers(models))
    text = without_byte_order_mark(payload)
    byte_order_mark = [] if text == payload else [Repair("", BYTE_ORDER_MARK, "\ufeff", None)]
    found = [*byte_order_mark, *finder.find(document.value, parse_as_written(payload), _Location("", "", ""))]
    omitted = {repair.path for repair in found if repair.after is None}
    return found + _list_unreadable(vendor, kind, document, omitted)


def _list_unreadable(vendor: Vendor, kind: str, document: Document, omitted: Set[str]) -> list[Repair]:
    """Return the values that cannot be read, so the event is read without them.

    If the whole event cannot be read, they are also in its reason.
    """
    paths_by_name: dict[str, list[str]] = {}
    for pointer in _paths(document.value, ""):
        paths_by_name.setdefault(_without_blanks(pointer).rpartition("/")[2], []).append(pointer)
    found: dict[str, Repair] = {}
    for event in vendor.parse_envelope(document, kind) or ():
        model = vendor.kinds[event.kind].model if event.kind in vendor.kinds else None
        for unreadable in unreadable_values(model, event.body) if model is not None else ():
            parts = [_escape(str(part)) for part in unreadable.path if part != "envelope"]
            path = _find_path(paths_by_name.get(parts[-1], ()), "/" + "/".join(parts))
            if path is not None and path not in omitted and unreadable.value != MARKER_TEXT:
                found[path] = Repair(path, f"{LEFT_OUT}: it {unreadable.problem}", _shorten(unreadable.value), None)
    return list(found.values())


def _find_path(paths: Iterable[str], ending: str) -> str | None:
    """Return the first path that ends with `ending`, blanks aside."""
    return next((path for path in paths if _without_blanks(path).endswith(ending)), None)


def _paths(value: Any, path: str) -> Iterator[str]:
    """Yield the JSON pointer of every value in a document."""
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
    """Return a value as text of at most VALUE_CHARACTERS_MAX characters."""
    text = value if type(value) is str else msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}…"


class _RepairFinder:
    """Compares a document with its spelling: the same document parsed with fractions as text."""

    def __init__(self, vendor: Vendor, kind: str, parsers: FieldParsers) -> None:
        self._rules = vendor.repair_rules
        self._kind = kind
        self._parsers = parsers

    def find(self, value: Any, spelling: Any, location: _Location) -> Iterator[Repair]:
        if type(value) is dict:
            if location.name not in FREE_MAPS:
                yield from self._find_in_object(value, spelling, location)
        elif type(value) is list:
            for index, (item, spelt_item) in enumerate(zip(value, spelling, strict=True)):
                yield from self.find(item, spelt_item, location._replace(path=f"{location.path}/{index}"))
        elif type(value) is str:
            yield from self._find_in_text(value, location)
        elif type(value) is int:
            yield from self._find_in_integer(value, str(spelling), location)
        elif type(value) is Decimal:
            yield from self._find_in_fraction(value, str(spelling), location)

    def _find_in_object(self, value: dict[str, Any], spelling: dict[str, Any], location: _Location) -> Iterator[Repair]:
        for key, child in value.items():
            path = f"{location.path}/{_escape(key)}"
            name = key
            if " " in key and squeeze(key) in self._rules.known_keys:
                name = squeeze(key)
                if name in value:
                    yield Repair(path, KEY_TWICE, key, None)
                    continue
                yield Repair(path, BLANK_IN_KEY, key, name)
            yield from self.find(child, spelling[key], _Location(path, name, location.name))

    def _parser(self, location: _Location) -> FieldParser | None:
        return self._parsers.get((location.structure, location.name)) or self._parsers.get((None, location.name))

    def _find_in_text(self, value: str, location: _Location) -> Iterator[Repair]:
        repaired = squeeze(value)
        if not repaired:
            return
        if location.name in _EVENT_NAME_KEYS and value != self._kind and self._is_event_alias(repaired):
            yield Repair(location.path, EVENT_ALIAS, value, self._kind)
        elif repaired in REDACTED:
            yield Repair(location.path, REDACTED_VALUE, value, None)
        elif repaired != value and _TIME_FORMAT.fullmatch(repaired):
            yield Repair(location.path, BLANK_IN_TIME, value, repaired)
        elif repaired != value and _is_web_address(location.name, value):
            yield Repair(location.path, BLANK_IN_ADDRESS, value, repaired)
        elif parser := self._parser(location):
            yield from self._find_by_parsing(parser, value, location)

    def _is_event_alias(self, name: str) -> bool:
        return self._rules.event_aliases.get(name.lower(), name).lower() == self._kind.lower()

    def _find_by_parsing(self, parser: FieldParser, value: str, location: _Location) -> Iterator[Repair]:
        """Find a repair by parsing the text with and without its blanks."""
        repaired, parsed = squeeze(value), _parse(parser, value)
        is_word = repaired.upper() in self._rules.known_words
        if parser is as_text and not is_word:
            repaired = value.strip()
        if repaired != value and parsed is not None and (parser is as_text or parsed == _parse(parser, repaired)):
            yield Repair(location.path, _blank_rule(parser, parsed, is_word=is_word), value, repaired)
        elif isinstance(parsed, Decimal) and parsed != Decimal(repaired):
            yield Repair(location.path, ROUNDED, value, format_decimal(parsed))
        elif repaired in ABSENT and parsed is None:
            yield Repair(location.path, WORD_FOR_NONE, value, None)
        elif parsed is None and _parses_times(parser):
            yield Repair(location.path, IMPOSSIBLE_TIME, value, None)
        elif isinstance(parsed, str) and parsed.isdecimal() and not repaired.isdecimal():
            yield Repair(location.path, FRACTION, value, parsed)

    def _find_in_fraction(self, value: Decimal, spelling: str, location: _Location) -> Iterator[Repair]:
        parser = self._parser(location)
        parsed = _parse(parser, value) if parser is not None else None
        if isinstance(parsed, Decimal) and parsed != value:
            yield Repair(location.path, ROUNDED, spelling, format_decimal(parsed))

    def _find_in_integer(self, value: int, spelling: str, location: _Location) -> Iterator[Repair]:
        """Find a repair of a whole number that is an id or a time. A figure may be spelt in any way."""
        parser = self._parser(location)
        if parser is None:
            return
        parsed = _parse(parser, value)
        if parsed is None and str(value) in ABSENT:
            yield Repair(location.path, WORD_FOR_NONE, spelling, None)
        elif parsed is None and _parses_times(parser):
            yield Repair(location.path, IMPOSSIBLE_TIME, spelling, None)
        elif isinstance(parsed, str | date) and spelling != str(value):
            yield Repair(location.path, FRACTION, spelling, str(value))


def _parse(parser: FieldParser, value: Any) -> Any:
    """Parse a value. None if the parser refuses it."""
    try:
        return parser(value)
    except ValueError:
        return None


def _parses_times(parser: FieldParser) -> bool:
    return isinstance(_parse(parser, _SAMPLE_TIME), date)


def _blank_rule(parser: FieldParser, parsed: Any, *, is_word: bool) -> str:
    if isinstance(parsed, date):
        return BLANK_IN_TIME
    if not isinstance(parsed, str):
        return BLANK_IN_NUMBER
    if parser is not as_text:
        return BLANK_IN_ID
    return BLANK_IN_WORD if is_word else BLANK_AT_EDGE


def _is_web_address(name: str, value: str) -> bool:
    return name.lower().endswith("url") and value.lstrip().startswith(("https://", "http://"))


_SAMPLE_TIME = "2026-03-31T23:59:59Z"
