"""Facts about entering and leaving the tiers of a programme. Moves between tiers are in tiers.py."""

from ledger.facts.fact import Fact
from ledger.facts.tiers import TierChanged, TierFact


class TierJoined(TierChanged, frozen=True, kw_only=True, omit_defaults=True):
    """The customer had no tier and entered this tier."""

    rank = 9


class TierLeft(TierFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer left this tier and has no tier now."""

    rank = 40


FACTS: tuple[type[Fact], ...] = (
    TierJoined,
    TierLeft,
)
