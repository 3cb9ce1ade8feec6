"""Periods: months that finance closed, each with its known position and its totals.

Of two closings of one period the first counts, until the period is reopened.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from ledger.facts import Occurrence
from ledger.facts.periods import PeriodClosed, PeriodReopened
from projections.definition import Projection, Rows, State, Table


class Period(State):
    closing: PeriodClosed | None = None
    closed_at: datetime | None = None
    reopenings: int = 0
    last_position: int = 0


class PeriodRow(NamedTuple):
    status: str  # closed, open
    first_day: date | None
    last_day: date | None
    known_position: int | None
    closed_at: datetime | None
    closed_by: str | None
    reopenings: int
    last_position: int


class PeriodTotalRow(NamedTuple):
    programme: str
    unit: str
    opening: Decimal
    closing: Decimal


PERIODS_TABLE = Table(
    name="periods",
    create="""
        CREATE TABLE periods (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL, status text NOT NULL,
            first_day date, last_day date, known_position bigint, closed_at timestamptz, closed_by text,
            reopenings int NOT NULL, last_position bigint NOT NULL)
        """,
    index=("ALTER TABLE periods ADD PRIMARY KEY (ledger_id, subject)",),
    columns=PeriodRow._fields,
    key=(),
)

TOTALS_TABLE = Table(
    name="period_totals",
    create="""
        CREATE TABLE period_totals (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            programme text COLLATE "C" NOT NULL, unit text COLLATE "C" NOT NULL,
            opening numeric NOT NULL, closing numeric NOT NULL)
        """,
    index=("ALTER TABLE period_totals ADD PRIMARY KEY (ledger_id, subject, programme, unit)",),
    columns=PeriodTotalRow._fields,
    key=("programme", "unit"),
)


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
    row = PeriodRow(
        status="closed",
        first_day=closing.first_day,
        last_day=closing.last_day,
        known_position=closing.known_position,
        closed_at=period.closed_at,
        closed_by=closing.by,
        reopenings=period.reopenings,
        last_position=period.last_position,
    )
    totals = [PeriodTotalRow(total.programme, total.unit, total.opening, total.closing) for total in closing.totals]
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
)
