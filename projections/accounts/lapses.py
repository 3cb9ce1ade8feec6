"""Lapsed lots: the one rule for folds, histories, answers and statements.

A lot lapses at the instant when its last day ends. Its remaining points can no longer be spent. No event reports that.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypeVar


class DatedLot(Protocol):
    """A lot: the state of a fold, or a row."""

    @property
    def lot_id(self) -> str: ...
    @property
    def earned_at(self) -> datetime: ...
    @property
    def lapses_at(self) -> datetime | None: ...
    @property
    def remaining(self) -> Decimal: ...


LotT = TypeVar("LotT", bound=DatedLot)


def has_lapsed(lapses_at: datetime | None, at: datetime) -> bool:
    """Return True if a lot has lapsed at a time. A lot that never lapses has None."""
    return lapses_at is not None and lapses_at <= at


def lapsed_between(lots: Iterable[LotT], after: datetime | None, until: datetime) -> list[tuple[datetime, LotT]]:
    """Return the lots with remaining points that lapsed after a time and until another, with the instants, in order."""
    lapsed = [
        (lot.lapses_at, lot)
        for lot in lots
        if lot.lapses_at is not None
        and has_lapsed(lot.lapses_at, until)
        and (after is None or not has_lapsed(lot.lapses_at, after))
        and lot.remaining
    ]
    return sorted(lapsed, key=lambda dated: (dated[0], dated[1].earned_at, dated[1].lot_id))
