"""Liability before and after a previewed change: the outstanding points of each programme and unit that it touches."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from ledger.background import give_way
from ledger.database import Connection
from ledger.facts.terms import ProgrammeTermsSet
from projections.accounts import ACCOUNTS
from projections.accounts.account import ZERO
from projections.engine.programme_terms import read_terms
from projections.programme_terms import Terms
from projections.queries.account_history import histories, history_of_rows
from projections.queries.preview import FactChange, PreviewedSubjects
from projections.queries.roll_forward import ProgrammeUnit, RollForward, RollForwardQuery


class LiabilityFigure(NamedTuple):
    """Outstanding points, and their value if a point has a worth."""

    points: Decimal
    value: Decimal | None
    currency: str | None


class LiabilityChange(NamedTuple):
    """Liability of one programme and unit at the end of a day, before and after a change."""

    programme: str
    unit: str
    before: LiabilityFigure
    after: LiabilityFigure


class LiabilityPreview:
    """Sums the accounts that a change touches, without the change and with it. `day` is the last day that counts."""

    def __init__(self, day: date, before: Terms, after: Terms, programmes: frozenset[str]) -> None:
        query = RollForwardQuery(day, day)
        self._day = day
        self._programmes = programmes
        self._terms = (before, after)
        self._sums = (RollForward(query, before), RollForward(query, after))

    @staticmethod
    async def start(connection: Connection, ledger_id: int, change: FactChange, day: date) -> "LiabilityPreview":
        """Read the terms before and after a change, and start with no accounts."""
        before = await read_terms(connection, ledger_id)
        after = await read_terms(connection, ledger_id, added=change.added)
        programmes = frozenset(fact.programme for fact, _ in change.added if isinstance(fact, ProgrammeTermsSet))
        return LiabilityPreview(day, before, after, programmes)

    def adding(self, previewed: PreviewedSubjects) -> Iterator[None]:
        """Add some subjects; yield now and then, so that other tasks of the event loop can run."""
        if previewed.projection is ACCOUNTS:
            for rolled, subjects in zip(self._sums, (previewed.before, previewed.after), strict=True):
                for folded in subjects:
                    yield from rolled.adding(history_of_rows(folded.rows))

    async def changes(self, connection: Connection, ledger_id: int) -> list[LiabilityChange]:
        """Return the liability of each programme and unit that differs, and of programmes with new terms.

        All accounts of the ledger are added up for it.
        """
        without, with_change = self._sums
        kinds = sorted({*without.kinds(), *with_change.kinds()})
        shown = [
            kind
            for kind in kinds
            if kind[0] in self._programmes or _points(without, kind) != _points(with_change, kind)
        ]
        if not shown:
            return []
        whole = RollForward(RollForwardQuery(self._day, self._day), self._terms[0])
        async for history in histories(connection, ledger_id, None):
            for _ in whole.adding(history):
                await give_way()
        changes = []
        for kind in shown:
            before = _points(whole, kind)
            after = before - _points(without, kind) + _points(with_change, kind)
            changes.append(
                LiabilityChange(
                    *kind, self._figure(self._terms[0], kind, before), self._figure(self._terms[1], kind, after)
                )
            )
        return changes

    def _figure(self, terms: Terms, kind: ProgrammeUnit, points: Decimal) -> LiabilityFigure:
        worth = terms.ratio(kind[0], self._day)
        if worth is None:
            return LiabilityFigure(points, None, None)
        return LiabilityFigure(points, points * worth.ratio, worth.currency)


def _points(rolled: RollForward, kind: ProgrammeUnit) -> Decimal:
    return sum(rolled.closings(kind).values(), ZERO)
