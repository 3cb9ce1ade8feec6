"""Capillary's targets, also called milestones: values, achievements, periods, and groups of targets.

- The achieved value is absolute and decides. An event's difference is never negative, even for a return, "since it can
  lead to integration issues". So the triggering activity gives the sign (trap 27).
- `data.eventName` and `data.eventId` name that activity, not the event (trap 28).
- Document 003 only names four of the kinds. Their fields come from similar kinds and from Capillary's later event
  schema.
"""

from typing import Annotated, Any

from ledger.facts import Fact
from ledger.facts.milestones import (
    MilestoneAchieved,
    MilestoneCompleted,
    MilestoneEnrolled,
    MilestoneGroupAchieved,
    MilestoneGroupUnAchieved,
    MilestoneLowered,
    MilestoneRaised,
    MilestoneRedefined,
    MilestoneStarted,
    TargetStanding,
)
from ledger.vendors.capillary.enums import EmptyIfNull
from ledger.vendors.capillary.people import CustomerEvent
from ledger.vendors.fields import Day, Figure, Id, List, OptionalId, Text, VendorModel
from ledger.vendors.vendor import EventContext, EventType


class TargetDetails(VendorModel):
    id: Id
    name: Text = None
    target_group_id: OptionalId = None
    target_group_name: Text = None
    target_period_id: OptionalId = None
    target_period_name: Text = None


class TargetEvent(CustomerEvent):
    """The fields of all events about one target. Each event has some of them."""

    target_details: TargetDetails
    achieved_target_value: Figure = None
    defined_target_value: Figure = None
    current_event_target_value: Figure = None
    transaction_id: OptionalId = None

    @property
    def is_return(self) -> bool:
        return "return" in (self.triggering_activity.name or "").lower()

    def fact_fields(self, context: EventContext) -> dict[str, Any]:
        """Return the fields of every fact about a milestone."""
        details = self.target_details
        return {
            "customer": self.customer(context),
            "target": details.id,
            "period": details.target_period_id,
            "target_name": details.name,
            "period_name": details.target_period_name,
            "target_group": details.target_group_id,
            "target_group_name": details.target_group_name,
            "value": self.achieved_target_value,
            "target_value": self.defined_target_value,
        }

    def movement_fields(self, context: EventContext) -> dict[str, Any]:
        """Return the fields of a fact that changes the value. The activity gives the sign (trap 27)."""
        size = self.current_event_target_value
        delta = None if size is None else -abs(size) if self.is_return else abs(size)
        return {
            **self.fact_fields(context),
            "delta": delta,
            "activity": self.triggering_activity.name,
            "transaction": self.transaction_id,
        }


def target_achieved_value_updated(event: TargetEvent, context: EventContext) -> list[Fact]:
    fields = event.movement_fields(context)
    return [MilestoneLowered(**fields) if event.is_return else MilestoneRaised(**fields)]


def target_value_achieved(event: TargetEvent, context: EventContext) -> list[Fact]:
    """The achieved value may exceed the defined value (trap 29)."""
    return [MilestoneAchieved(**event.movement_fields(context))]


def target_value_updated(event: TargetEvent, context: EventContext) -> list[Fact]:
    """The customer's target value was changed. Earlier facts keep the earlier value (trap 29)."""
    return [MilestoneRedefined(**event.fact_fields(context))]


def target_period_started(event: TargetEvent, context: EventContext) -> list[Fact]:
    return [MilestoneStarted(**event.fact_fields(context))]


def target_period_completed(event: TargetEvent, context: EventContext) -> list[Fact]:
    return [MilestoneCompleted(**event.fact_fields(context))]


class TargetCustomerEnrolment(CustomerEvent):
    """The only event whose target details are beside the customer, not in their own structure."""

    target_id: Id
    target_name: Text = None
    target_group_id: OptionalId = None
    target_group_name: Text = None
    target_period_id: OptionalId = None
    target_period_name: Text = None
    target_period_start_date: Day = None
    default_target_value: Figure = None


