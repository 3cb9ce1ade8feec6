"""Remove personal values from a delivered body, and put them back. Pure: vault.py encrypts the removed values.

Theory of operation. In the raw text, each personal value is replaced by a marker. The text stays valid JSON. The
removed bytes are kept as a span, with the offset of the marker in the redacted text. So putting the spans back gives
exactly the delivered bytes, including white space and escapes.

ledger/privacy/detection.py finds the personal values in the parsed document, in two steps:

1. Find values by their keys and labels, and remove them.
2. If the remaining text may hold a value that is personal by its form, search again, by form too. Few bodies do.

Their offsets in the text are found in one of two ways:

1. Search the text for the same keys in the same order. A quoted key followed by a colon cannot be inside a string.
2. A key written with escapes makes the counts of keys differ. Then read the text token by token. Do the same if there
   are many keys.

An unreadable body is removed as a whole.
"""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

import msgspec

from ledger.parsing import Document, has_escape_in_key
from ledger.privacy.detection import BY_FORM, PersonalValue, PersonalValueSearch, Pseudonymise
from ledger.vendors.personal_fields import PersonalFields
from ledger.vendors.personal_values import MARKER_TEXT, may_hold_personal_value

MARKER = b'"<personal>"'
KEYS_SEARCHED_MAX = 50  # in one body; each is a search through the whole text
WHOLE_BODY = -1  # the offset of a span that is the whole body


class RedactedSpan(NamedTuple):
    """Removed bytes. `at` is the offset of the replacement in the redacted text, and `length` its length in bytes.

    The replacement is a marker or a pseudonym.
    """

    at: int
    value: bytes
    length: int = len(MARKER)


class PersonalPart(NamedTuple):
    """The personal values of one person in one delivery."""

    subject: str
    spans: Sequence[RedactedSpan]
    normalized_values: bytes | None = b""  # by key, in canonical order; None: all values are in the wrapper
    identifiers: Sequence[tuple[str, str]] = ()  # (kind, value), such as ("email", "a@b.c")
    normalized_values_wrapped: bytes = b""  # including values of the wrapper, as early variants did


class RedactedBody(NamedTuple):
    """A body without its personal values, and the removed spans by owner: the vendor's id of the person, or None."""

    payload: bytes
    spans: Mapping[str | None, Sequence[RedactedSpan]]
    found: Sequence[PersonalValue]
    sent_structures: frozenset[int] | None = None  # ids of structures; None: the vendor sent all of them


def redact(body: bytes, document: Document, personal: PersonalFields, pseudonymise: Pseudonymise) -> RedactedBody:
    """Remove the personal values from a body. The document is changed too: each value becomes MARKER_TEXT or a
    pseudonym.

    A pseudonym replaces an e-mail address or telephone number that serves as an id. Nulls, empty values and values that
    the vendor has redacted stay.
    """
    if type(document.value) is not dict and type(document.value) is not list:
        return redact_unreadable(body, "neither an object nor a list")  # a bare string can be anything
    search = PersonalValueSearch(personal, pseudonymise, by_form=False)
    search.run(document.value)
    redacted = _cut(body, document.value, search)
    if may_hold_personal_value(redacted.payload):
        search = PersonalValueSearch(personal, pseudonymise, by_form=True)
        search.run(document.value)
        if any(value.occurrence == BY_FORM for value in search.found):
            redacted = _cut(body, document.value, search)
    for value in redacted.found:
        value.structure[value.key] = value.pseudonym or MARKER_TEXT
    return redacted


def _cut(body: bytes, document: Any, search: PersonalValueSearch) -> RedactedBody:
    """Replace the found values in a body. The document stays as it is."""
    found = search.found
    if not found:
        return RedactedBody(body, {}, ())
    ranges = _ranges_by_key(body, document, found, search.key_counts) or _ranges_by_token(body, document, found)
    spans: dict[str | None, list[RedactedSpan]] = {}
    out: list[bytes] = []
    end = length = 0
    for value, (start, stop) in zip(found, ranges, strict=True):
        marker = MARKER if value.pseudonym is None else msgspec.json.encode(value.pseudonym)
        out += [body[end:start], marker]
        length += start - end
        spans.setdefault(value.owner, []).append(RedactedSpan(length, body[start:stop], len(marker)))
        length += len(marker)
        end = stop
    out.append(body[end:])
    return RedactedBody(b"".join(out), spans, found)


def redact_unreadable(body: bytes, reason: str) -> RedactedBody:
    """Remove an unreadable body as a whole. The payload becomes {"unreadable": reason, "body": marker}."""
    payload = b'{"unreadable":' + msgspec.json.encode(reason) + b',"body":' + MARKER + b"}"
    return RedactedBody(payload, {None: [RedactedSpan(WHOLE_BODY, body)]}, ())


