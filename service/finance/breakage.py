"""Reads the movements of points by vintage and month, and forecasts the breakage of each programme and unit.

PostgreSQL adds up the movements, some holders at a time. So neither memory nor one statement grows with the ledger. All
figures are as known now.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from ledger import clock
from ledger.background import give_way
from ledger.database import Connection
from ledger.errors import RequestInvalid
from projections.accounts import ACCOUNTS
from projections.accounts.account import ZERO
from projections.engine.programme_terms import load_terms
from projections.programme_terms import Worth
from projections.queries.account_history import snapshot
from projections.reports.computed_views import MOVEMENT_ROWS
from service.finance.breakage_forecast import (
    BreakageForecast,
    CurvePoint,
    Fate,
    Flow,
    OpenPoints,
    VintageForecast,
    forecast_breakage,
)
from service.finance.liability import month_of, value_of
from service.finance.periods import month_bounds
from service.finance.requests import parse_month

HOLDERS_PER_STATEMENT = 2_000
CURVE_VINTAGES_MAX = 24  # shown; the forecast uses all

NEXT_HOLDER = """
    SELECT subject FROM accounts WHERE ledger_id = $1 AND subject > $2 ORDER BY subject OFFSET $3 LIMIT 1
"""
# A lapse at the end of a day belongs to the month of that day: until then the points were exposed to use. The balance
# at a month's end still holds points that lapse at that instant. Merges move points between holders of one vintage.
MOVED = f"""
    WITH moves AS ({MOVEMENT_ROWS})
    SELECT m.programme, m.unit, m.vintage, d.month, d.last_month,
           sum(m.points) FILTER (WHERE m.month <= $4) AS balance,
           sum(m.points) FILTER (WHERE (m.movement = 'adjusted' AND m.points > 0)
               OR m.movement IN ('issued', 'converted', 'transfers_in', 'openings', 'unseen', 'merged')) AS credited,
           -sum(m.points) FILTER (WHERE m.movement IN ('redeemed', 'held', 'settled')) AS used,
           -sum(m.points) FILTER (WHERE m.movement = 'lapsed') AS lapsed,
           -sum(m.points) FILTER (WHERE m.movement IN ('reversed', 'transfers_out')
                                     OR (m.movement = 'adjusted' AND m.points < 0)) AS removed
      FROM moves m JOIN lots l ON l.ledger_id = $1 AND l.subject = m.subject AND l.lot_id = m.lot_id
           CROSS JOIN LATERAL (SELECT
               CASE WHEN m.kind = 'Lapsed' THEN date_trunc('month', l.expires_on)::date ELSE m.month END AS month,
               CASE WHEN l.lapses_at IS NOT NULL THEN date_trunc('month', l.expires_on)::date END AS last_month) d
     WHERE m.ledger_id = $1 AND m.subject > $2 AND ($3::text IS NULL OR m.subject <= $3) AND d.month <= $4
     GROUP BY 1, 2, 3, 4, 5
