from decimal import Decimal
from typing import Any

from ledger.facts.milestones import (
    MilestoneAchieved,
    MilestoneCompleted,
    MilestoneEnrolled,
    MilestoneLowered,
    MilestoneRaised,
    MilestoneRedefined,
    MilestoneStarted,
)
from projections.targets.milestones import MILESTONES
from tests.support.fold_helpers import day, on, row_of

ANN: dict[str, Any] = {"customer": "capillary:1:ann", "target": "5", "period": "Q3"}


def figures(value: int | None, defined: int | None) -> dict[str, Any]:
    return {
        **ANN,
        "value": None if value is None else Decimal(value),
        "target_value": None if defined is None else Decimal(defined),
    }


def raised(value: int, defined: int | None = 10) -> MilestoneRaised:
    return MilestoneRaised(**figures(value, defined), delta=Decimal(1), activity="TransactionAdd")


def lowered(value: int, defined: int | None = 10) -> MilestoneLowered:
    return MilestoneLowered(**figures(value, defined), delta=Decimal(-4), activity="ReturnBill")


def achieved(value: int | None = 10, defined: int | None = 10) -> MilestoneAchieved:
    return MilestoneAchieved(**figures(value, defined))


def test_a_customer_who_is_enrolled_has_a_target_and_no_value() -> None:
    row = row_of(MILESTONES, on(1, MilestoneEnrolled(**figures(None, 10), period_starts_on=day(2).date())))

    assert (row.status, row.value, row.target_value, row.enrolled_at) == ("enrolled", None, Decimal(10), day(1))
    assert row.period_starts_on == day(2).date()


def test_the_last_value_wins_whatever_was_added() -> None:
    row = row_of(MILESTONES, on(1, raised(3)), on(2, raised(8)))

    assert (row.status, row.value, row.last_delta, row.valued_at) == ("running", Decimal(8), Decimal(1), day(2))


def test_a_value_reported_late_does_not_win() -> None:
    assert row_of(MILESTONES, on(2, raised(8)), on(1, raised(3), position=9)).value == Decimal(8)


def test_a_value_above_the_target_has_reached_it() -> None:
    row = row_of(MILESTONES, on(1, raised(14, defined=1)))

    assert (row.status, row.achieved, row.achieved_at) == ("achieved", True, day(1))


def test_the_vendors_word_that_it_is_achieved_needs_no_figures() -> None:
    assert row_of(MILESTONES, on(1, achieved(None, None))).achieved is True


def test_it_was_achieved_when_that_was_first_so() -> None:
    assert row_of(MILESTONES, on(1, raised(10)), on(2, achieved())).achieved_at == day(1)


def test_a_return_withdraws_what_was_achieved() -> None:
    row = row_of(MILESTONES, on(1, achieved()), on(5, lowered(6)))

    assert (row.status, row.achieved, row.value, row.last_delta) == ("running", False, Decimal(6), Decimal(-4))
    assert (row.achieved_at, row.unachieved_at) == (day(1), day(5))


def test_a_return_that_leaves_enough_withdraws_nothing() -> None:
    row = row_of(MILESTONES, on(1, achieved(20)), on(5, lowered(16)))

    assert (row.achieved, row.unachieved_at) == (True, None)


def test_what_was_withdrawn_can_be_achieved_again() -> None:
    row = row_of(MILESTONES, on(1, achieved()), on(5, lowered(6)), on(7, raised(11)))

    assert (row.achieved, row.achieved_at, row.unachieved_at) == (True, day(7), day(5))


def test_a_target_set_higher_takes_nothing_back_that_was_reached() -> None:
    row = row_of(MILESTONES, on(1, achieved()), on(5, MilestoneRedefined(**figures(10, 20))))

    assert (row.achieved, row.target_value) == (True, Decimal(20))


def test_a_target_set_lower_may_be_reached_by_that() -> None:
    row = row_of(MILESTONES, on(1, raised(8)), on(5, MilestoneRedefined(**figures(8, 7))))

    assert (row.achieved, row.achieved_at) == (True, day(5))


def test_a_completed_period_shows_how_it_ended() -> None:
    told = [on(1, MilestoneStarted(**figures(None, 10))), on(2, raised(8)), on(9, MilestoneCompleted(**figures(9, 10)))]

    row = row_of(MILESTONES, *told)

    assert (row.status, row.achieved, row.value) == ("completed", False, Decimal(9))
    assert (row.started_at, row.completed_at) == (day(1), day(9))


def test_different_values_of_one_instant_are_contested_and_the_lower_wins() -> None:
    row = row_of(MILESTONES, on(1, lowered(1, 3)), on(1, raised(3, 1)))

    assert (row.contested, row.value, row.achieved) == (True, Decimal(1), False)


def test_the_same_value_reported_twice_of_one_instant_is_not_contested() -> None:
    assert row_of(MILESTONES, on(1, raised(10)), on(1, achieved())).contested is False


def test_a_later_value_settles_a_contested_state() -> None:
    assert row_of(MILESTONES, on(1, lowered(1, 3)), on(1, raised(3, 1)), on(2, raised(4))).contested is False
