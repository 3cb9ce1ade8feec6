"""Parse a delivered body into a document, or report why it cannot be read.

This is the only parser of bodies, and everything in it has a limit. Numbers stay exact:

- A number with a fraction or an exponent becomes a Decimal.
- A whole number becomes an int, however it is written (379499720.0 is 379499720). A vendor's id never becomes a float.
- A number that is too long or too large for any figure or id stays a text. It then costs no more than other texts.

The cost of a body is limited before it is parsed. No vendor's structures are as dense as VALUES_MAX allows. A body
beyond it was made to be expensive. It is stored as every other body that cannot be read.
"""

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from ledger.errors import Unreadable

BODY_BYTES_MAX = 1024 * 1024
STORED_BYTES_MAX = 4 * BODY_BYTES_MAX  # a marker can be longer than the value that it replaces
VALUES_MAX = 60_000
DEPTH_MAX = 64
NUMBER_CHARACTERS_MAX = 40
EXPONENT_MAX = 18
CACHED_NUMBERS_MAX = 10_000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_NUMBER = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?', re.DOTALL)
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
# Matches from one value to the next: over strings, to the comma or bracket before the next value.
_TO_NEXT_VALUE = re.compile(rb'(?:[^",\[{]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[,\[{]', re.DOTALL)
# Finds too much if a string begins with a colon. Most white space follows a key or a string, and is skipped. A blank in
# a key with a quotation mark is skipped too: no known name contains one.
_LAST_BLANK_OF_KEY = re.compile(rb' (?<!": )(?<!", )[^ "\\]*+"[ \t\r\n]*+:')
_LAST_ESCAPE_OF_KEY = re.compile(rb'\\[^"\\]*+"[ \t\r\n]*+:')  # any escape may be a blank
_ESCAPED_COLON = re.compile(rb"\\u003[aA]")
_NO_BREAK_SPACE = b"\xc2\xa0"  # left by copying from a web page
_DIGITS = bytes(b"0"[0] if byte in b"0123456789" else b" "[0] for byte in range(256))
_LONG_DIGITS = b"0" * NUMBER_CHARACTERS_MAX


class Document(NamedTuple):
    """A parsed body, and a JSON text of it: the parsed text, or the document encoded again."""

    value: Any
    text: bytes

    @property
    def may_have_blank_in_key(self) -> bool:
        """True if a key may contain white space: as written, as an escape, or a no-break space.

        May be True without need, never False by mistake. Callers skip the repair of keys for most documents.
        """
        text = self.text
        return (
            _LAST_BLANK_OF_KEY.search(text) is not None
            or (b"\xc2" in text and _NO_BREAK_SPACE in text)
            or has_escape_in_key(text)
        )


def parse_json(body: bytes) -> Document:
    """Parse one JSON text of at most STORED_BYTES_MAX bytes. Callers limit new deliveries to BODY_BYTES_MAX.

    Raises Unreadable, with a reason that contains nothing of the body, if the text:

    - is not JSON, or not UTF-8;
    - repeats a key in an object;
    - nests deeper than DEPTH_MAX;
    - contains a NUL, a lone surrogate, or more than VALUES_MAX values.

    A number beyond NUMBER_CHARACTERS_MAX or 1e±EXPONENT_MAX is returned as a text.
    """
    if len(body) > STORED_BYTES_MAX:
        raise Unreadable("too large")
    if len(body) > VALUES_MAX and _holds_too_many_values(body):
        raise Unreadable("too many values")
    document = _parse(body)
    if body.count(b"{") + body.count(b"[") > DEPTH_MAX and _is_deeper_than(document, DEPTH_MAX):
        raise Unreadable("nested too deeply")
    if b"\\" in body and b"\\u0000" in body and _holds_nul(document):
        raise Unreadable("a NUL character")
    compact = _ENCODER.encode(document)
    if _repeats_a_key(body, document, compact):
        raise Unreadable("a repeated key")
    return Document(document, compact)


def reparse_json(body: bytes) -> Document:
    """Parse a body that `parse_json` accepted before, without its checks: this takes a third of the time.

    Raises Unreadable if it is not JSON.
    """
    return Document(_parse(body), body)


def has_escape_in_key(body: bytes) -> bool:
    """Return True if a key of a JSON text is written with an escape, other than that of a quotation mark at the end."""
    return b"\\" in body and _LAST_ESCAPE_OF_KEY.search(body) is not None


