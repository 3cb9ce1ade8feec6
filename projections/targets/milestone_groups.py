"""Milestone groups: whether a customer meets the condition of several targets together.

1. The vendor's report counts. It is never computed from the targets.
2. If "achieved" and "un-achieved" have one instant, un-achieved comes last by rank. The state is *contested* until a
   later event. The published samples do this, under one event id.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

from msgspec import field

from ledger.facts import Occurrence
from ledger.facts.milestones import (
    MilestoneGroupAchieved,
    MilestoneGroupFact,
    MilestoneGroupUnAchieved,
    TargetStanding,
)
from projections.definition import Projection, Rows, State
from projections.field_updates import update_stated
from projections.tables import Identifier, Position, StateOnly, Table, row_from


class MilestoneGroup(State):
    """Milestone groups: targets with their rule, such as combination, aggregation, threshold, expression."""

    customer: Identifier | None = None
    target_group: str | None = None
    name: str | None = None
    period: str | None = None
    period_name: str | None = None
    achieved: bool = False
    combination: str | None = None
    aggregation: str | None = None
    expression: Annotated[str | None, "the vendor's rule over the ids of the targets"] = None
    threshold: Decimal | None = None
    standings: StateOnly[dict[str, TargetStanding]] = field(default_factory=dict)
    told_at: StateOnly[datetime | None] = None
    achieved_at: datetime | None = None
    unachieved_at: datetime | None = None
    achieved_count: int = 0
    last_activity: str | None = None
    contested: bool = False
    last_position: Position = 0


class MilestoneGroupTargetRow(NamedTuple):
    """Targets of groups of milestones."""

    target: Identifier
    name: str | None
    value: Decimal | None
    target_value: Decimal | None


MILESTONE_GROUPS_TABLE = Table(
    "milestone_groups",
    MilestoneGroup,
    {
        "target_group": "(ledger_id, target_group, subject)",
        "achieved": "(ledger_id, subject) WHERE achieved",
        "flagged": "(ledger_id, subject) WHERE contested",
    },
)
MILESTONE_GROUP_TARGETS_TABLE = Table("milestone_group_targets", MilestoneGroupTargetRow, key=("target",))


def achieve(group: MilestoneGroup, fact: MilestoneGroupAchieved, occurrence: Occurrence) -> None:
    """The customer met the condition of the group."""
    _update_fields(group, fact, occurrence)
    _set_achieved(group, occurrence, achieved=True)
    group.achieved_at = occurrence.occurred_at
    group.achieved_count += 1


def unachieve(group: MilestoneGroup, fact: MilestoneGroupUnAchieved, occurrence: Occurrence) -> None:
    """The customer no longer meets the condition of the group."""
    _update_fields(group, fact, occurrence)
    _set_achieved(group, occurrence, achieved=False)
    group.unachieved_at = occurrence.occurred_at


def _set_achieved(group: MilestoneGroup, occurrence: Occurrence, *, achieved: bool) -> None:
    """Set the state. Opposite facts of one instant make it contested; a later fact clears that."""
    same_time = group.told_at == occurrence.occurred_at
    group.contested = same_time and (group.contested or group.achieved != achieved)
    group.achieved, group.told_at = achieved, occurrence.occurred_at


def _update_fields(group: MilestoneGroup, fact: MilestoneGroupFact, occurrence: Occurrence) -> None:
    """Update the fields that the fact names. Other fields keep their values."""
    group.customer, group.target_group, group.period = fact.customer, fact.target_group, fact.period
    update_stated(group, fact, "name", "period_name", "combination", "aggregation", "expression", "threshold")
    group.last_activity = fact.activity or group.last_activity
    group.standings |= {standing.target: standing for standing in fact.standings}
    group.last_position = max(group.last_position, occurrence.position)


def milestone_group_rows(_subject: str, group: MilestoneGroup) -> Rows:
    targets = [row_from(standing, MilestoneGroupTargetRow) for standing in group.standings.values()]
    return {"milestone_groups": [row_from(group, MilestoneGroup)], "milestone_group_targets": targets}


MILESTONE_GROUPS = Projection(
    name="milestone_groups",
    version=5,
    subject="milestone_group",
    start=MilestoneGroup,
    on={MilestoneGroupAchieved: achieve, MilestoneGroupUnAchieved: unachieve},
    rows=milestone_group_rows,
    tables=(MILESTONE_GROUPS_TABLE, MILESTONE_GROUP_TARGETS_TABLE),
)
