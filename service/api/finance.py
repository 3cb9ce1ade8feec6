"""For finance: the trial balance, and the liability as a roll-forward by day or month and by vintage."""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid
from ledger.vendors.fields import EARLIEST, LATEST_DAY
from projections.queries.roll_forward import RollForwardKey, RollForwardQuery, Row, order_of
from service.api.admission import PAGE, TIMES, get
from service.api.programmes import find_programme
from service.api.requests import AsOfQuery, QueryContext, freshness, limit_of, open_query, parse_as_of
from service.finance.export_formats import csv_heading, csv_row
from service.finance.liability import liability_row_json, month_of, trial_balance, unbalanced
from service.finance.periods import forward
from service.formatting import decode_cursor, encode_cursor, json_response

DAYS_MAX = 3_700  # ten years
DIFFERING_MAX = 100
MONTH = re.compile(r"2[01][0-9]{2}-(0[1-9]|1[0-2])")  # as far as days are read in what vendors tell


async def get_trial_balance(request: web.Request) -> web.Response:
    """GET /v1/trial-balance: the classes of all accounts by programme and unit, at ?at=, as known at ?as_of_position=
    or ?known_at=. "balanced" says that each sums to zero, and that every account's postings come to what it holds."""
    async with open_query(request, heavy=True) as read:
        times = await parse_as_of(read, request)
        balance = await trial_balance(read.connection, read.ledger.ledger_id, times.at, times.position)
        sums = balance.sums()
        wrong_rows = await unbalanced(read.connection, read.ledger.ledger_id)
        return json_response(
            {
                "at": times.at,
                "balanced": not any(one.sum for one in sums) and not balance.differing and not wrong_rows,
                "accounts": balance.accounts,
                "accounts_differing": balance.differing[:DIFFERING_MAX],
                **({"truncated": True} if len(balance.differing) > DIFFERING_MAX else {}),
                "items": [{**one._asdict(), "sum": one.sum} for one in sums],
                "next": None,
                **await freshness(read, times),
            }
        )


async def get_liability(request: web.Request) -> web.StreamResponse:
    """GET /v1/liability?from=&to=: how the points outstanding came from one day to another, both days in, ?by=month or
    day, for each programme, unit and vintage; ?programme=, ?unit= and ?vintage=2026-03 choose. Closed months are as
    known when they were closed, unless ?as_of_position= or ?known_at= say otherwise.

    "totals" are the sums over vintages of the periods that begin on this page. "ties" says that the closing is the sum
    of the accounts. With ?format=csv all rows come as one file."""
    after = read_cursor(request.query.get("cursor"))
    if read_format(request) == "csv":
        return await _export(request, after)
    limit = limit_of(request)
    async with open_query(request, heavy=True) as read:
        times = await parse_as_of(read, request)
        ask = await asked(read, request.query, times)
        done = await forward(read.connection, read.ledger.ledger_id, ask, times.position)
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
                **await freshness(read, times),
            }
        )


async def _export(request: web.Request, after: RollForwardKey | None) -> web.StreamResponse:
    """Write all rows as CSV. Others on the event loop have their turn between periods."""
    async with open_query(request, heavy=True) as read:
        times = await parse_as_of(read, request)
        done = await forward(
            read.connection, read.ledger.ledger_id, await asked(read, request.query, times), times.position
        )
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8; header=present",
            "Content-Disposition": f'attachment; filename="{read.ledger.name}-liability.csv"',
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


def read_format(request: web.Request) -> str:
    """Read ?format=: json, which is the default, or csv. Raises RequestInvalid."""
    wanted = request.query.get("format", "json")
    if wanted not in ("json", "csv"):
        raise RequestInvalid("`format` is json or csv")
    return wanted


async def asked(read: QueryContext, query: Mapping[str, str], times: AsOfQuery) -> RollForwardQuery:
    """Read which days, programme, unit and vintage are asked for: this month so far unless told. Raises
    RequestInvalid."""
    last = read_day(query.get("to"), "to") or read_day(times.at.astimezone(UTC).date().isoformat(), "at")
    assert last is not None
    first = read_day(query.get("from"), "from") or last.replace(day=1)
    by = query.get("by", "month")
    if by not in ("day", "month"):
        raise RequestInvalid("by is day or month")
    if not timedelta(0) <= last - first < timedelta(DAYS_MAX):
        raise RequestInvalid(f"from is not after to, and at most {DAYS_MAX:,} days before it")
    programme = await find_programme(read, query["programme"]) if "programme" in query else None
    return RollForwardQuery(
        first, last, by == "month", programme, query.get("unit"), read_month(query.get("vintage"), "vintage")
    )


def read_day(text: str | None, name: str) -> date | None:
    """Read a day of a query. Raises RequestInvalid."""
    if text is None:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise RequestInvalid(f"{name} is a day, for example 2026-03-31") from None
    if not EARLIEST.date() <= day < LATEST_DAY:
        raise RequestInvalid(f"{name} is a day from {EARLIEST.date()} on, before {LATEST_DAY}")
    return day


def read_month(text: str | None, name: str) -> date | None:
    """Read a month of a query, as its first day. Raises RequestInvalid."""
    if text is None:
        return None
    if not MONTH.fullmatch(text):
        raise RequestInvalid(f"{name} is a month from 2000-01 to 2199-12, for example 2026-03")
    return date(int(text[:4]), int(text[5:]), 1)


def read_period(text: str) -> str:
    """Read the name of a period. Raises RequestInvalid."""
    read_month(text, "a period")
    return text


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
            programme, unit, date.fromisoformat(period), None if vintage == "~" else read_month(vintage, "cursor")
        )
    except ValueError:
        raise RequestInvalid("cursor") from None


ROUTES = [
    get("/v1/trial-balance", get_trial_balance, *TIMES),
    get("/v1/liability", get_liability, "from", "to", "by", "programme", "unit", "vintage", "format", *TIMES, *PAGE),
]
