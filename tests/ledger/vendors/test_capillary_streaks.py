from decimal import Decimal
from typing import Any

import pytest

from tests.support.capillary_customer_events import fact_of, facts_of, refusal_of

TARGET = {"id": 5, "name": "Visit often", "targetPeriodId": 61}


def enrolment(*streaks: dict[str, Any], targets: Any = None) -> dict[str, Any]:
    return {"streakEnrolmentData": list(streaks), "targetData": [TARGET] if targets is None else targets}


def test_a_day_without_a_zone_stays_as_it_is_written() -> None:
    fact = fact_of(
        "streakCustomerEnrolment", enrolment({"startDate": "2024-08-05 01:30:00", "endDate": "2024-08-06 01:29:59"})
    )

    assert (fact.starts_local, fact.ends_local) == ("2024-08-05T01:30:00", "2024-08-06T01:29:59")


def test_a_day_that_cannot_be_read_is_none() -> None:
    assert fact_of("streakCustomerEnrolment", enrolment({"startDate": "soon", "endDate": 5})).starts_local is None


def test_numbers_are_read_whether_they_are_text_or_not() -> None:
    fact = fact_of(
        "streakEnd",
        {
            "targetDetails": TARGET,
            "streakEndData": [
                {
                    "numberOfLevel": "2",
                    "levelValues": ["3", 5],
                    "numberOfLevelsAchievedByTheUser": "1",
                    "levelsAchievedByTheUser": ["Bronze"],
                    "userStreakValueByTheEnd": 3,
                }
            ],
        },
    )

    assert (fact.levels_count, fact.level_values, fact.value) == (2, ("3", "5"), Decimal(3))
    assert (fact.levels_achieved_count, fact.levels_achieved) == (1, ("Bronze",))


def test_levels_may_lack_values() -> None:
    fact = fact_of("streakCustomerEnrolment", enrolment({"numberOfLevel": 1, "levelValues": []}))

    assert (fact.levels_count, fact.level_values) == (1, ())


def test_a_streak_ends_although_its_activity_is_named_a_start() -> None:
    data = {"targetDetails": TARGET, "streakEndData": [{}], "triggeringActivity": {"name": "streakStartEvent"}}

    assert type(fact_of("streakEnd", data)).__name__ == "StreakEnded"


def test_a_single_target_belongs_to_all_streaks() -> None:
    facts = facts_of("streakCustomerEnrolment", enrolment({"streakName": "One"}, {"streakName": "Two"}))

    assert [fact.subject for fact in facts] == ["capillary:1:7:5:61", "capillary:1:7:5:61"]


def test_streaks_and_several_targets_pair_in_order() -> None:
    targets = [TARGET, {"id": 6}]

    facts = facts_of("streakCustomerEnrolment", enrolment({}, {}, targets=targets))

    assert [fact.subject for fact in facts] == ["capillary:1:7:5:61", "capillary:1:7:6:-"]


@pytest.mark.parametrize("targets", [[], [TARGET, {"id": 6}]])
def test_streaks_that_do_not_pair_with_targets_are_not_recognised(targets: list[Any]) -> None:
    assert "do not pair" in refusal_of("streakCustomerEnrolment", enrolment({}, {}, {}, targets=targets))


def test_a_level_without_a_name_goes_by_its_streaks_name() -> None:
    level = {"streakName": "Visit often_2", "userCurrentStreakValue": "4"}

    fact = fact_of("streakLevelAchieved", {"targetData": [TARGET], "streakData": [level]})

    assert (fact.level, fact.value) == ("Visit often_2", Decimal(4))
