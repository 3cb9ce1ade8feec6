"""Read a delivered body into a document, or say why it cannot be read.

One parser for everything, with a limit on everything. Numbers with a fraction or an exponent become exact decimals,
integral ones plain integers however they are spelt (379499720.0 is 379499720): a vendor's id never becomes a float.
"""

import re
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from ledger.errors import Unreadable

BODY_BYTES_MAX = 1024 * 1024
DEPTH_MAX = 64
NUMBER_CHARACTERS_MAX = 40
EXPONENT_MAX = 18
INTEGER_MAX = 10**NUMBER_CHARACTERS_MAX

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')
_BLANK_IN_KEY = re.compile(rb'"[^"\\]* [^"\\]*"[ \t\r\n]*:')
_LONG_DIGITS = re.compile(rb"[0-9]{%d}" % NUMBER_CHARACTERS_MAX)


class Document(NamedTuple):
    """A parsed body; `blank_in_key` says that some key holds a blank, so that most need not be searched for one."""

    value: Any
    blank_in_key: bool


def read(body: bytes) -> Document:
    """Parse one JSON text of at most BODY_BYTES_MAX bytes.

    Raises Unreadable, with a reason free of the body's content, if it is not JSON or not UTF-8, repeats a key, nests
    deeper than DEPTH_MAX, or holds a NUL, a lone surrogate or a number beyond NUMBER_CHARACTERS_MAX or 1e±EXPONENT_MAX.
    """
    if len(body) > BODY_BYTES_MAX:
        raise Unreadable("too large")
    try:
        document = _DECODER.decode(body)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except UnicodeDecodeError:
        raise Unreadable("not UTF-8") from None
    except msgspec.ValidationError:
        raise Unreadable("a number too large") from None
    except msgspec.DecodeError:
        raise Unreadable("not JSON") from None
    if _repeats_a_key(body, _pairs(document, DEPTH_MAX)):
        raise Unreadable("a repeated key")
    if b"\\u0000" in body and _holds_nul(document):
        raise Unreadable("a NUL character")
    if _LONG_DIGITS.search(body) and _holds_long_integer(document):
        raise Unreadable("a number too long")
    return Document(document, _BLANK_IN_KEY.search(body) is not None)


def _number(text: str) -> int | Decimal:
    """Read a number that has a fraction or an exponent."""
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise Unreadable("a number too long")
    if text.endswith(".0") and "e" not in text and "E" not in text:
        return int(text[:-2])
    value = Decimal(text)
    if value and not -EXPONENT_MAX <= value.adjusted() <= EXPONENT_MAX:
        raise Unreadable("a number out of range")
    return int(value) if value == value.to_integral_value() else value


def _pairs(value: Any, depth_left: int) -> int:
    """Count the key-value pairs of a document, all levels together."""
    if type(value) is dict:
        count, children = len(value), list(value.values())
    elif type(value) is list:
        count, children = 0, value
    else:
        return 0
    if depth_left == 0:
        raise Unreadable("nested too deeply")
    for child in children:
        if type(child) is dict or type(child) is list:
            count += _pairs(child, depth_left - 1)
    return count


def _repeats_a_key(body: bytes, pairs: int) -> bool:
    """Compare the document's pairs with those in the text; more in the text means that a key was repeated.

    A quote and a colon end a key, unless they stand inside a string: so there are never fewer of these than pairs, as
    long as no white space comes between them. Only where they are more are the strings cut out first, which takes ten
    times as long.
    """
    if body.count(b'":') == pairs and not _SPACED_COLON.search(body):
        return False
    return _STRING.sub(b"", body).count(b":") != pairs


def _holds_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" in value
    if isinstance(value, dict):
        return any("\x00" in key or _holds_nul(child) for key, child in value.items())
    return isinstance(value, list) and any(_holds_nul(child) for child in value)


def _holds_long_integer(value: Any) -> bool:
    if isinstance(value, int):
        return not -INTEGER_MAX < value < INTEGER_MAX
    if isinstance(value, dict):
        return any(_holds_long_integer(child) for child in value.values())
    return isinstance(value, list) and any(_holds_long_integer(child) for child in value)


_DECODER = msgspec.json.Decoder(float_hook=_number)
