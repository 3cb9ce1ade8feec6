"""Build HTTP responses: JSON, pages of a list, RFC 9457 problem documents, parts of a streamed answer."""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from ledger import errors
from service.api.problems import ProblemType, problem_of
from service.formatting import encode_json

RETRY_AFTER_SECONDS = 5


def json_response(value: Any, status: int = HTTPStatus.OK) -> web.Response:
    """Return a JSON response."""
    return web.Response(body=encode_json(value), status=status, content_type="application/json")


def stored_response(body: bytes, status: int, headers: Mapping[str, str]) -> web.Response:
    """Return a JSON response that was sent before."""
    return web.Response(body=body, status=status, content_type="application/json", headers=headers)


def page_response(
    request: web.BaseRequest, items: Sequence[Any], next_cursor: str | None, **extra_fields: Any
) -> web.Response:
    """Return one page of a list. `next` is the cursor of the next page, or null. A Link header names the page."""
    response = json_response({"items": items, "next": next_cursor, **extra_fields})
    if next_cursor is not None:
        url = request.rel_url.update_query(cursor=next_cursor)
        response.headers["Link"] = f'<{url}>; rel="next"'
    return response


def error_response(error: errors.LedgerError) -> web.Response:
    """Return the problem document of an error."""
    return problem_response(problem_of(type(error)), str(error))


def problem_response(problem: ProblemType, detail: str = "") -> web.Response:
    """Return a problem document (RFC 9457). The detail is the title unless it is given."""
    response = web.Response(
        body=encode_json(problem_json(problem, detail)),
        status=problem.status,
        content_type="application/problem+json",
    )
    if problem.is_temporary:
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if problem.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def problem_json(problem: ProblemType, detail: str = "") -> dict[str, Any]:
    """Return the fields of a problem document."""
    return {"type": problem.uri, "title": problem.title, "status": problem.status, "detail": detail or problem.title}


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
