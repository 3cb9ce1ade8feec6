"""Facts about joining and leaving the tiers of a programme as a whole, beside the moves between tiers in tiers.py."""

from ledger.facts.fact import Fact
from ledger.facts.tiers import TierChanged, TierFact


class TierJoined(TierChanged, frozen=True, kw_only=True, omit_defaults=True):
    """The customer, in no tier before, entered this one."""

    rank = 9


class TierLeft(TierFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer left this tier and is in none now."""

    rank = 40


FACTS: tuple[type[Fact], ...] = (
    TierJoined,
    TierLeft,
)
