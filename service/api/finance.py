"""For finance: the trial balance, and the liability as a roll-forward by day or month and by vintage."""

import asyncio
from datetime import date
from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid
from projections.queries.roll_forward import RollForwardKey, Row, order_of
from service.api.requests.admission import PAGE, TIMES, get
from service.api.requests.open_query import open_query, parse_as_of, parse_limit
from service.api.responses import json_response
from service.finance.export_formats import csv_heading, csv_row
from service.finance.liability import liability_row_json, month_of, trial_balance, unbalanced
from service.finance.periods import forward
from service.finance.requests import parse_month, parse_roll_forward
from service.formatting import decode_cursor, encode_cursor
from service.queries.freshness import freshness

DIFFERING_MAX = 100


async def get_trial_balance(request: web.Request) -> web.Response:
    """GET /v1/trial-balance: the classes of all accounts by programme and unit, at ?at=, as known at ?as_of_position=
    or ?known_at=. "balanced" says that each sums to zero, and that every account's postings come to what it holds."""
    async with open_query(request, heavy=True) as query:
        times = await parse_as_of(query, request)
        balance = await trial_balance(query.connection, query.ledger.ledger_id, times.at, times.position)
        sums = balance.sums()
        wrong_rows = await unbalanced(query.connection, query.ledger.ledger_id)
        return json_response(
            {
                "at": times.at,
                "balanced": not any(one.sum for one in sums) and not balance.differing and not wrong_rows,
                "accounts": balance.accounts,
                "accounts_differing": balance.differing[:DIFFERING_MAX],
                **({"truncated": True} if len(balance.differing) > DIFFERING_MAX else {}),
                "items": [{**one._asdict(), "sum": one.sum} for one in sums],
                "next": None,
                **await freshness(query, times),
            }
        )


async def get_liability(request: web.Request) -> web.StreamResponse:
    """GET /v1/liability?from=&to=: how the points outstanding came from one day to another, both days in, ?by=month or
    day, for each programme, unit and vintage; ?programme=, ?unit= and ?vintage=2026-03 choose. Closed months are as
    known when they were closed, unless ?as_of_position= or ?known_at= say otherwise.

    "totals" are the sums over vintages of the periods that begin on this page. "ties" says that the closing is the sum
    of the accounts. With ?format=csv all rows come as one file."""
    after = read_cursor(request.query.get("cursor"))
    if parse_format(request) == "csv":
        return await _export(request, after)
    limit = parse_limit(request)
    async with open_query(request, heavy=True) as query:
        times = await parse_as_of(query, request)
        ask = await parse_roll_forward(query, request.query, times)
        done = await forward(query.connection, query.ledger.ledger_id, ask, times.position)
        page = await done.page(after, limit)
        return json_response(
            {
                "from": ask.first,
                "to": ask.last,
                "by": "month" if ask.monthly else "day",
                "items": [liability_row_json(row) for row in page.rows],
                "next": encode_cursor(*cursor_of(page.rows[-1])) if page.more else None,
                "totals": [liability_row_json(row) for row in page.totals],
                "ties": not any(tie.difference for tie in done.ties),
                "accounts": [{**tie._asdict(), "difference": tie.difference} for tie in done.ties],
                **await freshness(query, times),
            }
        )


async def _export(request: web.Request, after: RollForwardKey | None) -> web.StreamResponse:
    """Write all rows as CSV. Others on the event loop have their turn between periods."""
    async with open_query(request, heavy=True) as query:
        times = await parse_as_of(query, request)
        done = await forward(
            query.connection,
            query.ledger.ledger_id,
            await parse_roll_forward(query, request.query, times),
            times.position,
        )
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8; header=present",
            "Content-Disposition": f'attachment; filename="{query.ledger.name}-liability.csv"',
        }
    )
    await response.prepare(request)
    await response.write(f"{csv_heading()}\r\n".encode())
    for row in done.rows(after):
        if row is None:
            await asyncio.sleep(0)
        elif after is None or order_of(row.key) > order_of(after):
            await response.write(f"{csv_row(row)}\r\n".encode())
    await response.write_eof()
    return response


def parse_format(request: web.Request) -> str:
    """Read ?format=: json, which is the default, or csv. Raises RequestInvalid."""
    wanted = request.query.get("format", "json")
    if wanted not in ("json", "csv"):
        raise RequestInvalid("`format` is json or csv")
    return wanted


def cursor_of(row: Row) -> list[Any]:
    """Give the place of a row in the order of the rows; no vintage is "~"."""
    return [row.key.programme, row.key.unit, row.key.period.isoformat(), month_of(row.key.vintage) or "~"]


def read_cursor(text: str | None) -> RollForwardKey | None:
    """Read what `cursor_of` gave. Raises RequestInvalid."""
    parts = decode_cursor(text, str, str, str, str)
    if parts is None:
        return None
    programme, unit, period, vintage = parts
    try:
        return RollForwardKey(
            programme, unit, date.fromisoformat(period), None if vintage == "~" else parse_month(vintage, "cursor")
        )
    except ValueError:
        raise RequestInvalid("cursor") from None


ROUTES = [
    get("/v1/trial-balance", get_trial_balance, *TIMES),
    get("/v1/liability", get_liability, "from", "to", "by", "programme", "unit", "vintage", "format", *TIMES, *PAGE),
]
