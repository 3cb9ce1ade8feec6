"""Exact decimal numbers: one grammar for reading, one spelling for writing.

The cost of reading is limited: length and exponent are checked in the text, before any arithmetic. `Decimal` alone
would accept "1e1000000" and overflow later. It would also accept "1_000" and Arabic digits, which no vendor writes.
"""

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal

NUMBER_CHARACTERS_MAX = 100  # a Java double has 24 at most, and no vendor's exact decimal is longer than this
DIGITS_MAX = 150  # of a result: more than any number within the limits has after rounding

_NUMBER = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]{1,9})?")
_EXACT = Context(prec=DIGITS_MAX, rounding=ROUND_HALF_EVEN)
_ZERO = Decimal(0)


def parse_decimal(text: str, *, largest: Decimal, places: int) -> Decimal:
    """Parse a number in ASCII digits, with an optional sign, point and exponent. Blanks and separators are not allowed.

    Digits beyond `places` decimal places are rounded, half to even. They are binary noise (268.28000000000003) or
    remains of a subtraction (5.55E-17). The result is normalized (see `normalize`).

    Raises ValueError if the text is not such a number, or its amount is above `largest`.
    """
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise ValueError("is too long for a number")
    if not _NUMBER.fullmatch(text):
        raise ValueError("is not a number")
    number = Decimal(text)
    if not number:
        return _ZERO
    magnitude = number.adjusted()  # of the first digit: 10 ** magnitude <= amount < 10 ** (magnitude + 1)
    if magnitude < -places - 1:
        return _ZERO
    if magnitude > largest.adjusted() or number.copy_abs().compare(largest, _EXACT) == 1:
        raise ValueError(f"is beyond {format_decimal(largest)}")
    return normalize(number.quantize(Decimal(1).scaleb(-places), context=_EXACT))


def normalize(number: Decimal) -> Decimal:
    """Return the number in its only stored form: no trailing zeros after the point, no exponent, no negative zero.

    So equal numbers have equal texts: 10000, 0.5, 0.000001.
    """
    if not number:
        return _ZERO
    reduced = number.normalize(_EXACT)
    exponent = reduced.as_tuple().exponent
    assert isinstance(exponent, int), "not finite"
    return reduced if exponent <= 0 else reduced.quantize(Decimal(1), context=_EXACT)


def format_decimal(number: Decimal) -> str:
    """Format a number as every answer, file and posting does: "165", "0.269", never "1E+4" or "3.50"."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
