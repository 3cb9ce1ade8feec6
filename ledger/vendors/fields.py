"""The types that vendors' shapes are made of: ids, points, times and days, read the way vendors really write them.

A shape names only what we use and ignores the rest. Blanks that copying left inside an id, a number or a time are
removed here; text that people read is only trimmed.

What may be missing may be unreadable. A field without a default decides: identity, account, what moves. If it cannot be
read, the structure cannot. A field with a default is a side value: if it cannot be read it counts as missing, and the
event is read without it (see ledger/vendors/leniency.py). DECIDES marks the fields that may be missing, and must be
read where they are not: `Points` are figures that move points, `Figure` are all others.
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

from ledger.decimals import NUMBER_CHARACTERS_MAX, parse_decimal, plain
from ledger.vendors.leniency import STRICT, make_lenient

WHOLE_POINTS_MAX = 10**12
POINTS_MAX = Decimal(WHOLE_POINTS_MAX)
POINTS_PLACES_MAX = 6
ID_BYTES_MAX = 255  # ids make up the keys of rows, several of them one key, and an index holds no longer ones
ID_PREFIX_BYTES = 128  # kept of a longer id, before its hash
COUNT_MAX = 10**9
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
LATEST_DAY = date(2200, 1, 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VALUES_CACHED_MAX = 10_000  # figures and days, most of which come again and again

INTEGER_BITS_MAX = 4 * NUMBER_CHARACTERS_MAX  # so many digits have fewer bits
TIME_CHARACTERS_MAX = 100

_NO_POINTS = Decimal(0)
_WHOLE = re.compile(r"(?:0|[1-9][0-9]*)\.0+")

# What vendors write where they mean "none" (domain §1.3).
REDACTED = frozenset({"[emailprotected]"})  # without its blanks
ABSENT = frozenset({"", "-1", "null", "None"}) | REDACTED


class VendorModel(BaseModel):
    """What we use of one vendor's structure; field names are its names in snake case."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let what may be missing be unreadable."""
        return make_lenient(cls, handler(source))


class SnakeModel(VendorModel):
    """A shape of a vendor whose own names are in snake case."""

    model_config = ConfigDict(alias_generator=None)