def target_customer_enrolment(event: TargetCustomerEnrolment, context: EventContext) -> list[Fact]:
    return [
        MilestoneEnrolled(
            customer=event.customer(context),
            target=event.target_id,
            period=event.target_period_id,
            target_name=event.target_name,
            period_name=event.target_period_name,
            target_group=event.target_group_id,
            target_group_name=event.target_group_name,
            target_value=event.default_target_value,
            period_starts_on=event.target_period_start_date,
        )
    ]


class UnifiedTarget(VendorModel):
    target_id: Id
    target_name: Text = None
    target_period_id: OptionalId = None
    target_period_name: Text = None
    achieved_target_value: Figure = None
    defined_target_value: Figure = None


class Condition(VendorModel):
    combination_type: Text = None
    aggregation: Text = None
    rule_expression: Text = None
    threshold_value: Figure = None


class UnifiedGroup(VendorModel):
    target_group_id: Id
    target_group_name: Text = None
    unified_targets_achievement_condition: Annotated[Condition, EmptyIfNull] = Condition()


class UnifiedTargets(CustomerEvent):
    unified_target_group_details: UnifiedGroup
    target_data: Annotated[tuple[UnifiedTarget, ...], List] = ()
    transaction_id: OptionalId = None

    def group_fields(self, context: EventContext) -> dict[str, Any]:
        """Return the fields of a fact about the group. It has a period if all its targets have the same."""
        group = self.unified_target_group_details
        condition = group.unified_targets_achievement_condition
        periods = {(target.target_period_id, target.target_period_name) for target in self.target_data}
        period, period_name = periods.pop() if len(periods) == 1 else (None, None)
        return {
            "customer": self.customer(context),
            "target_group": group.target_group_id,
            "period": period,
            "name": group.target_group_name,
            "period_name": period_name,
            "combination": condition.combination_type,
            "aggregation": condition.aggregation,
            "expression": condition.rule_expression,
            "threshold": condition.threshold_value,
            "standings": tuple(
                TargetStanding(
                    target.target_id, target.target_name, target.achieved_target_value, target.defined_target_value
                )
                for target in self.target_data
            ),
            "activity": self.triggering_activity.name,
            "transaction": self.transaction_id,
        }

    def milestone_fields(self, target: UnifiedTarget, context: EventContext) -> dict[str, Any]:
        """Return the fields of a fact about a target of the group. The difference of this event is not reported."""
        group = self.unified_target_group_details
        return {
            "customer": self.customer(context),
            "target": target.target_id,
            "period": target.target_period_id,
            "target_name": target.target_name,
            "period_name": target.target_period_name,
            "target_group": group.target_group_id,
            "target_group_name": group.target_group_name,
            "value": target.achieved_target_value,
            "target_value": target.defined_target_value,
            "activity": self.triggering_activity.name,
            "transaction": self.transaction_id,
        }


def unified_targets_achieved(event: UnifiedTargets, context: EventContext) -> list[Fact]:
    """The group's condition is met. The event also reports the value of each target."""
    raised = [MilestoneRaised(**event.milestone_fields(target, context)) for target in event.target_data]
    return [MilestoneGroupAchieved(**event.group_fields(context)), *raised]


def unified_targets_un_achieved(event: UnifiedTargets, context: EventContext) -> list[Fact]:
    """The group's condition is no longer met, although the event still names TransactionAdd (trap 29)."""
    lowered = [MilestoneLowered(**event.milestone_fields(target, context)) for target in event.target_data]
    return [MilestoneGroupUnAchieved(**event.group_fields(context)), *lowered]


KINDS: dict[str, EventType[Any]] = {
    "targetAchievedValueUpdated": EventType(TargetEvent, target_achieved_value_updated),
    "targetValueAchieved": EventType(TargetEvent, target_value_achieved),
    "targetValueUpdated": EventType(TargetEvent, target_value_updated),
    "targetPeriodStarted": EventType(TargetEvent, target_period_started),
    "targetPeriodCompleted": EventType(TargetEvent, target_period_completed),
    "targetCustomerEnrolment": EventType(TargetCustomerEnrolment, target_customer_enrolment),
    "unifiedTargetsAchieved": EventType(UnifiedTargets, unified_targets_achieved),
    "unifiedTargetsUnAchieved": EventType(UnifiedTargets, unified_targets_un_achieved),
}
