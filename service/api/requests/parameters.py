"""Query parameters: the name, the rule and the description of each, in one place.

The rule checks a request before its handler runs, and gives the handler its value. The OpenAPI document publishes the
same rule.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, TypeVar

from aiohttp import web

from ledger.errors import RequestInvalid
from service.formatting import decode_cursor
from service.parameters import parse_day, parse_flag, parse_int, parse_time

T = TypeVar("T")
Schema = Mapping[str, Any]

LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000
POSITION_MAX = 2**62
TEXT_CHARACTERS_MAX = 500

STRING: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean", "default": False}
DAY: Schema = {"type": "string", "format": "date"}
TIME: Schema = {"type": "string", "format": "date-time"}


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """One query parameter. `parse` takes its text, or None if it is missing, and its name."""

    name: str
    description: str
    parse: Callable[[str | None, str], T]
    schema: Schema
    required: bool = False

    def of(self, request: web.BaseRequest) -> T:
        """Return the value of the parameter in a request. Raises RequestInvalid."""
        text = request.query.get(self.name)
        if text is None and self.required:
            raise RequestInvalid(f"`{self.name}` is missing: {self.description[0].lower()}{self.description[1:]}")
        return self.parse(text, self.name)


def text(name: str, description: str, **schema: Any) -> Parameter[str | None]:
    """Declare a parameter that takes any text, of at most `maxLength` characters if that is given."""
    characters_max = schema.get("maxLength")

    def parse(given: str | None, name: str) -> str | None:
        if given is not None and characters_max is not None and len(given) > characters_max:
            raise RequestInvalid(f"`{name}` must have at most {characters_max} characters")
        return given

    return Parameter(name, description, parse, {**STRING, **schema})


def flag(name: str, description: str) -> Parameter[bool]:
    """Declare a parameter that is true or false; the default is false."""
    return Parameter(name, description, parse_flag, FLAG)


def day(name: str, description: str) -> Parameter[date | None]:
    """Declare a parameter that is a day."""
    return Parameter(name, description, parse_day, DAY)


def time(name: str, description: str) -> Parameter[datetime | None]:
    """Declare a parameter that is a time with a zone."""
    return Parameter(name, description, parse_time, TIME)


def whole(name: str, description: str, *, least: int, most: int, required: bool = False) -> Parameter[int | None]:
    """Declare a parameter that is a whole number."""

    def parse(given: str | None, name: str) -> int | None:
        return parse_int(given, name, least=least, most=most)

    return Parameter(name, description, parse, {"type": "integer", "minimum": least, "maximum": most}, required)


def choice(name: str, description: str, *values: str, default: str | None = None) -> Parameter[str | None]:
    """Declare a parameter that is one of some words."""

    def parse(given: str | None, name: str) -> str | None:
        if given is not None and given not in values:
            raise RequestInvalid(f"`{name}` must be {', '.join(values[:-1])} or {values[-1]}")
        return default if given is None else given

    schema = {"type": "string", "enum": list(values), **({} if default is None else {"default": default})}
    return Parameter(name, description, parse, schema)


def _parse_limit(given: str | None, name: str) -> int:
    return parse_int(given, name, least=1, most=LIMIT_MAX) or LIMIT_DEFAULT


AT = time("at", "Only events that had happened by this time count. Default: now.")
AS_OF_POSITION = whole(
    "as_of_position",
    "Leaves out events after this position. Not together with `known_at`.",
    least=0,
    most=POSITION_MAX,
)
KNOWN_AT = time("known_at", "Leaves out events recorded after this time. Not together with `as_of_position`.")
MIN_POSITION = whole(
    "min_position",
    "Waits until the answer reflects this position. Use the position of a delivery to read your own writes.",
    least=0,
    most=POSITION_MAX,
)
LIMIT = Parameter(
    "limit",
    "The most items of a page.",
    _parse_limit,
    {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
)
CURSOR: Parameter[list[Any] | None] = Parameter(
    "cursor", "The `next` of the page before.", lambda given, _: decode_cursor(given), STRING
)
REASON = text(
    "reason",
    "The reason of the look. It is recorded in the clear if the key has scope `audit` or `reveal`: name a ticket.",
    maxLength=TEXT_CHARACTERS_MAX,
)

TIMES = (AT, AS_OF_POSITION, KNOWN_AT)
PAGE = (LIMIT, CURSOR)