"""  # noqa: S608 - our own text


class ProgrammeBreakage(NamedTuple):
    """The forecast of one programme and unit, and the worth of a point on the last day of its month."""

    programme: str
    unit: str
    forecast: BreakageForecast
    worth: Worth | None


class _Sums:
    """Flows and open points of one programme and unit, added up over all holders."""

    def __init__(self) -> None:
        self.flows: dict[tuple[date, date], list[Decimal]] = defaultdict(lambda: [ZERO] * 4)
        self.outstanding: dict[tuple[date, date | None], Decimal] = defaultdict(Decimal)

    def add(self, row: Any) -> None:
        """Add one row of MOVED."""
        sums = self.flows[row["vintage"], row["month"]]
        for number, name in enumerate(("credited", "used", "lapsed", "removed")):
            sums[number] += row[name] or ZERO
        self.outstanding[row["vintage"], row["last_month"]] += row["balance"] or ZERO

    def forecast(self, month: date) -> BreakageForecast:
        """Forecast the breakage as of the end of a month."""
        flows = [Flow(*key, *sums) for key, sums in self.flows.items()]
        groups = [OpenPoints(*key, points) for key, points in self.outstanding.items() if points > ZERO]
        return forecast_breakage(flows, groups, month)


async def read_breakage(
    connection: Connection, ledger_id: int, month: date, programme: str | None = None, unit: str | None = None
) -> list[ProgrammeBreakage]:
    """Forecast the breakage of all programmes and units, or of those named, as of the end of a month."""
    sums: dict[tuple[str, str], _Sums] = defaultdict(_Sums)
    async with snapshot(connection):
        terms = await load_terms(connection, ledger_id, ACCOUNTS)
        after, until = "", ""
        while until is not None:
            until = await connection.fetchval(NEXT_HOLDER, ledger_id, after, HOLDERS_PER_STATEMENT)
            for number, row in enumerate(await connection.fetch(MOVED, ledger_id, after, until, month)):
                if number % 100 == 0:
                    await give_way()
                if programme in (None, row["programme"]) and unit in (None, row["unit"]):
                    sums[row["programme"], row["unit"]].add(row)
            after = until or after
    _, last_day = month_bounds(f"{month:%Y-%m}")
    found = []
    for kind in sorted(sums):
        found.append(ProgrammeBreakage(*kind, sums[kind].forecast(month), terms.ratio(kind[0], last_day)))
        await give_way()
    return found


def parse_breakage_month(text: str | None) -> date:
    """Parse the month of a forecast. The default is the last one. Raises RequestInvalid if the month is not over."""
    current = clock.now().astimezone(UTC).date().replace(day=1)
    month = parse_month(text, "month") or (current - timedelta(days=1)).replace(day=1)
    if month >= current:
        raise RequestInvalid("`month` must be over: a forecast is as of the end of a month")
    return month


def breakage_json(one: ProgrammeBreakage) -> dict[str, Any]:
    """Return a forecast as JSON."""
    forecast, worth = one.forecast, one.worth
    return {
        "programme": one.programme,
        "unit": one.unit,
        "month": month_of(forecast.month),
        "outstanding": forecast.outstanding,
        **_fate_json(forecast.expected),
        "expected_breakage_low": forecast.low,
        "expected_breakage_high": forecast.high,
        "expected_breakage_rate": forecast.rate,
        "expected_breakage_value": _value(forecast.expected, worth),
        "currency": None if worth is None else worth.currency,
        "reason": forecast.reason,
        "ages_covered": forecast.ages_covered,
        "vintages": [_vintage_json(vintage) for vintage in forecast.vintages],
        "curves": [_curve_json(point) for point in shown_curves(forecast.curves)],
    }


def shown_curves(curves: Sequence[CurvePoint]) -> Sequence[CurvePoint]:
    """Return the curves of the youngest CURVE_VINTAGES_MAX vintages."""
    vintages = sorted({point.vintage for point in curves})[-CURVE_VINTAGES_MAX:]
    return [point for point in curves if vintages and point.vintage >= vintages[0]]


def _value(expected: Fate | None, worth: Worth | None) -> Decimal | None:
    return None if expected is None or worth is None else value_of(expected.breakage, worth.ratio)


def _fate_json(expected: Fate | None) -> Mapping[str, Decimal | None]:
    names = ("used", "removed", "breakage", "undetermined")
    return {
        f"expected_{name}" if name != "undetermined" else name: expected and getattr(expected, name) for name in names
    }


def _vintage_json(vintage: VintageForecast) -> dict[str, Any]:
    fields = {name: value for name, value in vintage._asdict().items() if name not in ("vintage", "expected")}
    return {"vintage": month_of(vintage.vintage), **fields, **_fate_json(vintage.expected)}


def _curve_json(point: CurvePoint) -> dict[str, Any]:
    return {**point._asdict(), "vintage": month_of(point.vintage)}
