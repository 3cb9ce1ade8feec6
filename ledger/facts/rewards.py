"""Facts about rewards: the catalogue of what a programme offers for points, as it was published over time."""

from datetime import datetime
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class RewardText(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a reward is called in one language."""

    language: str | None = None
    name: str | None = None
    description: str | None = None


class RewardFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """How a reward stands in the catalogue; None where the vendor says nothing. There is no customer in it."""

    subject_kind = "reward"

    reward: str
    programme: str | None = None
    reward_type: str | None = None
    redemption_type: str | None = None
    enabled: bool | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    cost: Decimal | None = None  # in points
    series: str | None = None  # of the coupons that the reward gives
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
    """The reward came into the catalogue."""

    rank = 10


class RewardUpdated(RewardFact, frozen=True, kw_only=True, omit_defaults=True):
    """The reward was published anew, perhaps before we were told of its creation."""

    rank = 20


class RewardClaimed(RewardFact, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor says how the reward stands and when it will end. Changes nothing; compared with the catalogue."""

    rank = 90


FACTS: tuple[type[Fact], ...] = (
    RewardCreated,
    RewardUpdated,
    RewardClaimed,
)
