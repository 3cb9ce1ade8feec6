"""Internal events: finance closed a month, or opened it again. A month has at most 10,000 totals."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ledger.facts import Fact
from ledger.facts.periods import PeriodClosed, PeriodReopened, PeriodTotal
from ledger.vendors.fields import Day, Points, StrictModel, Text
from ledger.vendors.vendor import EventContext, EventType

TOTALS_MAX = 10_000


class PeriodTotalPayload(StrictModel):
    programme: str
    unit: str
    opening: Points
    closing: Points


class PeriodClosedPayload(StrictModel):
    period: Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
    first_day: Day
    last_day: Day
    known_position: int
    totals: Annotated[tuple[PeriodTotalPayload, ...], BeforeValidator(tuple), Field(max_length=TOTALS_MAX)] = ()
    by: Text = None


class PeriodReopenedPayload(StrictModel):
    period: str
    by: Text = None


def period_closed(event: PeriodClosedPayload, _context: EventContext) -> Sequence[Fact]:
    if event.first_day is None or event.last_day is None:
        raise ValueError("a period has a first and a last day")
    totals = tuple(PeriodTotal(total.programme, total.unit, total.opening, total.closing) for total in event.totals)
    return [
        PeriodClosed(
            period=event.period,
            first_day=event.first_day,
            last_day=event.last_day,
            known_position=event.known_position,
            totals=totals,
            by=event.by,
        )
    ]


def period_reopened(event: PeriodReopenedPayload, _context: EventContext) -> Sequence[Fact]:
    return [PeriodReopened(period=event.period, by=event.by)]


KINDS: dict[str, EventType[Any]] = {
    "periodClosed": EventType(PeriodClosedPayload, period_closed),
    "periodReopened": EventType(PeriodReopenedPayload, period_reopened),
}
