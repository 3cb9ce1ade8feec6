"""Parse the parameters of finance queries: days, months, programme, unit, vintage."""

import re
from collections.abc import Mapping
from datetime import UTC, date, timedelta

from ledger.errors import RequestInvalid
from ledger.vendors.fields import EARLIEST, LATEST_DAY
from projections.queries.roll_forward import RollForwardQuery
from service.parameters import parse_day
from service.queries.as_of_query import AsOfQuery
from service.queries.context import QueryContext
from service.queries.programmes import find_programme

DAYS_MAX = 3_700  # ten years

MONTH = re.compile(r"2[01][0-9]{2}-(0[1-9]|1[0-2])")  # the range of days that is accepted in vendors' events


async def parse_roll_forward(query: QueryContext, parameters: Mapping[str, str], times: AsOfQuery) -> RollForwardQuery:
    """Parse the days, programme, unit and vintage of a roll-forward. The default is the current month so far.

    Raises RequestInvalid.
    """
    last = parse_day_of_ledger(parameters.get("to"), "to") or parse_day_of_ledger(
        times.at.astimezone(UTC).date().isoformat(), "at"
    )
    assert last is not None
    first = parse_day_of_ledger(parameters.get("from"), "from") or last.replace(day=1)
    by = parameters.get("by", "month")
    if by not in ("day", "month"):
        raise RequestInvalid("`by` must be day or month")
    if not timedelta(0) <= last - first < timedelta(DAYS_MAX):
        raise RequestInvalid(f"`from` must not be after `to`, nor {DAYS_MAX:,} days or more before it")
    programme = await find_programme(query, parameters["programme"]) if "programme" in parameters else None
    return RollForwardQuery(
        first, last, by == "month", programme, parameters.get("unit"), parse_month(parameters.get("vintage"), "vintage")
    )


def parse_day_of_ledger(text: str | None, name: str) -> date | None:
    """Parse a day of the range that is accepted in vendors' events. Raises RequestInvalid."""
    day = parse_day(text, name)
    if day is not None and not EARLIEST.date() <= day < LATEST_DAY:
        raise RequestInvalid(f"`{name}` must be a day from {EARLIEST.date()} and before {LATEST_DAY}")
    return day


def parse_month(text: str | None, name: str) -> date | None:
    """Parse a month. Return its first day. Raises RequestInvalid."""
    if text is None:
        return None
    if not MONTH.fullmatch(text):
        raise RequestInvalid(f"`{name}` must be a month from 2000-01 to 2199-12, such as 2026-03")
    return date(int(text[:4]), int(text[5:]), 1)


def parse_period(text: str) -> str:
    """Return the name of a period, such as 2026-03. Raises RequestInvalid."""
    parse_month(text, "period")
    return text