def without_white_space(body: bytes) -> bytes | None:
    """Return a JSON text without the white space between its tokens; None if it is not JSON.

    Numbers and escapes keep their spelling. The cost is linear, in C, because this runs before authentication.
    """
    try:
        body.decode()
        return msgspec.json.format(body, indent=-1)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return None


def without_byte_order_mark(body: bytes) -> bytes:
    """Return a body without UTF-8's byte order mark, which some editors and libraries write before a text."""
    return body.removeprefix(BYTE_ORDER_MARK)


def canonical_body(body: bytes) -> bytes:
    """Return the bytes that identify a body which has no vendor's id.

    A byte order mark, and white space between tokens, make no difference.
    """
    body = without_byte_order_mark(body)
    compact = without_white_space(body)
    return body if compact is None else compact


def parse_as_written(body: bytes) -> Any:
    """Parse a body that `parse_json` accepted before. Numbers with a fraction or exponent stay texts."""
    return _SPELT.decode(_with_long_integers_as_text(body))


def _with_long_integers_as_text(body: bytes) -> bytes:
    body = without_byte_order_mark(body)
    return _NUMBER.sub(_as_text_if_long, body) if _LONG_DIGITS in body.translate(_DIGITS) else body


def _parse(body: bytes) -> Any:
    try:
        return _DECODER.decode(_with_long_integers_as_text(body))
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8") from None
    except msgspec.ValidationError:
        raise Unreadable("a number too large") from None
    except msgspec.DecodeError:
        raise Unreadable("not JSON") from None


def _holds_too_many_values(body: bytes) -> bool:
    """Return True if a body contains more than VALUES_MAX values, itself not counted. Parsing such a body costs too
    much.
    """
    if body.count(b",") + body.count(b"[") + body.count(b"{") <= VALUES_MAX:  # including those in strings
        return False
    end = 0
    for _ in range(VALUES_MAX + 1):
        match = _TO_NEXT_VALUE.match(body, end)
        if match is None:
            return False
        end = match.end()
    return True


def _as_text_if_long(match: re.Match[bytes]) -> bytes:
    """Put quotation marks around a whole number that is too long. Strings and other numbers stay."""
    text = match[0]
    digits = text.removeprefix(b"-")
    is_long = len(text) > NUMBER_CHARACTERS_MAX and digits.isdigit() and digits[:1] != b"0"
    return b'"%b"' % text if is_long else text


@lru_cache(CACHED_NUMBERS_MAX)
def _short_number(text: str) -> int | Decimal | str:
    if text.endswith(".0") and text[:-2].isdigit():
        return int(text[:-2])
    try:
        value = Decimal(text)
    except InvalidOperation:  # an exponent beyond the range of Decimal
        return text
    if value and not -EXPONENT_MAX <= value.adjusted() <= EXPONENT_MAX:
        return text
    return int(value) if value == value.to_integral_value() else value


def _number(text: str) -> int | Decimal | str:
    """Parse a number with a fraction or an exponent. If it is too long or out of range, return its text."""
    return _short_number(text) if len(text) <= NUMBER_CHARACTERS_MAX else text


def _is_deeper_than(value: Any, levels: int) -> bool:
    """Return True if a value nests more than `levels` levels."""
    nested = [value] if type(value) is dict or type(value) is list else []
    for _ in range(levels):
        if not nested:
            return False
        nested = [
            child
            for outer in nested
            for child in (outer.values() if type(outer) is dict else outer)
            if type(child) is dict or type(child) is list
        ]
    return bool(nested)


def _repeats_a_key(body: bytes, document: Any, compact: bytes) -> bool:
    """Return True if a text contains more colons than its document, which means that a key was repeated.

    Counting takes a tenth of the time of a walk through the document. If an escape is a colon, the strings are
    removed from the text, and the document is walked.
    """
    if b"\\" in body and _ESCAPED_COLON.search(body) is not None:
        return _STRING.sub(b"", body).count(b":") != _count_pairs(document)
    return body.count(b":") != compact.count(b":")


def _count_pairs(value: Any) -> int:
    """Count the key-value pairs of a document, on all levels."""
    if type(value) is dict:
        return len(value) + sum(_count_pairs(child) for child in value.values())
    return sum(_count_pairs(child) for child in value) if type(value) is list else 0


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any("\x00" in key or _holds_nul(child) for key, child in value.items())
    return isinstance(value, list) and any(_holds_nul(child) for child in value)


_DECODER = msgspec.json.Decoder(float_hook=_number)
_SPELT = msgspec.json.Decoder(float_hook=str)
_ENCODER = msgspec.json.Encoder()
