"""Invariant 7 for finance: each roll-forward ties to the accounts, and each vintage to its lots."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given

from projections.accounts.classes import TAKING_MOVEMENTS
from projections.programme_terms import NO_TERMS
from projections.queries.account_history import fold_history
from projections.queries.as_of import KnownSubject
from projections.queries.holder_history import HolderHistory
from projections.queries.roll_forward import (
    BEFORE,
    MOVEMENT_NAMES,
    RollForward,
    RollForwardQuery,
    RollForwardRow,
)
from projections.queries.trial_balance import TrialBalance
from tests.properties.histories import histories
from tests.properties.test_conservation import wallets

FIRST, LAST = date(2023, 11, 16), date(2024, 2, 3)


def books_of(history: list[bytes]) -> list[HolderHistory]:
    return [fold_history(KnownSubject("", facts)) for facts in wallets(history)]


def rolled(history: list[bytes], ask: RollForwardQuery) -> RollForward:
    forward = RollForward(ask, NO_TERMS)
    for book in books_of(history):
        forward.add(book)
    return forward


def closing_of(row: RollForwardRow) -> Decimal:
    return row.opening + sum(-points if name in TAKING_MOVEMENTS else points for name, points in row.movements.items())


@given(history=histories())
def test_every_roll_forward_ties_to_the_accounts(history: list[bytes]) -> None:
    for ask in (
        RollForwardQuery(FIRST, LAST),
        RollForwardQuery(FIRST, LAST, monthly=True),
        RollForwardQuery(date(2023, 11, 14), date(2023, 11, 18)),
    ):
        forward = rolled(history, ask)

        assert [tie.difference for tie in forward.ties()] == [0] * len(forward.ties())
        for row in forward.rows():
            assert closing_of(row) == row.closing
            assert row.states["available"] - row.states["debt"] == row.closing
            assert set(row.movements) == set(MOVEMENT_NAMES)
        for row in forward.rows():
            before = [
                one
                for one in forward.rows()
                if one.key._replace(period=BEFORE) == row.key._replace(period=BEFORE)
                and one.key.period < row.key.period
            ]
            if before:
                assert before[-1].closing == row.opening or row.key.period - before[-1].last_day > timedelta(days=1)


@given(history=histories())
def test_the_totals_of_a_roll_forward_are_the_sums_of_its_rows(history: list[bytes]) -> None:
    for ask in (RollForwardQuery(FIRST, LAST, monthly=True), RollForwardQuery(FIRST, LAST, vintage=date(2023, 11, 1))):
        forward = rolled(history, ask)
        rows, totals = forward.rows(), forward.totals()
        first, last = ask.first, max((row.key.period for row in rows), default=ask.last)

        for name in MOVEMENT_NAMES:
            assert totals[name] == sum(row.movements[name] for row in rows)
        assert totals["opening"] == sum(row.opening for row in rows if row.key.period == first)
        assert totals["closing"] == sum(row.closing for row in rows if row.key.period == last)


@given(history=histories())
def test_every_vintage_closes_with_what_remains_in_its_lots(history: list[bytes]) -> None:
    last = date(2100, 1, 1)
    remaining: dict[tuple[str, date | None], Decimal] = defaultdict(Decimal)
    forward = RollForward(RollForwardQuery(last, last), NO_TERMS)
    for book in books_of(history):
        forward.add(book)
        for lot in book.lots.values():
            if lot.lapses_at is None or lot.lapses_at.date() > last:
                remaining["points", lot.earned_at.date().replace(day=1)] += lot.remaining
        for account in book.accounts.values():
            remaining[account.unit, None] -= account.debt

    closings: dict[tuple[str, date | None], Decimal] = defaultdict(Decimal)
    for row in forward.rows():
        closings[row.key.unit, row.key.vintage] += row.closing
    assert {of: points for of, points in closings.items() if points} == {
        of: points for of, points in remaining.items() if points
    }


@given(history=histories())
def test_the_trial_balance_is_zero_at_every_time(history: list[bytes]) -> None:
    for days in (0, 2, 4, 8, 40, 400):
        balance = TrialBalance(datetime(2023, 11, 14, tzinfo=UTC) + timedelta(days=days))
        for book in books_of(history):
            balance.add(book)

        assert all(sums.sum == 0 for sums in balance.sums())
        assert balance.differing == []
