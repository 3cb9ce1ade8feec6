"""Facts about accounting periods: a month was closed with the figures known at that time, or opened again."""

from datetime import date
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class PeriodTotal(msgspec.Struct, frozen=True, omit_defaults=True):
    """The opening and closing points outstanding of one programme and unit, as the period was closed."""

    programme: str
    unit: str
    opening: Decimal
    closing: Decimal


class PeriodFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one period, for example "2026-03"."""

    subject_kind = "period"

    period: str

    @property
    def subject(self) -> str:
        return self.period


class PeriodClosed(PeriodFact, frozen=True, kw_only=True, omit_defaults=True):
    """The period was closed as known at `known_position`. Later reports about it are prior-period items."""

    rank = 10
    first_day: date
    last_day: date
    known_position: int
    totals: tuple[PeriodTotal, ...] = ()
    by: str | None = None


class PeriodReopened(PeriodFact, frozen=True, kw_only=True, omit_defaults=True):
    """The close of the period was undone."""

    rank = 20
    by: str | None = None


FACTS: tuple[type[Fact], ...] = (PeriodClosed, PeriodReopened)
