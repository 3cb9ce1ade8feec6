"""Finance: the trial balance, and the liability as a roll-forward by day or month and by vintage."""

from datetime import date
from typing import Any

from aiohttp import web

from ledger.background import give_way
from ledger.errors import SubjectUnknown
from projections.queries.roll_forward import RollForwardKey, RollForwardRow, row_order
from service.api.answers.finance import Liability, TrialBalanceAnswer
from service.api.requests.admission import get
from service.api.requests.open_query import open_query, parse_as_of
from service.api.requests.parameters import LIMIT, PAGE, TIMES, choice, day, text
from service.api.responses import json_response, page_response
from service.finance.export_formats import csv_heading, csv_row
from service.finance.liability import count_unbalanced, liability_row_json, month_of, read_trial_balance
from service.finance.periods import roll_forward_periods
from service.finance.requests import parse_month, parse_roll_forward
from service.formatting import decode_cursor, encode_cursor, invalid_cursor
from service.queries.freshness import freshness

DIFFERING_MAX = 100


async def get_trial_balance(request: web.Request) -> web.Response:
    """Return the trial balance.

    The classes of all accounts are summed by programme and unit. `balanced` is true if every sum is zero and every
    account's postings equal its stored balance.
    """
    async with open_query(request, heavy=True) as query:
        times = await parse_as_of(query, request)
        balance = await read_trial_balance(query.connection, query.ledger.ledger_id, times.at, times.position)
        sums = balance.sums()
        unbalanced_accounts = await count_unbalanced(query.connection, query.ledger.ledger_id)
        return json_response(
            {
                "at": times.at,
                "balanced": not any(programme_sums.sum for programme_sums in sums)
                and not balance.differing
                and not unbalanced_accounts,
                "accounts_count": balance.accounts,
                "accounts_differing": balance.differing[:DIFFERING_MAX],
                **({"truncated": True} if len(balance.differing) > DIFFERING_MAX else {}),
                "items": [{**programme_sums._asdict(), "sum": programme_sums.sum} for programme_sums in sums],
                "next": None,
                **await freshness(query, times),
            }
        )


async def get_liability(request: web.Request) -> web.StreamResponse:
    """Return the liability: the movement of outstanding points from one day to another, both included.

    - There is an item for each month or day, programme, unit and vintage.
    - A closed month is as known when it was closed, unless `as_of_position` or `known_at` is given.
    - `totals` are sums over vintages, of the periods that begin on this page.
    - `ties` is true if the closing equals the sum of the accounts.
    - `format=csv` returns all rows as one file.
    """
    after = parse_row_cursor(request.query.get("cursor"))
    if FORMAT.of(request) == "csv":
        return await _export(request, after)
    limit = LIMIT.of(request)
    async with open_query(request, heavy=True) as query:
        times = await parse_as_of(query, request)
        roll_forward = await parse_roll_forward(query, request.query, times)
        liability = await roll_forward_periods(query.connection, query.ledger.ledger_id, roll_forward, times.position)
        page = await liability.page(after, limit)
        return page_response(
            request,
            [liability_row_json(row) for row in page.rows],
            encode_cursor(*row_cursor(page.rows[-1])) if page.more else None,
            **{
                "from": roll_forward.first,
                "to": roll_forward.last,
                "by": "month" if roll_forward.monthly else "day",
                "totals": [liability_row_json(row) for row in page.totals],
                "ties": not any(tie.difference for tie in liability.ties),
                "tie_outs": [{**tie._asdict(), "difference": tie.difference} for tie in liability.ties],
                **await freshness(query, times),
            },
        )


async def _export(request: web.Request, after: RollForwardKey | None) -> web.StreamResponse:
    """Send all rows as CSV. Other tasks of the event loop run between periods."""
    async with open_query(request, heavy=True) as query:
        times = await parse_as_of(query, request)
        liability = await roll_forward_periods(
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
    for row in liability.rows(after):
        if row is None:
            await give_way()
        elif after is None or row_order(row.key) > row_order(after):
            await response.write(f"{csv_row(row)}\r\n".encode())
    await response.write_eof()
    return response


def row_cursor(row: RollForwardRow) -> list[Any]:
    """Return the sort key of a row. No vintage is "~"."""
    return [row.key.programme, row.key.unit, row.key.period.isoformat(), month_of(row.key.vintage) or "~"]


def parse_row_cursor(text: str | None) -> RollForwardKey | None:
    """Parse a cursor made by `row_cursor`. Raises RequestInvalid."""
    parts = decode_cursor(text, str, str, str, str)
    if parts is None:
        return None
    programme, unit, period, vintage = parts
    try:
        return RollForwardKey(
            programme, unit, date.fromisoformat(period), None if vintage == "~" else parse_month(vintage, "cursor")
        )
    except ValueError:
        raise invalid_cursor() from None


FORMAT = choice("format", "`csv` returns all rows as one file.", "json", "csv", default="json")
LIABILITY_PARAMETERS = (
    day("from", "The first day. Default: the first day of the month of `to`."),
    day("to", "The last day. Default: today."),
    choice("by", "The length of a period.", "day", "month", default="month"),
    text("programme", "Only this programme."),
    text("unit", "Only this unit: `points`, or the identifier of an alternate currency."),
    text("vintage", "Only points that were earned in this month, such as 2026-03.", pattern="^[0-9]{4}-[0-9]{2}$"),
    FORMAT,
)

OPERATIONS = (
    get("/v1/trial-balance", get_trial_balance, *TIMES, tag="finance", answer=TrialBalanceAnswer),
    get(
        "/v1/liability",
        get_liability,
        *LIABILITY_PARAMETERS,
        *TIMES,
        *PAGE,
        tag="finance",
        answer=Liability,
        media=("text/csv",),
        errors=(SubjectUnknown,),
    ),
)