class StrictModel(SnakeModel):
    """A shape of our own events: we wrote them, so every value must be as it should."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler(source)


def squeeze(text: str) -> str:
    """Remove all white space."""
    return "".join(text.split())


def as_id(value: Any) -> str | None:
    """Read an id as text, None where the vendor writes one of its words for "none".

    A whole number written as a decimal ("379499720.0") is that number. Of a text longer than ID_BYTES_MAX its beginning
    and a hash are the id. Raises ValueError for a fraction, a truth value or a structure.
    """
    if type(value) is int:
        text = str(value)
    elif type(value) is str:
        text = value
        if not value.isalnum():
            text = squeeze(value)
            if "." in text and _WHOLE.fullmatch(text):
                text = text.partition(".")[0]
        if len(text) * 4 > ID_BYTES_MAX and len(text.encode()) > ID_BYTES_MAX:
            text = _shortened(text)
    elif value is None:
        return None
    else:
        raise ValueError("is not an id")
    return None if text in ABSENT else text


def _shortened(text: str) -> str:
    beginning = text.encode()[:ID_PREFIX_BYTES].decode(errors="ignore")
    return f"{beginning}~{hashlib.sha256(text.encode()).hexdigest()}"


def as_points(value: Any) -> Decimal:
    """Read points or money; a missing figure is 0. What is finer than POINTS_PLACES_MAX decimal places is rounded.

    Raises ValueError for what is no number, or beyond POINTS_MAX.
    """
    if type(value) is int and -WHOLE_POINTS_MAX <= value <= WHOLE_POINTS_MAX:
        return Decimal(value)
    if value is None or value == "":
        return _NO_POINTS
    if type(value) is str or type(value) is Decimal or type(value) is int:
        return _points(number_text(value))
    raise ValueError("is not a number")


def number_text(value: str | Decimal | int) -> str:
    """Return the text of a number without the blanks that copying left in it. Raises ValueError if it is too long to be
    one, before anything is converted."""
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
    """Read how many there are, None where that is not told. Raises ValueError for a fraction, for less than 0 and for
    more than COUNT_MAX."""
    if value is None or value == "":
        return None
    count = as_points(value)
    if not 0 <= count <= COUNT_MAX or count != int(count):
        raise ValueError("is not a count")
    return int(count)


def as_time(value: Any) -> datetime | None:
    """Read milliseconds since 1970 or an ISO 8601 text; None if it is missing, unreadable or cannot be true.

    A time without a zone is taken as UTC. Cannot be true: before EARLIEST or from LATEST on.
    """
    time = parse_time(value)
    return time if time is not None and EARLIEST <= time < LATEST else None


def parse_time(value: Any) -> datetime | None:
    """Read a time as `as_time` does, without its bounds."""
    try:
        if type(value) is int:
            return EPOCH + timedelta(milliseconds=value)
        if type(value) is str and len(value) <= TIME_CHARACTERS_MAX:
            text = value.strip()
            if text.isascii() and text.isdigit():
                return EPOCH + timedelta(milliseconds=int(text))
            # Blanks were copied into some times; one blank may stand where ISO has its T.
            text = squeeze(text.replace(" ", "T", 1) if "T" not in text and ":" in text else text)
            time = datetime.fromisoformat(text)
            return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    return None


def as_day(value: Any) -> date | None:
    """Read a day, or the day of a time in UTC; None if it is missing, unreadable or cannot be true."""
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
    """Read a time that may lie in a far future (a coupon's end in 2121); None if missing or unreadable."""
    time = parse_time(value)
    return time if time is not None and time >= EARLIEST and time.date() < LATEST_DAY else None


def as_text(value: Any) -> str | None:
    """Read text for people: trimmed, inner blanks kept; None when empty. Raises ValueError for what is no text."""
    if type(value) is str:
        return value.strip() or None
    if value is None:
        return None
    if type(value) is bool:
        return str(value).lower()
    if type(value) is int:
        return str(value) if value.bit_length() <= INTEGER_BITS_MAX else None
    if type(value) is Decimal:
        return plain(value)
    raise ValueError("is not a text")


def as_list(value: Any) -> Any:
    """Read a list that may be null, hold nulls, or have been cut out as a whole: then it is one text."""
    if value is None or value == {}:
        return []
    if type(value) is str:
        return [value]
    return [item for item in value if item is not None] if type(value) is list and None in value else value


def as_optional_points(value: Any) -> Decimal | None:
    """Read points as `as_points` does, None where none are told: null, or an empty text."""
    return None if value is None or (type(value) is str and not value.strip()) else as_points(value)


def _parse_list_or_none(value: Any, read: Callable[[Any], Any]) -> Any:
    try:
        return None if value is None else read(as_list(value))
    except ValidationError:
        return None


def as_required_id(value: Any) -> str:
    """Refuse an id that is absent."""
    text = as_id(value)
    if text is None:
        raise ValueError("is absent")
    return text


Id = Annotated[str, BeforeValidator(as_required_id)]
OptionalId = Annotated[str | None, BeforeValidator(as_id)]
StrictOptionalId = Annotated[str | None, BeforeValidator(as_id), STRICT]
Points = Annotated[Decimal, BeforeValidator(as_points), STRICT]
OptionalPoints = Annotated[Decimal | None, BeforeValidator(as_optional_points), STRICT]
Figure = Annotated[Decimal | None, BeforeValidator(as_optional_points)]  # compared or shown: moves no points
# A figure that is 0 where it is null; None where it is absent, which `model_fields_set` tells, or cannot be read.
FigureOrZero = Annotated[Decimal | None, BeforeValidator(as_points)]
Time = Annotated[datetime | None, BeforeValidator(as_time)]
FarTime = Annotated[datetime | None, BeforeValidator(as_far_time)]
Day = Annotated[date | None, BeforeValidator(as_day)]
Text = Annotated[str | None, BeforeValidator(as_text)]
Count = Annotated[int | None, BeforeValidator(as_count)]
List = BeforeValidator(as_list)
# A list that details figures which stand elsewhere: None where it is missing or cannot be read.
DetailList = WrapValidator(_parse_list_or_none)
