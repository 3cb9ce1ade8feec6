from decimal import Decimal
from typing import Any

from ledger.facts.milestones import (
    MilestoneAchieved,
    MilestoneGroupAchieved,
    MilestoneGroupUnAchieved,
    MilestoneLowered,
    MilestoneRaised,
)
from tests.support.capillary_customer_events import fact_of, facts_of, refusal_of


def target_data(
    activity: str = "TransactionAdd", achieved: str = "3000.000", step: str = "400", **more: Any
) -> dict[str, Any]:
    return {
        "targetDetails": {"id": 5, "targetPeriodId": 61},
        "currentEventTargetValue": step,
        "achievedTargetValue": achieved,
        "definedTargetValue": "10000.000",
        "triggeringActivity": {"name": activity},
        **more,
    }


def unified(*periods: int) -> dict[str, Any]:
    targets = [
        {"targetId": target, "targetPeriodId": period, "achievedTargetValue": "1.000"}
        for target, period in enumerate(periods, 1)
    ]
    return {
        "unifiedTargetGroupDetails": {"targetGroupId": 9, "unifiedTargetsAchievementCondition": None},
        "targetData": targets,
        "triggeringActivity": {"name": "TransactionAdd"},
    }


def test_a_purchase_raises_the_value() -> None:
    fact = fact_of("targetAchievedValueUpdated", target_data())

    assert type(fact) is MilestoneRaised
    assert (fact.value, fact.delta, fact.target_value) == (Decimal(3000), Decimal(400), Decimal(10000))


def test_a_return_lowers_the_value_although_the_vendor_writes_a_positive_figure() -> None:
    fact = fact_of("targetAchievedValueUpdated", target_data("ReturnBill", achieved="2600.000"))

    assert type(fact) is MilestoneLowered
    assert (fact.value, fact.delta) == (Decimal(2600), Decimal(-400))


def test_a_return_of_a_group_lowers_the_value_too() -> None:
    assert type(fact_of("targetAchievedValueUpdated", target_data("GroupReturnBill"))) is MilestoneLowered


def test_the_name_and_id_in_the_data_are_not_the_events() -> None:
    fact = fact_of("targetValueAchieved", target_data(eventName="TransactionAdd", eventId=15))

    assert type(fact) is MilestoneAchieved
    assert fact.subject == "capillary:1:7:5:61"


def test_a_target_without_a_period_is_a_milestone_of_its_own() -> None:
    assert fact_of("targetPeriodStarted", target_data(targetDetails={"id": 5})).subject == "capillary:1:7:5:-"


def test_a_group_reports_its_targets_as_well() -> None:
    group, *targets = facts_of("unifiedTargetsAchieved", unified(61, 61))

    assert type(group) is MilestoneGroupAchieved
    assert group.subject == "capillary:1:7:9:61"
    assert [(type(fact), fact.subject) for fact in targets] == [
        (MilestoneRaised, "capillary:1:7:1:61"),
        (MilestoneRaised, "capillary:1:7:2:61"),
    ]


def test_an_un_achieved_group_lowers_its_targets_although_it_names_a_purchase() -> None:
    group, target = facts_of("unifiedTargetsUnAchieved", unified(61))

    assert (type(group), type(target)) == (MilestoneGroupUnAchieved, MilestoneLowered)


def test_a_group_whose_targets_disagree_on_the_period_has_none() -> None:
    assert facts_of("unifiedTargetsAchieved", unified(61, 62))[0].subject == "capillary:1:7:9:-"


def test_a_target_without_an_id_is_not_recognised() -> None:
    assert "targetDetails.id" in refusal_of("targetValueAchieved", target_data(targetDetails={"name": "Spend"}))


def test_an_event_without_a_customer_is_not_recognised() -> None:
    assert "no customer" in refusal_of("targetValueAchieved", target_data(customerIdentifiers={}))