def reason_unreadable(document: Any) -> str | None:
    """Return the reason from a payload of `redact_unreadable`; None for any other document."""
    if isinstance(document, dict) and document.keys() == {"unreadable", "body"} and document["body"] == MARKER_TEXT:
        return str(document["unreadable"])
    return None


def restore_body(payload: bytes, spans: Sequence[RedactedSpan]) -> bytes:
    """Put spans back into a payload. Markers of erased persons stay, because their spans are missing."""
    out, end = [], 0
    for at, value, length in sorted(spans):
        if at == WHOLE_BODY:
            return value
        out += [payload[end:at], value]
        end = at + length
    out.append(payload[end:])
    return b"".join(out)


ByteRange = tuple[int, int]


def _ranges_by_key(
    body: bytes, document: Any, found: Sequence[PersonalValue], key_counts: Mapping[str, int]
) -> list[ByteRange] | None:
    """Return the byte range of each value by searching the text for its key.

    None if a key is written with escapes, or if there are more than KEYS_SEARCHED_MAX keys.
    """
    keys = {value.key for value in found}
    if len(keys) > KEYS_SEARCHED_MAX:
        return None
    starts = {key: _value_starts(body, key) for key in keys}
    occurrences = [value.occurrence for value in found]
    if BY_FORM in occurrences or has_escape_in_key(body) or any(len(starts[key]) != key_counts[key] for key in starts):
        # A key may occur where it names no personal value, too.
        structures = _structures_by_key(document, keys)
        if any(len(of_key) != len(starts[key]) for key, of_key in structures.items()):
            return None
        numbers = {key: {structure: n for n, structure in enumerate(of_key)} for key, of_key in structures.items()}
        occurrences = [numbers[value.key][id(value.structure)] for value in found]
    ranges = []
    for value, occurrence in zip(found, occurrences, strict=True):
        start = starts[value.key][occurrence]
        ranges.append((start, _end_of_value(body, start)))
    return ranges


def _value_starts(body: bytes, key: str) -> list[int]:
    """Return the offset of the value after each occurrence of a key that is written without escapes."""
    name = b'"%b"' % key.encode()
    starts = []
    at = body.find(name)
    while at >= 0:
        colon = _COLON.match(body, at + len(name))
        if colon is not None and body[at - 1] != ESCAPE:  # an escaped quotation mark is inside a string
            starts.append(colon.end())
        at = body.find(name, at + len(name))
    return starts


def _structures_by_key(value: Any, keys: Set[str]) -> dict[str, list[int]]:
    """Return, for each of some keys, the ids of the structures with this key, in text order."""
    structures: dict[str, list[int]] = {key: [] for key in keys}
    _add_structures(value, structures)
    return structures


def _add_structures(value: Any, structures: dict[str, list[int]]) -> None:
    """Add the structures of a value to those of each key."""
    if type(value) is dict:
        for key, child in value.items():
            if key in structures:
                structures[key].append(id(value))
            if type(child) is dict or type(child) is list:
                _add_structures(child, structures)
    else:
        for child in value:
            if type(child) is dict or type(child) is list:
                _add_structures(child, structures)


ESCAPE = ord("\\")
_COLON = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_SCALAR = rb'"[^"\\]*(?:\\.[^"\\]*)*"|[-+0-9.eE]+|true|false|null'
_VALUE = re.compile(_SCALAR, re.DOTALL)
_TOKEN = re.compile(_SCALAR + rb"|[{}\[\]:,]", re.DOTALL)
_DEEPER = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}


def _end_of_value(body: bytes, start: int) -> int:
    """Return the offset after the value that starts at `start`."""
    match = _VALUE.match(body, start)
    if match:
        return match.end()
    depth = 0
    for token in _TOKEN.finditer(body, start):
        depth += _DEEPER.get(token[0], 0)
        if depth == 0:
            return token.end()
    raise AssertionError("a document that was read has values that end")


def _ranges_by_token(body: bytes, document: Any, found: Sequence[PersonalValue]) -> list[ByteRange]:
    """Return the byte range of each value by reading text and document in parallel: the n-th colon belongs to the n-th
    pair.
    """
    numbers = {(id(structure), key): n for n, (structure, key) in enumerate(_pairs(document))}
    colons = [token.end() for token in _TOKEN.finditer(body) if token[0] == b":"]
    ranges = []
    for value in found:
        first = _TOKEN.search(body, colons[numbers[id(value.structure), value.key]])
        assert first is not None
        ranges.append((first.start(), _end_of_value(body, first.start())))
    return ranges


def _pairs(value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield every structure and key of a document, in text order."""
    if type(value) is dict:
        for key, child in value.items():
            yield value, key
            yield from _pairs(child)
    elif type(value) is list:
        for child in value:
            yield from _pairs(child)
