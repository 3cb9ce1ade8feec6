"""Facts about accounting periods: that a month was closed, as it was known then, or opened again."""

from datetime import date
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class PeriodTotal(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the points outstanding of one programme and unit came to in the period, as it was closed."""

    programme: str
    unit: str
    opening: Decimal
    closing: Decimal


class PeriodFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one period, such as "2026-03"."""

    subject_kind = "period"

    period: str

    @property
    def subject(self) -> str:
        return self.period


class PeriodClosed(PeriodFact, frozen=True, kw_only=True, omit_defaults=True):
    """The period stands as it was known at a position; what is told of it later is a prior-period item."""

    rank = 10
    first_day: date
    last_day: date
    known_position: int
    totals: tuple[PeriodTotal, ...] = ()
    by: str | None = None


class PeriodReopened(PeriodFact, frozen=True, kw_only=True, omit_defaults=True):
    """The period is open again, as if it had not been closed."""

    rank = 20
    by: str | None = None


FACTS: tuple[type[Fact], ...] = (PeriodClosed, PeriodReopened)
