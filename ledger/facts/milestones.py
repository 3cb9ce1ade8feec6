"""Facts about milestones: targets that a customer works towards within a period, alone or as a group of targets."""

from datetime import date
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class MilestoneFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about a customer's progress to one target in one period.

    `value` is the absolute progress after the event. `target_value` is the target at that time, since definitions
    change. A field is None if the vendor does not state it.
    """

    subject_kind = "milestone"

    customer: str
    target: str
    period: str | None = None
    target_name: str | None = None
    period_name: str | None = None
    target_group: str | None = None
    target_group_name: str | None = None
    value: Decimal | None = None
    target_value: Decimal | None = msgspec.field(default=None, name="defined")

    @property
    def subject(self) -> str:
        return f"{self.customer}:{self.target}:{self.period or '-'}"


class MilestoneEnrolled(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer was enrolled on the target."""

    rank = 5
    period_starts_on: date | None = None


class MilestoneStarted(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The period of the target started."""

    rank = 10


class MilestoneRedefined(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The target value of the customer was changed."""

    rank = 15


class MilestoneRaised(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer's progress increased by `delta`, which is never negative."""

    rank = 20
    delta: Decimal | None = None
    activity: str | None = None
    transaction: str | None = None


class MilestoneAchieved(MilestoneRaised, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor reports that the target was reached."""

    rank = 30


class MilestoneLowered(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer's progress decreased because of a return. `delta` is never positive."""

    rank = 40
    delta: Decimal | None = None
    activity: str | None = None
    transaction: str | None = None


class MilestoneCompleted(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The period ended. The value is final, except for later returns."""

    rank = 90


class TargetStanding(msgspec.Struct, frozen=True, omit_defaults=True):
    """The progress to one target of a group."""

    target: str
    name: str | None = None
    value: Decimal | None = None
    target_value: Decimal | None = msgspec.field(default=None, name="defined")


class MilestoneGroupFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one customer and a group of targets that count together.

    `combination` (any, all) and `threshold` are the vendor's condition. `standings` lists the targets that were
    compared with it.
    """

    subject_kind = "milestone_group"

    customer: str
    target_group: str
    period: str | None = None
    name: str | None = None
    period_name: str | None = None
    combination: str | None = None
    aggregation: str | None = None
    expression: str | None = None  # the vendor's rule over the ids of the targets, such as "(49272 | 49273)"
    threshold: Decimal | None = None
    standings: tuple[TargetStanding, ...] = ()
    activity: str | None = None
    transaction: str | None = None

    @property
    def subject(self) -> str:
        return f"{self.customer}:{self.target_group}:{self.period or '-'}"


class MilestoneGroupAchieved(MilestoneGroupFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer met the condition of the group."""

    rank = 20


class MilestoneGroupUnAchieved(MilestoneGroupFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer no longer meets the condition of the group."""

    rank = 30


FACTS: tuple[type[Fact], ...] = (
    MilestoneEnrolled,
    MilestoneStarted,
    MilestoneRedefined,
    MilestoneRaised,
    MilestoneAchieved,
    MilestoneLowered,
    MilestoneCompleted,
    MilestoneGroupAchieved,
    MilestoneGroupUnAchieved,
)
