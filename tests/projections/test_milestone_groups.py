from decimal import Decimal
from typing import Any

from ledger.facts.milestones import MilestoneGroupAchieved, MilestoneGroupUnAchieved, TargetStanding
from projections.targets.milestone_groups import MILESTONE_GROUPS
from tests.support.fold_helpers import day, on, row_of, rows_of

ANN: dict[str, Any] = {"customer": "capillary:1:ann", "target_group": "9", "period": "Q3"}


def achieved(**more: Any) -> MilestoneGroupAchieved:
    return MilestoneGroupAchieved(**ANN, **more)


def un_achieved(**more: Any) -> MilestoneGroupUnAchieved:
    return MilestoneGroupUnAchieved(**ANN, **more)


def test_a_group_that_is_achieved_stays_so_until_the_vendor_reports_otherwise() -> None:
    row = row_of(MILESTONE_GROUPS, on(1, achieved(combination="ANY", threshold=Decimal(5000))), on(3, achieved()))

    assert (row.achieved, row.achieved_at, row.achieved_count) == (True, day(3), 2)
    assert (row.combination, row.threshold) == ("ANY", Decimal(5000))


def test_a_group_can_be_un_achieved() -> None:
    row = row_of(MILESTONE_GROUPS, on(1, achieved()), on(3, un_achieved()))

    assert (row.achieved, row.achieved_at, row.unachieved_at, row.contested) == (False, day(1), day(3), False)


def test_opposite_words_of_one_instant_are_contested_and_un_achieved_wins() -> None:
    row = row_of(MILESTONE_GROUPS, on(1, un_achieved()), on(1, achieved()))

    assert (row.achieved, row.contested) == (False, True)


def test_the_same_word_twice_of_one_instant_is_not_contested() -> None:
    assert row_of(MILESTONE_GROUPS, on(1, achieved()), on(1, achieved(), position=2)).contested is False


def test_a_later_event_settles_a_contested_state() -> None:
    row = row_of(MILESTONE_GROUPS, on(1, un_achieved()), on(1, achieved()), on(2, achieved()))

    assert (row.achieved, row.contested) == (True, False)


def test_each_target_of_the_group_shows_how_it_stood_last() -> None:
    first = (TargetStanding("1", "Spend", Decimal(3), Decimal(9)), TargetStanding("2"))
    then = (TargetStanding("1", "Spend", Decimal(8), Decimal(9)),)

    targets = rows_of(MILESTONE_GROUPS, on(1, un_achieved(standings=first)), on(2, achieved(standings=then)))

    assert [(row.target, row.value) for row in targets["milestone_group_targets"]] == [("1", Decimal(8)), ("2", None)]
