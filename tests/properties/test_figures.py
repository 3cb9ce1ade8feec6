"""Figures of accounts equal the movements of the roll-forward, by name and sign."""

from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.facts import Fact, RecordedFact
from ledger.facts.adjustments import AdjustmentMade, AdjustmentReversed
from ledger.facts.merges import HolderMergedAway
from projections.programme_terms import NO_TERMS
from projections.queries.account_history import fold_history
from projections.queries.as_of import KnownSubject
from projections.queries.holder_history import HolderHistory, lapses_until
from projections.queries.roll_forward import RollForward, RollForwardQuery, last_instant
from projections.queries.trial_balance import TrialBalance
from tests.properties.test_reference import HOLDERS, STEPS_OF, Pair, Step, about, steps

LAST = date(2030, 1, 1)
# Movement of the roll-forward -> figure of the account, if the names differ.
FIGURES = {
    "transfers_in": ("received",),
    "transfers_out": ("sent", "in_transit"),
    "lapsed": ("lapsed", "expired"),
    "openings": ("opening",),
}
NAMES = ("issued", "converted", "transfers_in", "merged", "adjusted", "openings", "unseen")
TAKEN = ("redeemed", "lapsed", "reversed", "transfers_out", "held")


def adjust(step: Step) -> Fact:
    """Make or reverse an adjustment."""
    if step.choice == 0:
        return AdjustmentReversed(adjustment=f"a{step.name}", **about(step))
    points = Decimal(step.points if step.choice % 2 else -step.points)
    return AdjustmentMade(adjustment=f"a{step.name}", points=points, **about(step))


def fold_histories(history: list[Step], adjustments: set[int]) -> HolderHistory:
    """Fold a history with adjustments among its steps."""
    pair, told = Pair(), list[RecordedFact]()
    for number, step in enumerate(history):
        pair.now += step.days
        pair.number += 1
        if number in adjustments:
            fact: Fact | None = adjust(step)
        elif step.kind == "merge":
            fact = HolderMergedAway(holder=HOLDERS[step.holder], survivor=HOLDERS[1 - step.holder])
        else:
            fact = STEPS_OF[step.kind](pair, pair.models[step.holder], step)
        if fact is not None:
            told.append(RecordedFact(fact, pair.occurrence()))
    return fold_history(KnownSubject(HOLDERS[0], told, NO_TERMS))


@settings(max_examples=60)
@given(history=st.lists(steps, min_size=1, max_size=40), adjustments=st.sets(st.integers(0, 39)))
def test_every_figure_of_accounts_is_a_movement_of_the_roll_forward(history: list[Step], adjustments: set[int]) -> None:
    book = fold_histories(history, adjustments)
    roll = RollForward(RollForwardQuery(date(2020, 1, 1), LAST, monthly=True), NO_TERMS)

    roll.add(book)

    moved: Counter[str] = Counter()
    for row in roll.rows():
        moved.update({name: row.movements[name] for name in (*NAMES, *TAKEN)})
    shown: dict[str, Any] = {
        name: sum((getattr(one, figure) for one in book.accounts.values() for figure in FIGURES.get(name, (name,))), 0)
        for name in (*NAMES, *TAKEN)
    }
    shown["lapsed"] -= sum(line.points for line in lapses_until(book, last_instant(LAST, "UTC")))
    assert {name: moved[name] for name in shown} == shown
    assert not any(tie.difference for tie in roll.ties())


@settings(max_examples=60)
@given(history=st.lists(steps, min_size=1, max_size=40), adjustments=st.sets(st.integers(0, 39)))
def test_the_trial_balance_agrees_with_every_account(history: list[Step], adjustments: set[int]) -> None:
    balance = TrialBalance(last_instant(LAST, "UTC"))

    balance.add(fold_histories(history, adjustments))

    assert balance.differing == []
    assert not any(one.sum for one in balance.sums())
