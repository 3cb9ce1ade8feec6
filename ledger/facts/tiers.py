"""Facts about tiers: which tier a customer is in, and until when."""

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
    dated: datetime | None = None  # by the vendor, after we recorded it: until then the change is only announced


class TierChanged(TierFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer entered a tier; `previous` is the vendor's word, `until` the last day, None when it names none."""

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
    """The vendor says which tier the customer is in now and when it will fall. Changes nothing."""

    rank = 90
    downgrade_on: date | None = None


FACTS: tuple[type[Fact], ...] = (
    TierRenewed,
    TierUpgraded,
    TierDowngraded,
    TierClaimed,
)
