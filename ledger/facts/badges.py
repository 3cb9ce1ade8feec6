"""Facts about badges that customers earn."""

from datetime import datetime
from decimal import Decimal

import msgspec

from ledger.facts.fact import Fact


class EarnLimit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A limit on how often a badge can be earned, with the vendor's count so far.

    `level` names the owner of the count: the badge's over all customers, or the customer's. The time window is
    `roll_value` times `roll_type` (days, weeks, months).
    """

    level: str | None = None
    limit_type: str | None = None
    roll_type: str | None = None
    roll_value: Decimal | None = None
    limit: Decimal | None = None
    count: Decimal | None = None


class BadgeEarned(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A customer earned a badge once; `earn` identifies this occasion. The subject is the customer's badge, so our
    count can be compared with the vendor's.
    """

    subject_kind = "badge"
    rank = 10

    customer: str
    badge: str
    earn: str
    earned_at: datetime | None = None
    activity: str | None = None
    limits: tuple[EarnLimit, ...] = ()

    @property
    def subject(self) -> str:
        return f"{self.customer}:{self.badge}"


FACTS: tuple[type[Fact], ...] = (BadgeEarned,)
