"""Facts about tiers: the tier of a customer and its last day."""

from datetime import date, datetime

from ledger.facts.fact import Fact


class MembershipFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one customer's membership of one programme."""

    subject_kind = "membership"

    customer: str
    programme: str

    @property
    def subject(self) -> str:
        return f"{self.customer}:{self.programme}"


class TierFact(MembershipFact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about the tier of a membership."""

    tier: str
    tier_name: str | None = None
    dated: datetime | None = None  # the vendor's time, if it is later than our recorded time: an announced change


class TierChanged(TierFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer entered a tier. `previous` is the earlier tier as the vendor states it. `until` is the last day,
    None if not stated.
    """

    previous: str | None = None
    until: date | None = None
    until_unreadable: bool = False
    note: str | None = None


class TierRenewed(TierChanged, frozen=True, kw_only=True, omit_defaults=True):
    """The customer stays in the tier, until a new day."""

    rank = 10


class TierUpgraded(TierChanged, frozen=True, kw_only=True, omit_defaults=True):
    """The customer entered a higher tier."""

    rank = 20


class TierDowngraded(TierChanged, frozen=True, kw_only=True, omit_defaults=True):
    """The customer fell to a lower tier."""

    rank = 30


class TierClaimed(TierFact, frozen=True, kw_only=True, omit_defaults=True):
    """The vendor states the current tier and the day of its downgrade. The fact changes nothing."""

    rank = 90
    downgrade_on: date | None = None


class TierJoined(TierChanged, frozen=True, kw_only=True, omit_defaults=True):
    """The customer had no tier and entered this tier."""

    rank = 9


class TierLeft(TierFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer left this tier and has no tier now."""

    rank = 40


FACTS: tuple[type[Fact], ...] = (
    TierJoined,
    TierLeft,
    TierRenewed,
    TierUpgraded,
    TierDowngraded,
    TierClaimed,
)
