"""Facts about rewards: the catalogue of rewards that a programme offers for points, over time."""

from datetime import datetime
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class RewardText(msgspec.Struct, frozen=True, omit_defaults=True):
    """Name and description of a reward in one language."""

    language: str | None = None
    name: str | None = None
    description: str | None = None


class RewardFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A reward's entry in the catalogue. It concerns no customer. A field is None if the vendor does not state it."""

    subject_kind = "reward"

    reward: str
    programme: str | None = None
    reward_type: str | None = None
    redemption_type: str | None = None
    enabled: bool | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    cost: Decimal | None = None  # in points
    series: str | None = None  # series of the coupons that the reward gives
    priority: str | None = None
    tier: str | None = None
    group: str | None = None
    label: str | None = None
    categories: tuple[str, ...] = ()
    vendor: str | None = None
    texts: tuple[RewardText, ...] = ()

    @property
    def subject(self) -> str:
        return self.reward


class RewardCreated(RewardFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward was added to the catalogue."""

    rank = 10


class RewardUpdated(RewardFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward was published again. The event that created it may not be reported yet."""

    rank = 20


class RewardClaimed(RewardFact, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor states the current entry of the reward and its end. The fact changes nothing; it is compared with the
    catalogue.
    """

    rank = 90


FACTS: tuple[type[Fact], ...] = (
    RewardCreated,
    RewardUpdated,
    RewardClaimed,
)
