"""Our word that finance closed a month, or opened it again. A month has 10,000 totals at most."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from ledger.facts import Fact
from ledger.facts.periods import PeriodClosed, PeriodReopened, PeriodTotal
from ledger.vendors.fields import Day, Points, StrictShape, Text
from ledger.vendors.vendor import EventContext, EventType

TOTALS_MAX = 10_000


class Total(StrictShape):
    programme: str
    unit: str
    opening: Points
    closing: Points


class Closed(StrictShape):
    period: Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
    first_day: Day
    last_day: Day
    known_position: int
    totals: Annotated[tuple[Total, ...], BeforeValidator(tuple), Field(max_length=TOTALS_MAX)] = ()
    by: Text = None


class Reopened(StrictShape):
    period: str
    by: Text = None


def period_closed(event: Closed, _stamp: EventContext) -> Sequence[Fact]:
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


def period_reopened(event: Reopened, _stamp: EventContext) -> Sequence[Fact]:
    return [PeriodReopened(period=event.period, by=event.by)]


KINDS: dict[str, EventType[Any]] = {
    "periodClosed": EventType(Closed, period_closed),
    "periodReopened": EventType(Reopened, period_reopened),
}
