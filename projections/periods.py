"""Periods: months that finance closed, each with its known position and its totals.

Of two closings of one period the first counts, until the period is reopened.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

from ledger.facts import Occurrence
from ledger.facts.periods import PeriodClosed, PeriodReopened
from projections.definition import Projection, Rows, State
from projections.tables import Identifier, Position, Table, row_from


class Period(State):
    closing: PeriodClosed | None = None
    closed_at: datetime | None = None
    reopenings: int = 0
    last_position: int = 0


class PeriodRow(NamedTuple):
    """Months that were closed at least once."""

    status: Annotated[str, "closed, open"]
    first_day: date | None
    last_day: date | None
    known_position: Position | None
    closed_at: datetime | None
    closed_by: str | None
    reopenings: int
    last_position: Position


class PeriodTotalRow(NamedTuple):
    """Outstanding points of a month when it was closed."""

    programme: Identifier
    unit: Identifier
    opening: Annotated[Decimal, "outstanding points at the start of the month"]
    closing: Decimal


PERIODS_TABLE = Table("periods", PeriodRow)
TOTALS_TABLE = Table("period_totals", PeriodTotalRow, key=("programme", "unit"))


def close(period: Period, fact: PeriodClosed, occurrence: Occurrence) -> None:
    """The period was closed. A closed period is not closed again."""
    period.last_position = max(period.last_position, occurrence.position)
    if period.closing is None:
        period.closing, period.closed_at = fact, occurrence.occurred_at


def reopen(period: Period, _fact: PeriodReopened, occurrence: Occurrence) -> None:
    """The period was reopened."""
    period.last_position = max(period.last_position, occurrence.position)
    if period.closing is not None:
        period.closing = period.closed_at = None
        period.reopenings += 1


def period_rows(_subject: str, period: Period) -> Rows:
    closing = period.closing
    if closing is None:
        row = PeriodRow("open", None, None, None, None, None, period.reopenings, period.last_position)
        return {"periods": [row], "period_totals": []}
    row = row_from(
        closing,
        PeriodRow,
        status="closed",
        closed_at=period.closed_at,
        closed_by=closing.by,
        reopenings=period.reopenings,
        last_position=period.last_position,
    )
    totals = [row_from(total, PeriodTotalRow) for total in closing.totals]
    return {"periods": [row], "period_totals": totals}


PERIODS = Projection(
    name="periods",
    version=1,
    subject="period",
    start=Period,
    on={PeriodClosed: close, PeriodReopened: reopen},
    rows=period_rows,
    tables=(PERIODS_TABLE, TOTALS_TABLE),
    customers=(),
    is_served=False,
)
