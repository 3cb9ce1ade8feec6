"""Read the body of a request. Each body has a deadline, and all unfinished bodies have one memory limit.

A slow sender keeps the bytes that it has sent in memory. Small bodies are never refused for that: the number of
connections limits their memory. Bytes beyond BYTES_FREE of a body come from one budget of the process. A request is
refused with 503 when the budget is used up.
"""

import asyncio

from aiohttp import web

from ledger.errors import DeliveryTooLarge, LedgerUnavailable, RequestInvalid
from ledger.parsing import BODY_BYTES_MAX

BODY_SECONDS_MAX = 10.0  # for a whole body
BYTES_FREE = 64 * 1024  # of each body; the largest published delivery has 13 KB
UNFINISHED_BYTES_MAX = 64 * 1024 * 1024  # of all bodies together, without the free part of each
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

BODY = web.RequestKey("the body, if it was read before", bytes)
EXPECTS_CONTINUE = web.RequestKey("the client waits before it sends the body", bool)


class BodyBudget:
    """The number of bytes of unfinished bodies that a process may hold."""

    def __init__(self, bytes_max: int = UNFINISHED_BYTES_MAX) -> None:
        self._left = bytes_max

    def take(self, size: int) -> None:
        """Take bytes out of the budget. Raises LedgerUnavailable if fewer are left."""
        if size > self._left:
            raise LedgerUnavailable("too many large bodies are being received")
        self._left -= size

    def give_back(self, size: int) -> None:
        """Return bytes to the budget."""
        self._left += size


async def read_body(request: web.Request, budget: BodyBudget) -> bytes:
    """Read the whole body of a request: at most BODY_BYTES_MAX bytes within BODY_SECONDS_MAX.

    Raises DeliveryTooLarge; LedgerUnavailable if the budget is used up; HTTPRequestTimeout if the body is too slow;
    RequestInvalid if it is incomplete.
    """
    if BODY in request:
        return request[BODY]
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise DeliveryTooLarge(f"at most {BODY_BYTES_MAX} bytes")
    body = bytearray()
    taken = 0
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            if request.get(EXPECTS_CONTINUE) and request.transport is not None:
                request.transport.write(CONTINUE)
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise DeliveryTooLarge(f"at most {BODY_BYTES_MAX} bytes")
                beyond = max(0, len(body) - BYTES_FREE)
                budget.take(beyond - taken)
                taken = beyond
    except TimeoutError:
        raise web.HTTPRequestTimeout(reason="The body did not come in time") from None
    except (ConnectionError, web.RequestPayloadError):
        raise RequestInvalid("the body is incomplete") from None
    finally:
        budget.give_back(taken)
    return bytes(body)
