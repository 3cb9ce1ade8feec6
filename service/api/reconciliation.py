"""Lists of open matters: as JSON pages or as one CSV file."""

from datetime import date, datetime, timedelta
from typing import Any

from aiohttp import web

from ledger import clock
from service.api.answers.reconciliation import Summary, open_list_answer
from service.api.requests.admission import get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import admit_caller, open_query
from service.api.requests.parameters import AT, CURSOR, LIMIT_DEFAULT, LIMIT_MAX, choice, whole
from service.api.responses import json_response, page_response, send
from service.formatting import decode_cursor, encode_cursor, invalid_cursor
from service.queries.context import QueryContext
from service.queries.freshness import freshness
from service.reconciliation import catalogue
from service.reconciliation.formats import csv_pages, item_json
from service.reconciliation.lists import Key, ListQuery, OpenItem, OpenList

GRACE_HOURS_MAX = 24 * 3_650
COUNTS = """
    SELECT source, kind, count(*) AS events FROM unread WHERE ledger_id = $1 AND unread = $2
     GROUP BY source, kind ORDER BY source, kind
"""
UNREAD = {"quarantine": "quarantined", "unrecognised": "unrecognised"}


async def get_summary(request: web.Request) -> web.Response:
    """Count the open matters of each list, and the points at stake."""
    at, grace = _parse_time_and_grace(request)
    async with open_query(request, heavy=True) as query:
        totals = await catalogue.count_lists(query.connection, query.ledger.ledger_id, at, grace)
        lists = [
            {**open_list, "href": f"/v1/reconciliation/{open_list['name']}"}
            for open_list in catalogue.totals_json(totals)
        ]
        return json_response(
            {
                "at": at,
                "open_count": sum(open_list.items for open_list in totals.values()),
                "items": lists,
                "next": None,
                **await freshness(query),
            }
        )


def list_handler(open_list: OpenList) -> Any:
    """Return the handler of a list of open matters.

    With `format=csv`, or Accept: text/csv, all following items are sent as one file.
    """

    async def get_list(request: web.Request) -> web.StreamResponse:
        at, grace = _parse_time_and_grace(request)
        try:
            after = open_list.key_of(decode_cursor(request.query.get("cursor")))
        except ValueError:
            raise invalid_cursor() from None
        if _wants_csv(request):
            return await _export(request, open_list, at, grace, after)
        limit = min(LIST_LIMIT.of(request) or LIMIT_DEFAULT, LIMIT_MAX)
        async with open_query(request) as query:
            list_query = ListQuery(
                query.ledger.ledger_id, at, catalogue.latest_start(open_list, at, grace), limit, after
            )
            items, next_key = await open_list.read(query.connection, list_query)
            items_json = [item_json(item, at) for item in items]
            return page_response(
                request,
                items_json,
                None if next_key is None else _encode_key(next_key),
                **await _counts(query, open_list),
                **await freshness(query),
            )

    get_list.__name__ = f"list_open_{open_list.name.replace('-', '_')}"
    return get_list


async def _export(
    request: web.Request, open_list: OpenList, at: datetime, grace: timedelta | None, after: Key
) -> web.StreamResponse:
    """Send a list as CSV, page by page.

    No database connection is held while a page is sent, so a slow client delays nobody. A client that hardly reads is
    cut off.
    """
    items_max = LIST_LIMIT.of(request)
    context = request.app[APP_CONTEXT]
    ledger = (await admit_caller(request)).ledger

    async def read_page(list_query: ListQuery) -> tuple[list[OpenItem], Key | None]:
        async with context.reader_pool.acquire() as connection:
            await connection.confine(ledger.ledger_id)
            return await open_list.read(connection, list_query)

    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8; header=present",
            "Content-Disposition": f'attachment; filename="{ledger.name}-{open_list.name}.csv"',
        }
    )
    list_query = ListQuery(ledger.ledger_id, at, catalogue.latest_start(open_list, at, grace), 0, after)
    async with context.heavy_query_shares.take(ledger.ledger_id):
        await response.prepare(request)
        async for lines in csv_pages(read_page, open_list, list_query, items_max):
            await send(request, response, lines)
        await response.write_eof()
    return response


async def _counts(query: QueryContext, open_list: OpenList) -> dict[str, Any]:
    """Return the number of uninterpreted events by source and kind."""
    if open_list.name not in UNREAD:
        return {}
    rows = await query.connection.fetch(COUNTS, query.ledger.ledger_id, UNREAD[open_list.name])
    return {"counts": [dict(row) for row in rows]}


def _parse_time_and_grace(request: web.Request) -> tuple[datetime, timedelta | None]:
    at, hours = AT.of(request) or clock.now(), GRACE_HOURS.of(request)
    return at, None if hours is None else timedelta(hours=hours)


def _wants_csv(request: web.Request) -> bool:
    wanted = FORMAT.of(request)
    return wanted == "csv" or (wanted is None and request.headers.get("Accept", "").startswith("text/csv"))


def _encode_key(key: tuple[Any, ...]) -> str:
    return encode_cursor(*(part.isoformat() if isinstance(part, date) else part for part in key))


GRACE_HOURS = whole(
    "grace_hours",
    "The time for which a matter may be open before it is listed. Default: the grace of the list.",
    least=0,
    most=GRACE_HOURS_MAX,
)
LIST_LIMIT = whole("limit", "The most items of a page, or of the file.", least=1, most=2**31)
FORMAT = choice("format", "`csv` returns all items as one file, as the header `Accept: text/csv` does.", "json", "csv")

OPERATIONS = (
    get("/v1/reconciliation", get_summary, AT, GRACE_HOURS, tag="reconciliation", answer=Summary),
    *(
        get(
            f"/v1/reconciliation/{name}",
            list_handler(open_list),
            *(AT, GRACE_HOURS, FORMAT, LIST_LIMIT, CURSOR),
            tag="reconciliation",
            answer=open_list_answer(open_list),
            media=("text/csv",),
            summary=f"List open matters: {open_list.title[0].lower()}{open_list.title[1:]}",
            description="docs/reconciliation.md explains the causes and the remedies.",
        )
        for name, open_list in catalogue.LISTS.items()
    ),
)
