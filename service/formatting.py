"""How answers look: JSON with exact points, problem documents, cursors.

Points are JSON strings in plain notation without trailing zeros, everywhere; times are ISO 8601 in UTC; lists are
{"items": [...], "next": cursor or null}.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import web

from ledger import errors
from ledger.decimals import plain as plain

JSON_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE

# The one table from error to status. A subclass takes its parent's unless it has its own.
STATUS: Mapping[type[errors.LedgerError], HTTPStatus] = {
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.BadCredentials: HTTPStatus.UNAUTHORIZED,
    errors.ScopeMissing: HTTPStatus.FORBIDDEN,
    errors.DeliveryTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.CodingUnknown: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.NameTaken: HTTPStatus.CONFLICT,
    errors.NotPromoted: HTTPStatus.CONFLICT,
    errors.PeriodNotClosable: HTTPStatus.CONFLICT,
    errors.NothingToAdopt: HTTPStatus.CONFLICT,
    errors.AdjustmentDiffers: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NotAwaited: HTTPStatus.GATEWAY_TIMEOUT,
    errors.Refused: HTTPStatus.BAD_REQUEST,
    errors.LedgerReadsTooMany: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.LedgerError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
RETRY_AFTER_SECONDS = 5


def encode(value: Any) -> bytes:
    """Write an answer as JSON."""
    return orjson.dumps(value, default=_encode_other, option=JSON_OPTIONS)


def _encode_other(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(type(value).__name__)


def json_response(value: Any, status: int = HTTPStatus.OK) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=encode(value), status=status, content_type="application/json")


def page_response(items: Sequence[Any], next_cursor: str | None, **beside: Any) -> web.Response:
    """Answer with one page of a list; the next page is linked as RFC 8288 says, too."""
    return json_response({"items": items, "next": next_cursor, **beside})


def problem_response(error: errors.LedgerError) -> web.Response:
    """Answer with an RFC 9457 problem document."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    response = problem_of(status, str(error), type(error).__name__)
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def problem_of(status: int, detail: str, kind: str = "about:blank") -> web.Response:
    """Answer with a problem document for a status of HTTP."""
    body = {"type": kind, "title": HTTPStatus(status).phrase, "status": int(status), "detail": detail}
    return web.Response(body=encode(body), status=status, content_type="application/problem+json")


def encode_cursor(*key: str | int) -> str:
    """Write the last key of a page as a cursor, which callers hand back as it is."""
    return base64.urlsafe_b64encode(orjson.dumps(key)).decode().rstrip("=")


def decode_cursor(text: str | None, *kinds: type) -> list[Any] | None:
    """Read a cursor back, whose parts are of these kinds, unless the caller looks at them itself. Raises
    RequestInvalid if it is not one of ours."""
    if text is None:
        return None
    try:
        key = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise errors.RequestInvalid("cursor") from None
    if not isinstance(key, list) or (kinds and tuple(map(type, key)) != kinds):
        raise errors.RequestInvalid("cursor")
    return key


def read_time(text: str | None, name: str) -> datetime | None:
    """Read a time of a query; it must have a zone. Raises RequestInvalid."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise errors.RequestInvalid(f"{name} is an ISO 8601 time, for example 2026-03-31T23:59:59Z") from None
    if time.tzinfo is None:
        raise errors.RequestInvalid(f"{name} needs a zone, for example Z")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise errors.RequestInvalid(f"{name} is out of range") from None


def read_flag(text: str | None, name: str) -> bool:
    """Read a parameter that is true or false, false unless it is given. Raises RequestInvalid."""
    if text not in (None, "true", "false"):
        raise errors.RequestInvalid(f"`{name}` is true or false")
    return text == "true"


def read_int(text: str | None, name: str, *, least: int, most: int) -> int | None:
    """Read a whole number of a query. Raises RequestInvalid."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and least <= int(text) <= most):
        raise errors.RequestInvalid(f"{name} is a whole number from {least} to {most}")
    return int(text)
