"""Milestones: progress of each customer towards each target, and whether the target was reached.

1. Values are absolute. The last one counts.
2. A reached target stays reached, unless a return lowers the value below the target. No event reports that.
3. Each fact keeps the target it was reported with. The row shows the last one.
4. Different values of one instant make the state *contested*, until a later value. The lowering fact wins by rank.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from ledger.facts import Occurrence
from ledger.facts.milestones import (
    MilestoneAchieved,
    MilestoneCompleted,
    MilestoneEnrolled,
    MilestoneFact,
    MilestoneLowered,
    MilestoneRaised,
    MilestoneRedefined,
    MilestoneStarted,
)
from projections.definition import Projection, Rows, State
from projections.field_updates import update_stated
from projections.tables import Identifier, Position, Table, row_from


class Milestone(State):
    customer: Identifier | None = None
    target: str | None = None
    target_name: str | None = None
    period: str | None = None
    period_name: str | None = None
    target_group: str | None = None
    target_group_name: str | None = None
    achieved: bool = False
    value: Decimal | None = None
    target_value: Decimal | None = None
    last_delta: Decimal | None = None
    last_activity: str | None = None
    valued_at: datetime | None = None
    enrolled_at: datetime | None = None
    period_starts_on: date | None = None
    started_at: datetime | None = None
    achieved_at: datetime | None = None
    unachieved_at: datetime | None = None
    completed_at: datetime | None = None
    contested: bool = False
    last_position: Position = 0


class MilestoneRow(Milestone, kw_only=True):
    """Progress of customers towards targets in a period."""

    status: Annotated[str, "enrolled, running, achieved, completed; `achieved` shows the result of a completed one"]


MILESTONES_TABLE = Table(
    "milestones",
    MilestoneRow,
    {
        "target": "(ledger_id, target, subject)",
        "status": "(ledger_id, status, subject)",
        "flagged": "(ledger_id, subject) WHERE contested",
    },
)


def enrol(milestone: Milestone, fact: MilestoneEnrolled, occurrence: Occurrence) -> None:
    """The customer was enrolled on the target."""
    _update_fields(milestone, fact, occurrence)
    milestone.enrolled_at = occurrence.occurred_at
    milestone.period_starts_on = fact.period_starts_on or milestone.period_starts_on


def start(milestone: Milestone, fact: MilestoneStarted, occurrence: Occurrence) -> None:
    """The period of the target started."""
    _update_fields(milestone, fact, occurrence)
    milestone.started_at = occurrence.occurred_at


def redefine(milestone: Milestone, fact: MilestoneRedefined, occurrence: Occurrence) -> None:
    """The target changed. A reached target stays reached, and a value in the same event counts."""
    _update_fields(milestone, fact, occurrence)
    _mark_achieved(milestone, occurrence)


def raise_value(milestone: Milestone, fact: MilestoneRaised, occurrence: Occurrence) -> None:
    """The customer's value rose. The target is reached if the value is at or above it."""
    _update_fields(milestone, fact, occurrence)
    _update_delta(milestone, fact)
    _mark_achieved(milestone, occurrence)


def achieve(milestone: Milestone, fact: MilestoneAchieved, occurrence: Occurrence) -> None:
    """The vendor reports that the target was reached, whatever the figures are."""
    _update_fields(milestone, fact, occurrence)
    _update_delta(milestone, fact)
    if not milestone.achieved:
        milestone.achieved, milestone.achieved_at = True, occurrence.occurred_at


def lower_value(milestone: Milestone, fact: MilestoneLowered, occurrence: Occurrence) -> None:
    """The value fell after a return. The target is no longer reached if the value is below it (docs/domain.md, trap
    27).
    """
    _update_fields(milestone, fact, occurrence)
    _update_delta(milestone, fact)
    value, target = milestone.value, milestone.target_value
    if milestone.achieved and value is not None and target is not None and value < target:
        milestone.achieved, milestone.unachieved_at = False, occurrence.occurred_at


def complete(milestone: Milestone, fact: MilestoneCompleted, occurrence: Occurrence) -> None:
    """The period of the target ended."""
    _update_fields(milestone, fact, occurrence)
    milestone.completed_at = occurrence.occurred_at
    _mark_achieved(milestone, occurrence)


def _update_delta(milestone: Milestone, fact: MilestoneRaised | MilestoneAchieved | MilestoneLowered) -> None:
    milestone.last_delta = milestone.last_delta if fact.delta is None else fact.delta
    milestone.last_activity = fact.activity or milestone.last_activity


def _mark_achieved(milestone: Milestone, occurrence: Occurrence) -> None:
    """Mark the target as reached if the value is at or above it. The value may exceed it (docs/domain.md, trap 29)."""
    value, target = milestone.value, milestone.target_value
    if not milestone.achieved and value is not None and target is not None and value >= target:
        milestone.achieved, milestone.achieved_at = True, occurrence.occurred_at


def _update_fields(milestone: Milestone, fact: MilestoneFact, occurrence: Occurrence) -> None:
    """Update the fields that the fact names. Other fields keep their values."""
    milestone.customer, milestone.target, milestone.period = fact.customer, fact.target, fact.period
    update_stated(milestone, fact, "target_name", "period_name", "target_group", "target_group_name")
    if fact.target_value is not None:
        milestone.target_value = fact.target_value
    if fact.value is not None:
        same_time = milestone.valued_at == occurrence.occurred_at
        milestone.contested = same_time and (milestone.contested or milestone.value != fact.value)
        milestone.value, milestone.valued_at = fact.value, occurrence.occurred_at
    milestone.last_position = max(milestone.last_position, occurrence.position)


def milestone_rows(_subject: str, milestone: Milestone) -> Rows:
    return {"milestones": [row_from(milestone, MilestoneRow, status=_status(milestone))]}


def _status(milestone: Milestone) -> str:
    if milestone.completed_at is not None:
        return "completed"
    if milestone.achieved:
        return "achieved"
    return "enrolled" if milestone.started_at is None and milestone.value is None else "running"


MILESTONES = Projection(
    name="milestones",
    version=4,
    subject="milestone",
    start=Milestone,
    on={
        MilestoneEnrolled: enrol,
        MilestoneStarted: start,
        MilestoneRedefined: redefine,
        MilestoneRaised: raise_value,
        MilestoneAchieved: achieve,
        MilestoneLowered: lower_value,
        MilestoneCompleted: complete,
    },
    rows=milestone_rows,
    tables=(MILESTONES_TABLE,),
)
