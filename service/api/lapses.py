"""Future lapses: of an account by lot, of a programme by day. They are arithmetic on lots; no job runs."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from ledger import clock
from ledger.errors import RequestInvalid
from projections.accounts.lapses import has_lapsed
from projections.engine.programme_terms import read_terms
from service.api.answers.accounts import AccountLapses
from service.api.answers.finance import ProgrammeLapsePage
from service.api.requests.admission import get
from service.api.requests.open_query import open_query, parse_as_of
from service.api.requests.parameters import LIMIT, PAGE, TIMES, day
from service.api.responses import json_response, page_response
from service.formatting import cut_page, decode_cursor
from service.parameters import parse_day
from service.queries.accounts import OPEN_LOTS, load_account
from service.queries.context import QueryContext
from service.queries.freshness import freshness
from service.queries.programmes import find_programme

DAYS_MAX = 3_660
DAYS_DEFAULT = 366

# Uses the index lots_lapses. The vendor has not reported the expiry of lots past their day.
LAPSES = """
    SELECT expires_on, unit, sum(remaining) AS points, count(*) AS lots_count,
           count(DISTINCT account_id) AS accounts_count
      FROM lots
     WHERE ledger_id = $1 AND programme = $2 AND remaining > 0 AND expires_on BETWEEN $3 AND $4
       AND (expires_on, unit) > ($5, $6)
     GROUP BY expires_on, unit ORDER BY expires_on, unit LIMIT $7
"""


async def get_account_lapses(request: web.Request) -> web.Response:
    """List the days on which points of an account lapse.

    The items are the points available at the time of the query, by the day on which they lapse if unspent. Points that
    never lapse are the last item.
    """
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        view = await load_account(query, request.match_info["id"], times)
        account = view.row["account_id"]
        lots: Sequence[Mapping[str, Any]] = view.lots
        if view.lines is None:
            lots = await query.connection.fetch(OPEN_LOTS, query.ledger.ledger_id, [account])
        live = [lot for lot in lots if lot["remaining"] and not has_lapsed(lot["lapses_at"], times.at)]
        items = [_day_json(list(lots_of_day)) for _, lots_of_day in groupby(live, key=lambda lot: lot["expires_on"])]
        return json_response(
            {"account": account, "at": times.at, "items": items, "next": None, **await freshness(query, times)}
        )


def _day_json(lots: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "expires_on": lots[0]["expires_on"],
        "lapses_at": lots[0]["lapses_at"],
        "points": sum((lot["remaining"] for lot in lots), Decimal(0)),
        "lots": [{"id": lot["lot_id"], "points": lot["remaining"], "rule": lot["rule"]} for lot in lots],
    }


async def get_programme_lapses(request: web.Request) -> web.Response:
    """List the days on which points of a programme lapse.

    Each item counts points, lots and accounts of a day and unit, as of now. The default is a year from today in the
    programme's time zone. Past days show points that the vendor has not reported as expired.
    """
    async with open_query(request) as query:
        programme = await find_programme(query, request.match_info["id"])
        first, last = await _parse_days(query, request, programme)
        after = decode_cursor(request.query.get("cursor"), str, str) or [first.isoformat(), ""]
        limit = LIMIT.of(request)
        since = parse_day(after[0], "cursor")
        rows = await query.connection.fetch(
            LAPSES, query.ledger.ledger_id, programme, first, last, since, after[1], limit + 1
        )
        shown, cursor = cut_page(rows, limit, lambda row: (row["expires_on"].isoformat(), row["unit"]))
        extra_fields = {"programme": programme, "from": first, "to": last}
        return page_response(request, [dict(row) for row in shown], cursor, **extra_fields, **await freshness(query))


async def _parse_days(query: QueryContext, request: web.Request, programme: str) -> tuple[date, date]:
    now = clock.now()
    terms = await read_terms(query.connection, query.ledger.ledger_id)
    first = FROM.of(request) or now.astimezone(ZoneInfo(terms.zone(programme, now))).date()
    last = TO.of(request) or min(first, date.max - timedelta(DAYS_DEFAULT)) + timedelta(DAYS_DEFAULT)
    if not timedelta() <= last - first <= timedelta(DAYS_MAX):
        raise RequestInvalid(f"`to` must be 0 to {DAYS_MAX:,} days after `from`")
    return first, last


FROM = day("from", "The first day. Default: today in the programme's time zone.")
TO = day("to", f"The last day, at most {DAYS_MAX:,} days after the first. Default: {DAYS_DEFAULT} days after it.")

OPERATIONS = (
    get("/v1/accounts/{id}/lapses", get_account_lapses, *TIMES, tag="accounts", answer=AccountLapses),
    get(
        "/v1/programmes/{id}/lapses",
        get_programme_lapses,
        FROM,
        TO,
        *PAGE,
        tag="programmes",
        answer=ProgrammeLapsePage,
    ),
)
