"""Facts about milestones: targets that a customer works towards within a period, alone or as a group of targets."""

from datetime import date
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class MilestoneFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one customer's way to one target in one period.

    `value` is absolute: what the customer has achieved by then. `defined` is the target as it was defined then, since
    definitions change over time. None where the vendor says nothing.
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
    defined: Decimal | None = None

    @property
    def subject(self) -> str:
        return f"{self.customer}:{self.target}:{self.period or '-'}"


class MilestoneEnrolled(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer was enrolled on the target."""

    rank = 5
    period_starts_on: date | None = None


class MilestoneStarted(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The period opened."""

    rank = 10


class MilestoneRedefined(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The target was set anew for the customer."""

    rank = 15


class MilestoneRaised(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer came nearer; `delta` is by how much, never negative."""

    rank = 20
    delta: Decimal | None = None
    activity: str | None = None
    transaction: str | None = None


class MilestoneAchieved(MilestoneRaised, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor says that the target is reached."""

    rank = 30


class MilestoneLowered(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer fell back, by a return; `delta` is by how much, never positive."""

    rank = 40
    delta: Decimal | None = None
    activity: str | None = None
    transaction: str | None = None


class MilestoneCompleted(MilestoneFact, frozen=True, kw_only=True, omit_defaults=True):
    """The period closed; the value is final, returns apart."""

    rank = 90


class TargetStanding(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one target of a group stood."""

    target: str
    name: str | None = None
    value: Decimal | None = None
    defined: Decimal | None = None


class MilestoneGroupFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one customer and a group of targets that count together. `combination` (any, all) and `threshold`
    are the vendor's condition, `standings` the targets that it was judged by."""

    subject_kind = "milestone_group"

    customer: str
    target_group: str
    period: str | None = None
    name: str | None = None
    period_name: str | None = None
    combination: str | None = None
    aggregation: str | None = None
    threshold: Decimal | None = None
    standings: tuple[TargetStanding, ...] = ()
    activity: str | None = None
    transaction: str | None = None

    @property
    def subject(self) -> str:
        return f"{self.customer}:{self.target_group}:{self.period or '-'}"


class MilestoneGroupAchieved(MilestoneGroupFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer met the group's condition."""

    rank = 20


class MilestoneGroupUnAchieved(MilestoneGroupFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer no longer meets the group's condition."""

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
