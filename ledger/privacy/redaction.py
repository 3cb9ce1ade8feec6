"""Cut personal values out of a delivered body, and put them back. Pure: vault.py encrypts what was cut.

Theory. A personal value is replaced, in the raw text, by a marker that keeps the text valid JSON; what stood there is
kept as a piece: where the marker begins in the cut text, and the bytes that were there. So putting the spans back
gives the delivered bytes exactly, whatever their spacing and escapes. Which values are personal is read off the parsed
document, see ledger/privacy/detection.py; where they stand is found by searching the text for the same keys in the
same order, which is the order of the document: a quoted name followed by a colon cannot stand inside a string. Where
the two do not agree (a key written with escapes), the text is read token by token instead.

A body that cannot be read is cut out whole.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from ledger.parsing import Document
from ledger.privacy.detection import PersonalValue, PersonalValueSearch, Pseudonymise
from ledger.vendors.personal_fields import PersonalFields

MARKER = b'"<personal>"'
MARKER_TEXT = "<personal>"  # what a document holds where a value was cut out
CACHED_PATTERNS_MAX = 1_000
CACHED_KEY_CHARACTERS_MAX = 100
WHOLE_BODY = -1  # the place of a piece that is the whole body


class RedactedSpan(NamedTuple):
    """What was cut out: `at` is where what stands in its place begins in the cut text, a marker or a pseudonym of so
    many bytes."""

    at: int
    value: bytes
    length: int = len(MARKER)


class PersonalPart(NamedTuple):
    """What one delivery holds of one person: the spans cut out, and by what the person may be looked up."""

    subject: str
    spans: Sequence[RedactedSpan]
    normalized_values: bytes | None = (
        b""  # the values by key, in whatever order they were written; None: all stand in the wrapper
    )
    identifiers: Sequence[tuple[str, str]] = ()  # (what it is, its value): ("email", "a@b.c")
    normalized_values_wrapped: bytes = (
        b""  # the same with values of the wrapper, by which variants were derived at first
    )


class RedactedBody(NamedTuple):
    """A body without its personal values, and these, by the vendor's id of whom they are about (None: nobody named)."""

    payload: bytes
    spans: Mapping[str | None, Sequence[RedactedSpan]]
    found: Sequence[PersonalValue]
    sent_structures: frozenset[int] | None = (
        None  # ids of the structures that the vendor sent; None: all, nothing is wrapped
    )


def redact(body: bytes, document: Document, personal: PersonalFields, pseudonymise: Pseudonymise) -> RedactedBody:
    """Cut the personal values out of a body whose document is given; the document is changed to hold MARKED instead, or
    a pseudonym where an e-mail address or telephone number serves as an id.

    Nulls, empty values and those that the vendor has redacted are no values and stay.
    """
    if type(document.value) is not dict and type(document.value) is not list:
        return redact_unreadable(body, "neither an object nor a list")  # a bare string may be anything
    search = PersonalValueSearch(personal, pseudonymise)
    search.run(document.value)
    found = search.found
    if not found:
        return RedactedBody(body, {}, ())
    ranges = _ranges_by_key(body, found, search.key_counts) if search.has_occurrences else None
    ranges = ranges or _ranges_by_token(body, document.value, found)
    spans: dict[str | None, list[RedactedSpan]] = {}
    out: list[bytes] = []
    end = length = 0
    for value, (start, stop) in zip(found, ranges, strict=True):
        marker = MARKER if value.pseudonym is None else msgspec.json.encode(value.pseudonym)
        value.structure[value.key] = value.pseudonym or MARKER_TEXT
        out += [body[end:start], marker]
        length += start - end
        spans.setdefault(value.owner, []).append(RedactedSpan(length, body[start:stop], len(marker)))
        length += len(marker)
        end = stop
    out.append(body[end:])
    return RedactedBody(b"".join(out), spans, found)


def redact_unreadable(body: bytes, reason: str) -> RedactedBody:
    """Cut out a body that cannot be read, whole; in its place stands why, as {"unreadable": reason, "body": marker}."""
    payload = b'{"unreadable":' + msgspec.json.encode(reason) + b',"body":' + MARKER + b"}"
    return RedactedBody(payload, {None: [RedactedSpan(WHOLE_BODY, body)]}, ())


def reason_unreadable(document: Any) -> str | None:
    """Give why a body cannot be read, from what `cut_unreadable` left of it; None for any other document."""
    if isinstance(document, dict) and document.keys() == {"unreadable", "body"} and document["body"] == MARKER_TEXT:
        return str(document["unreadable"])
    return None


def restore_body(payload: bytes, spans: Sequence[RedactedSpan]) -> bytes:
    """Put spans back where they were; where one is missing, its person was forgotten, the marker stays."""
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
    body: bytes, found: Sequence[PersonalValue], key_counts: Mapping[str, int]
) -> list[ByteRange] | None:
    """Find where each value stands by searching the text for its key; None if some key is not written as it reads."""
    starts: dict[str, list[int]] = {}
    for key in {value.key for value in found}:
        pattern = _cached_pattern(key) if len(key) <= CACHED_KEY_CHARACTERS_MAX else _pattern(key)
        ends = [match.end() for match in pattern.finditer(body)]
        if len(ends) != key_counts.get(key):
            return None
        starts[key] = ends
    ranges = []
    for value in found:
        start = starts[value.key][value.occurrence]
        ranges.append((start, _end_of_value(body, start)))
    return ranges


@lru_cache(CACHED_PATTERNS_MAX)
def _cached_pattern(key: str) -> re.Pattern[bytes]:
    """Return `_pattern` of a key, and remember it."""
    return _pattern(key)


def _pattern(key: str) -> re.Pattern[bytes]:
    """Return the pattern of a key that is written as it reads, up to its value."""
    return re.compile(rb'"%b"[ \t\r\n]*:[ \t\r\n]*' % re.escape(key.encode()))


_SCALAR = rb'"[^"\\]*(?:\\.[^"\\]*)*"|[-+0-9.eE]+|true|false|null'
_VALUE = re.compile(_SCALAR, re.DOTALL)
_TOKEN = re.compile(_SCALAR + rb"|[{}\[\]:,]", re.DOTALL)
_DEEPER = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}


def _end_of_value(body: bytes, start: int) -> int:
    """Give where the value that begins at `start` ends."""
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
    """Find where each value stands by reading text and document in step: the n-th colon belongs to the n-th pair."""
    numbers = {(id(structure), key): n for n, (structure, key) in enumerate(_pairs(document))}
    colons = [token.end() for token in _TOKEN.finditer(body) if token[0] == b":"]
    ranges = []
    for value in found:
        first = _TOKEN.search(body, colons[numbers[id(value.structure), value.key]])
        assert first is not None
        ranges.append((first.start(), _end_of_value(body, first.start())))
    return ranges


def _pairs(value: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Give every pair of a document, in the order in which they begin in its text."""
    if type(value) is dict:
        for key, child in value.items():
            yield value, key
            yield from _pairs(child)
    elif type(value) is list:
        for child in value:
            yield from _pairs(child)
