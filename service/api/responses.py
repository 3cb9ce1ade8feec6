"""Build HTTP responses: JSON, pages of a list, RFC 9457 problem documents, parts of a streamed answer."""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from ledger import errors
from service.formatting import encode_json

# The only table from error to status. A subclass has the status of its parent unless it is listed.
STATUS_OF_ERROR: Mapping[type[errors.LedgerError], HTTPStatus] = {
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


def json_response(value: Any, status: int = HTTPStatus.OK) -> web.Response:
    """Return a JSON response."""
    return web.Response(body=encode_json(value), status=status, content_type="application/json")


def page_response(items: Sequence[Any], next_cursor: str | None, **extra_fields: Any) -> web.Response:
    """Return one page of a list. `next` is the cursor of the next page, or null."""
    return json_response({"items": items, "next": next_cursor, **extra_fields})


def problem_response(error: errors.LedgerError) -> web.Response:
    """Return an RFC 9457 problem document for an error."""
    status = next(STATUS_OF_ERROR[kind] for kind in type(error).__mro__ if kind in STATUS_OF_ERROR)
    response = status_response(status, str(error), type(error).__name__)
    if status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def status_response(status: int, detail: str, kind: str = "about:blank") -> web.Response:
    """Return a problem document for an HTTP status."""
    body = {"type": kind, "title": HTTPStatus(status).phrase, "status": int(status), "detail": detail}
    return web.Response(body=encode_json(body), status=status, content_type="application/problem+json")


ANSWER_SECONDS_MIN = 10.0

ANSWER_BYTES_PER_SECOND_MIN = 16 * 1024


async def send(request: web.BaseRequest, response: web.StreamResponse, part: bytes) -> None:
    """Send a part of a streamed answer. Raises ConnectionError after it cut off a client that does not read."""
    try:
        async with asyncio.timeout(answer_seconds_max(len(part))):
            await response.write(part)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read") from None


def answer_seconds_max(size: int) -> float:
    """Return the time that a client may take to receive so many bytes."""
    return ANSWER_SECONDS_MIN + size / ANSWER_BYTES_PER_SECOND_MIN
