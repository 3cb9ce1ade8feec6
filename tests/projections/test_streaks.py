from decimal import Decimal
from typing import Any

from ledger.facts.streaks import (
    StreakEnded,
    StreakEnrolled,
    StreakLevelAchieved,
    StreakLevelUnAchieved,
    StreakStarted,
    StreakUnEnrolled,
)
from projections.targets.streaks import STREAKS
from tests.support.fold_helpers import day, on, row_of, rows_of

ANN: dict[str, Any] = {"customer": "capillary:1:ann", "target": "5", "period": "Cycle 1"}


def enrolled(**more: Any) -> StreakEnrolled:
    return StreakEnrolled(**ANN, **more)


def started(**more: Any) -> StreakStarted:
    return StreakStarted(**ANN, **more)


def reached(level: str, value: int, **more: Any) -> StreakLevelAchieved:
    return StreakLevelAchieved(**ANN, level=level, value=Decimal(value), **more)


def lost(level: str, value: int) -> StreakLevelUnAchieved:
    return StreakLevelUnAchieved(**ANN, level=level, value=Decimal(value))


def ended(**more: Any) -> StreakEnded:
    return StreakEnded(**ANN, **more)


def un_enrolled(**more: Any) -> StreakUnEnrolled:
    return StreakUnEnrolled(**ANN, **more)


def test_a_streak_runs_from_its_enrolment_over_its_levels_to_its_end() -> None:
    told = [
        on(1, enrolled(starts_local="2024-01-01T01:30:00", ends_local="2024-01-31T01:29:59")),
        on(2, started(levels_count=2, level_values=("3", "5"), value=Decimal(0))),
        on(4, reached("Bronze", 3)),
        on(30, ended(value=Decimal(4), levels_achieved_count=1)),
    ]

    row = row_of(STREAKS, *told)

    assert (row.status, row.value, row.contested, row.incomplete) == ("ended", Decimal(4), False, False)
    assert (row.levels_count, row.level_values, row.levels_achieved_count, row.levels_claimed_count) == (
        2,
        ["3", "5"],
        1,
        1,
    )
    assert (row.enrolled_at, row.started_at, row.ended_at) == (day(1), day(2), day(30))
    assert (row.starts_local, row.ends_local) == ("2024-01-01T01:30:00", "2024-01-31T01:29:59")


def test_each_fact_takes_the_streak_further() -> None:
    assert row_of(STREAKS, on(1, enrolled())).status == "enrolled"
    assert row_of(STREAKS, on(1, enrolled()), on(2, started())).status == "running"
    assert row_of(STREAKS, on(1, enrolled()), on(2, reached("Bronze", 3))).status == "running"


def test_the_end_is_accepted_before_the_start() -> None:
    row = row_of(STREAKS, on(2, ended(value=Decimal(4))), on(3, started(value=Decimal(0))))

    assert (row.status, row.value, row.started_at) == ("ended", Decimal(4), day(3))


def test_a_start_and_an_end_of_one_instant_are_contested_and_the_end_wins() -> None:
    row = row_of(STREAKS, on(1, ended(value=Decimal(0))), on(1, started(value=Decimal(0))))

    assert (row.status, row.contested) == ("ended", True)


def test_a_return_withdraws_a_level_even_after_the_end() -> None:
    told = [on(1, started()), on(2, reached("Bronze", 3)), on(3, ended()), on(4, lost("Bronze", 2))]

    row = row_of(STREAKS, *told)
    (level,) = rows_of(STREAKS, *told)["streak_levels"]

    assert (row.status, row.value, row.levels_achieved_count) == ("ended", Decimal(2), 0)
    assert (level.achieved, level.achieved_at, level.unachieved_at) == (False, day(2), day(4))


def test_a_level_can_be_reached_again() -> None:
    row = row_of(STREAKS, on(1, reached("Bronze", 3)), on(2, lost("Bronze", 2)), on(3, reached("Bronze", 3)))

    assert (row.levels_achieved_count, row.contested) == (1, False)


def test_a_level_reached_and_withdrawn_in_one_instant_is_contested_until_it_is_reported_of_again() -> None:
    told = [on(1, reached("Bronze", 3)), on(1, lost("Bronze", 2))]

    assert (row_of(STREAKS, *told).contested, row_of(STREAKS, *told).levels_achieved_count) == (True, 0)
    assert row_of(STREAKS, *told, on(2, reached("Bronze", 3))).contested is False


def test_a_level_that_only_the_end_tells_of_counts() -> None:
    row = row_of(STREAKS, on(1, started()), on(3, ended(levels_achieved=("Bronze",), levels_achieved_count=1)))

    assert (row.levels_achieved_count, row.levels_claimed_count) == (1, 1)


def test_an_un_enrolment_is_final_for_its_period() -> None:
    told = [on(1, enrolled()), on(2, un_enrolled(value=Decimal(1))), on(3, started()), on(4, reached("Bronze", 3))]

    row = row_of(STREAKS, *told)

    assert (row.status, row.value, row.levels_achieved_count) == ("unenrolled", Decimal(1), 0)
    assert (row.started_at, row.unenrolled_at, row.after_unenrolment_count) == (None, day(2), 2)


def test_what_was_before_the_un_enrolment_counts_even_when_it_is_reported_late() -> None:
    row = row_of(STREAKS, on(5, un_enrolled()), on(1, enrolled(), position=9), on(2, started(), position=10))

    assert (row.status, row.started_at, row.after_unenrolment_count, row.last_position) == ("unenrolled", day(2), 0, 10)


def test_a_level_without_enrolment_or_start_is_a_streak_of_which_something_is_missing() -> None:
    assert row_of(STREAKS, on(1, reached("Bronze", 3))).incomplete is True
