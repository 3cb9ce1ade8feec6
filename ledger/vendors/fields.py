"""Types for the fields of vendors' models: ids, points, times and days, in all spellings that vendors use.

A model lists only the fields that we use and ignores others. Copied documents contain stray blanks. They are removed
from ids, numbers and times; text for people is only trimmed.

A value that cannot be read has one of these effects (see ledger/vendors/leniency.py):

- A field without a default: the whole structure cannot be read. Such fields hold identity, account and moved points.
- A field with a default: the field counts as missing, and the rest of the event is read.
- A field with a default and the mark STRICT: it may be missing. A value that is present must be readable.

`Points` is strict, because these points are moved. `Figure` is not: it is only compared or shown.
"""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, ValidationError, WrapValidator
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

from ledger.decimals import NUMBER_CHARACTERS_MAX, format_decimal, parse_decimal
from ledger.vendors.leniency import STRICT, make_lenient

WHOLE_POINTS_MAX = 10**12
POINTS_MAX = Decimal(WHOLE_POINTS_MAX)
POINTS_PLACES_MAX = 6
ID_BYTES_MAX = 255  # several ids form a key of a row, and an index limits the length of keys
ID_PREFIX_BYTES = 128  # kept of a longer id, before its hash
COUNT_MAX = 10**9
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
LATEST_DAY = date(2200, 1, 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VALUES_CACHED_MAX = 10_000  # figures and days repeat often

INTEGER_BITS_MAX = 4 * NUMBER_CHARACTERS_MAX  # upper bound of the bits of NUMBER_CHARACTERS_MAX digits
TIME_CHARACTERS_MAX = 100

_NO_POINTS = Decimal(0)
_WHOLE = re.compile(r"(?:0|[1-9][0-9]*)\.0+")
# A whole number as Java writes a double of 10 million or more. No other text of an id has this form.
_WITH_EXPONENT = re.compile(r"([1-9])\.([0-9]{1,17})[eE]\+?([1-9][0-9]?)")
EXPONENT_MIN = 7

# Values that mean "none" in vendors' documents (domain §1.3).
REDACTED = frozenset({"[emailprotected]"})  # without its blanks
ABSENT = frozenset({"", "-1", "null", "None"}) | REDACTED


class VendorModel(BaseModel):
    """Base of all models of vendors' structures. Field names are the vendor's names in snake case."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return a schema that accepts an unreadable value of a field with a default."""
        return make_lenient(cls, handler(source))


class SnakeModel(VendorModel):
    """Base of the models of vendors whose own names are in snake case."""

    model_config = ConfigDict(alias_generator=None)


class StrictModel(SnakeModel):
    """Base of the models of internal events. This system wrote them, so every value must be valid."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler(source)


def squeeze(text: str) -> str:
    """Remove all white space."""
    return "".join(text.split())


def as_id(value: Any) -> str | None:
    """Parse an id. Return None for a word that means "none", such as "null" or "-1".

    - A whole number written as a decimal is that number: "379499720.0" and "3.7949972E8" are "379499720". A code such
      as "12E5" is kept.
    - A text longer than ID_BYTES_MAX is replaced by its beginning and a hash.

    Raises ValueError for a fraction, true, false, a list or an object.
    """
    if type(value) is int:
        text = str(value)
    elif type(value) is str:
        text = value
        if not value.isalnum():
            text = squeeze(value)
            if "." in text:
                text = _whole_number(text)
        if len(text) * 4 > ID_BYTES_MAX and len(text.encode()) > ID_BYTES_MAX:
            text = _shortened(text)
    elif value is None:
        return None
    else:
        raise ValueError("is not an id")
    return None if text in ABSENT else text


def _whole_number(text: str) -> str:
    """Return a whole number in digits only. Any other text is returned as it is."""
    if _WHOLE.fullmatch(text):
        return text.partition(".")[0]
    if found := _WITH_EXPONENT.fullmatch(text):
        digits, exponent = found[1] + found[2].rstrip("0"), int(found[3])
        if exponent >= EXPONENT_MIN and len(digits) <= exponent + 1:
            return digits.ljust(exponent + 1, "0")
    return text


def _shortened(text: str) -> str:
    beginning = text.encode()[:ID_PREFIX_BYTES].decode(errors="ignore")
    return f"{beginning}~{hashlib.sha256(text.encode()).hexdigest()}"


def as_points(value: Any) -> Decimal:
    """Parse points or money. A missing figure is 0. More than POINTS_PLACES_MAX decimal places are rounded.

    Raises ValueError if the value is not a number, or beyond POINTS_MAX.
    """
    if type(value) is int and -WHOLE_POINTS_MAX <= value <= WHOLE_POINTS_MAX:
        return Decimal(value)
    if value is None or value == "":
        return _NO_POINTS
    if type(value) is str or type(value) is Decimal or type(value) is int:
        return _points(number_text(value))
    raise ValueError("is not a number")


def number_text(value: str | Decimal | int) -> str:
    """Return the text of a number without white space.

    Raises ValueError if the text is too long for a number. This check precedes any conversion, which would be slow.
    """
    if type(value) is int and value.bit_length() > INTEGER_BITS_MAX:
        raise ValueError("is too long for a number")
    text = squeeze(value) if type(value) is str else str(value)
    if len(text) > NUMBER_CHARACTERS_MAX:
        raise ValueError("is too long for a number")
    return text


@lru_cache(VALUES_CACHED_MAX)
def _points(text: str) -> Decimal:
    return parse_decimal(text, largest=POINTS_MAX, places=POINTS_PLACES_MAX)


def as_count(value: Any) -> int | None:
    """Parse a number of things, None if missing. Raises ValueError for a fraction, below 0 and above COUNT_MAX."""
    if value is None or value == "":
        return None
    count = as_points(value)
    if not 0 <= count <= COUNT_MAX or count != int(count):
        raise ValueError("is not a count")
    return int(count)


def as_time(value: Any) -> datetime | None:
    """Parse milliseconds since 1970 or an ISO 8601 text. A time without a zone is UTC.

    Return None if the time is missing, unreadable, before EARLIEST or not before LATEST.
    """
    time = parse_time(value)
    return time if time is not None and EARLIEST <= time < LATEST else None


def parse_time(value: Any) -> datetime | None:
    """Parse a time as `as_time` does, without limits."""
    try:
        if type(value) is int:
            return EPOCH + timedelta(milliseconds=value)
        if type(value) is str and len(value) <= TIME_CHARACTERS_MAX:
            text = value.strip()
            if ":" not in text:
                text = _whole_number(text)
                if text.isascii() and text.isdigit():
                    return EPOCH + timedelta(milliseconds=int(text))
            # Copying put blanks into some times. A single blank may replace the T of ISO 8601.
            text = squeeze(text.replace(" ", "T", 1) if "T" not in text and ":" in text else text)
            time = datetime.fromisoformat(text)
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    return None


def as_day(value: Any) -> date | None:
    """Parse a day, or the day of a time in UTC. Return None if it is missing, unreadable or out of range."""
    if type(value) is int or (type(value) is str and len(value) <= TIME_CHARACTERS_MAX):
        return _day(value)
    return None


@lru_cache(VALUES_CACHED_MAX)
def _day(value: str | int) -> date | None:
    if isinstance(value, str):
        try:
            day = date.fromisoformat(squeeze(value))
            return day if EARLIEST.date() <= day < LATEST_DAY else None
        except ValueError:
            pass
    time = parse_time(value)
    return time.date() if time is not None and EARLIEST.date() <= time.date() < LATEST_DAY else None


def as_far_time(value: Any) -> datetime | None:
    """Parse a time that may be in the far future, for example a coupon's end in 2121. None if missing or unreadable."""
    time = parse_time(value)
    return time if time is not None and time >= EARLIEST and time.date() < LATEST_DAY else None


def as_text(value: Any) -> str | None:
    """Parse text for people: trimmed, with inner blanks. None if empty. Raises ValueError for a list or an object."""
    if type(value) is str:
        return value.strip() or None
    if value is None:
        return None
    if type(value) is bool:
        return str(value).lower()
    if type(value) is int:
        return str(value) if value.bit_length() <= INTEGER_BITS_MAX else None
    if type(value) is Decimal:
        return format_decimal(value)
    raise ValueError("is not a text")


def as_list(value: Any) -> Any:
    """Parse a list. Null is an empty list, and null items are removed.

    A single text becomes a list of one item. It replaces a list of personal values that was redacted as a whole.
    """
    if value is None or value == {}:
        return []
    if type(value) is str:
        return [value]
    return [item for item in value if item is not None] if type(value) is list and None in value else value


def as_optional_points(value: Any) -> Decimal | None:
    """Parse points as `as_points` does, but return None for null and for an empty text."""
    return None if value is None or (type(value) is str and not value.strip()) else as_points(value)


def is_stated(value: Any) -> bool:
    """Return True unless a value is null or empty. So a figure that is stated and unreadable differs from none."""
    return value is not None and not (type(value) is str and not value.strip())


def _parse_list_or_none(value: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return None if value is None else read(as_list(value))
    except ValidationError:
        return None


def as_required_id(value: Any) -> str:
    """Parse an id. Raises ValueError if it is absent."""
    text = as_id(value)
    if text is None:
        raise ValueError("is absent")
    return text


Id = Annotated[str, BeforeValidator(as_required_id)]
OptionalId = Annotated[str | None, BeforeValidator(as_id)]
StrictOptionalId = Annotated[str | None, BeforeValidator(as_id), STRICT]
Points = Annotated[Decimal, BeforeValidator(as_points), STRICT]
OptionalPoints = Annotated[Decimal | None, BeforeValidator(as_optional_points), STRICT]
Figure = Annotated[Decimal | None, BeforeValidator(as_optional_points)]  # only compared or shown: moves no points
# 0 if the figure is null. None if it is absent or unreadable; `model_fields_set` separates the two.
FigureOrZero = Annotated[Decimal | None, BeforeValidator(as_points)]
Time = Annotated[datetime | None, BeforeValidator(as_time)]
FarTime = Annotated[datetime | None, BeforeValidator(as_far_time)]
Day = Annotated[date | None, BeforeValidator(as_day)]
Text = Annotated[str | None, BeforeValidator(as_text)]
Count = Annotated[int | None, BeforeValidator(as_count)]
List = BeforeValidator(as_list)
# The parts of a figure that another field states. None if the list is missing or unreadable.
DetailList = WrapValidator(_parse_list_or_none)
