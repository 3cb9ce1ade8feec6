"""Messages as Server-Sent Events: the feed of outgoing webhooks, for a reader that keeps its own position."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web

from ledger.errors import LedgerReadsTooMany, RequestInvalid
from ledger.store.registry import Ledger
from service.api.requests.admission import ACCESS, Operation
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import open_query
from service.api.requests.parameters import POSITION_MAX, Parameter, flag, whole
from service.api.responses import send
from service.outgoing.fact_feed import read_page
from service.outgoing.message_types import FEED_TYPES
from service.outgoing.messages import FeedCursor, encode_message

STREAMS_PER_LEDGER_MAX = 20
HEARTBEAT_SECONDS = 15.0  # between two comments that keep an idle connection open
RETRY_MILLISECONDS = 3_000  # after which a browser connects again
MESSAGES_PER_PART = 100
LAST_EVENT_ID = "Last-Event-ID"

STREAMS = web.AppKey("streams", dict[int, set["asyncio.Task[Any]"]])  # running streams, by ledger


class StreamSelection(NamedTuple):
    """The messages that a reader asks for."""

    ledger: Ledger
    types: tuple[str, ...]
    kinds: tuple[str, ...]


async def stream_messages(request: web.Request) -> web.StreamResponse:
    """Stream facts and changes as Server-Sent Events, in the order of the ledger.

    The data of an event is a CloudEvent, as the section `webhooks` of this document describes it. Its id is a place in
    the feed. A reader that connects again sends the last id in the header `Last-Event-ID`, as browsers do, with the
    same parameters. It then misses no message. With `follow=true` the stream stays open, and a comment is sent every 15
    seconds. Otherwise it ends when everything recorded so far is sent.
    """
    access = request[ACCESS]
    types = tuple(TYPES.of(request) or FEED_TYPES)
    kinds = tuple(KINDS.of(request) or ())
    cursor = _start(request)
    streams = request.app[STREAMS].setdefault(access.ledger.ledger_id, set())
    if len(streams) >= STREAMS_PER_LEDGER_MAX:
        raise LedgerReadsTooMany(f"a ledger has at most {STREAMS_PER_LEDGER_MAX} streams at once")
    task = asyncio.current_task()
    assert task is not None
    streams.add(task)
    try:
        return await _stream(request, StreamSelection(access.ledger, types, kinds), cursor)
    finally:
        streams.discard(task)


async def _stream(request: web.Request, selection: StreamSelection, cursor: FeedCursor) -> web.StreamResponse:
    context, ledger = request.app[APP_CONTEXT], selection.ledger
    is_following = FOLLOW.of(request)
    response = web.StreamResponse(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
    response.content_type = "text/event-stream"
    first = True
    while True:
        await context.authenticate_key(request, "read")  # the key may have been revoked
        async with open_query(request) as query:
            page = await read_page(query.connection, selection, cursor)
        if first:
            await response.prepare(request)
            await send(request, response, f"retry: {RETRY_MILLISECONDS}\n\n".encode())
            first = False
        for start in range(0, len(page.messages), MESSAGES_PER_PART):
            part = page.messages[start : start + MESSAGES_PER_PART]
            await send(request, response, b"".join(_event(message, ledger.name) for message in part))
        if page.end != cursor:
            cursor = page.end
            continue
        if not is_following:
            await response.write_eof()
            return response
        if not await context.progress.wait_for(ledger.ledger_id, cursor.position + 1, HEARTBEAT_SECONDS):
            await send(request, response, b": still here\n\n")


def _event(message: Any, ledger: str) -> bytes:
    return b"id: %d.%d\nevent: %s\ndata: %s\n\n" % (
        *message.cursor,
        message.type.encode(),
        encode_message(message, ledger),
    )


def _start(request: web.Request) -> FeedCursor:
    """Return the place to begin: after the last event of the reader, or after a position."""
    last = request.headers.get(LAST_EVENT_ID)
    if last is None:
        return FeedCursor(AFTER.of(request) or 0)
    position, _, ordinal = last.partition(".")
    if not (position.isdecimal() and ordinal.isdecimal() and len(last) <= 40 and int(position) <= POSITION_MAX):
        raise RequestInvalid(f"`{LAST_EVENT_ID}` must be the id of an earlier event")
    return FeedCursor(int(position), int(ordinal))


def _parse_types(given: str | None, name: str) -> list[str] | None:
    words = [word for word in (part.strip() for part in (given or "").split(",")) if word]
    if set(words) - {*FEED_TYPES}:
        raise RequestInvalid(f"`{name}` must be some of {', '.join(sorted(FEED_TYPES))}, separated by commas")
    return words or None


def _parse_kinds(given: str | None, _: str) -> list[str] | None:
    return [word for word in (part.strip() for part in (given or "").split(",")) if word] or None


async def end_streams(app: web.Application) -> None:
    """End all streams before the service stops. Readers connect again later, and miss nothing."""
    tasks = [task for tasks in app[STREAMS].values() for task in tasks]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1)


STRING: Mapping[str, Any] = {"type": "string"}
AFTER = whole("after", "Only messages about events after this position.", least=0, most=POSITION_MAX)
FOLLOW = flag("follow", "Keep the stream open, and send what is recorded from now on.")
TYPES: Parameter[list[str] | None] = Parameter(
    "types", "Types of messages, separated by commas. Default: all that have a sequence.", _parse_types, STRING
)
KINDS: Parameter[list[str] | None] = Parameter(
    "kinds", "Kinds of facts, separated by commas. Default: all.", _parse_kinds, STRING
)
OPERATIONS = (
    Operation(
        "GET",
        "/v1/stream",
        stream_messages,
        "outgoing",
        None,
        ("read",),
        (AFTER, TYPES, KINDS, FOLLOW),
        media=("text/event-stream",),
        errors=(LedgerReadsTooMany,),
    ),
)
