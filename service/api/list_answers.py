"""Answer a list in one of its forms: a page, with a total if it is asked for, or all items as CSV or NDJSON."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple

from aiohttp import web

from service.api.requests.admission import ACCESS
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import admit_caller, open_query
from service.api.requests.parameters import LIMIT, PAGE, TIMES, choice, flag
from service.api.responses import page_response, send
from service.formatting import encode_cursor, encode_json
from service.queries.context import QueryContext
from service.queries.listing.filters import Key
from service.queries.listing.lists import ListPage
from service.reconciliation.formats import csv_line

CSV, NDJSON = "text/csv", "application/x-ndjson"
FILES = (CSV, NDJSON)
EXPORT_ROWS_PER_READ = 1_000

TOTAL = flag("total", "Adds `total`, the number of all items. It reads all of them.")
FORMAT = choice(
    "format", "A file with all items instead of a page. The header `Accept` does the same.", "json", "csv", "ndjson"
)
LIST_PARAMETERS = (TOTAL, FORMAT, *PAGE)


class ReadableList(NamedTuple):
    """A list whose references and times are resolved. `read_page` takes a key and a limit."""

    read_page: Callable[[QueryContext, Key | None, int], Awaitable[ListPage]]
    count_items: Callable[[QueryContext], Awaitable[int]]
    freshness: Callable[[QueryContext], Awaitable[Mapping[str, int]]]


class AskedList(NamedTuple):
    """A list as a request asks for it: the name of its file, its columns, the key to continue after."""

    name: str
    columns: Sequence[str]
    after: Key | None
    resolve: Callable[[QueryContext], Awaitable[ReadableList]]
    encode_key: Callable[[Key], str] = lambda key: encode_cursor(*key)


async def answer_list(request: web.Request, asked: AskedList) -> web.StreamResponse:
    """Return a page of a list, or send all items as a file."""
    format_wanted = _format(request)
    if format_wanted != "json":
        return await _send_file(request, asked, format_wanted)
    limit = LIMIT.of(request)
    async with open_query(request, heavy=TOTAL.of(request) or is_past(request)) as query:
        readable = await asked.resolve(query)
        page = await readable.read_page(query, asked.after, limit)
        total = {"total": await readable.count_items(query)} if TOTAL.of(request) else {}
        following = None if page.following is None else asked.encode_key(page.following)
        return page_response(request, page.items, following, **total, **await readable.freshness(query))


def is_past(request: web.Request) -> bool:
    """Return True if a list is asked for as of an earlier time."""
    return any(one.name in request.query for one in TIMES)


async def _send_file(request: web.Request, asked: AskedList, format_wanted: str) -> web.StreamResponse:
    """Send all items as a file. No connection is held while a part is sent, so a slow client delays nobody."""
    context, ledger = request.app[APP_CONTEXT], (await admit_caller(request)).ledger

    @asynccontextmanager
    async def lend() -> AsyncIterator[QueryContext]:
        async with context.reader_pool.acquire() as connection:
            await connection.confine(ledger.ledger_id)
            hash_key = context.vault.body_hash_key(ledger.ledger_id)
            yield QueryContext(connection, ledger, request[ACCESS].key_id, hash_key)

    response = web.StreamResponse(
        headers={
            "Content-Type": f"{CSV}; charset=utf-8; header=present" if format_wanted == "csv" else NDJSON,
            "Content-Disposition": f'attachment; filename="{ledger.name}-{asked.name}.{format_wanted}"',
            "Vary": "Accept",
        }
    )
    write: Callable[[dict[str, Any]], bytes] = encode_json
    if format_wanted == "csv":
        write = partial(_csv_item, columns=asked.columns)
    async with context.heavy_query_shares.take(ledger.ledger_id):
        async with lend() as query:
            readable = await asked.resolve(query)
        await response.prepare(request)
        if format_wanted == "csv":
            await send(request, response, csv_line(asked.columns))
        after = asked.after
        while True:
            async with lend() as query:
                page = await readable.read_page(query, after, EXPORT_ROWS_PER_READ)
            await send(request, response, b"".join(map(write, page.items)))
            if page.following is None:
                break
            after = page.following
        await response.write_eof()
    return response


def _csv_item(item: dict[str, Any], *, columns: Sequence[str]) -> bytes:
    """Return the line of an item. A cell with fields of its own is JSON."""
    cells = (item[column] for column in columns)
    return csv_line(encode_json(cell).decode().rstrip() if isinstance(cell, Mapping) else cell for cell in cells)


def _format(request: web.Request) -> str:
    wanted = FORMAT.of(request)
    accepted = request.headers.get("Accept", "").partition(",")[0].partition(";")[0].strip().lower()
    return wanted or {CSV: "csv", NDJSON: "ndjson"}.get(accepted, "json")
