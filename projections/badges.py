"""Badges: each time that a customer earned a badge, and a comparison with the vendor's counts.

1. Each earning has an id and counts once, however often it is reported.
2. The vendor states how often the customer earned the badge within several time windows.
3. No window can hold more earnings than exist. If a count is above ours, the difference is the minimum of missing
   earnings.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, NamedTuple

from msgspec import Struct, field

from ledger.facts import Occurrence
from ledger.facts.badges import BadgeEarned, EarnLimit
from projections.definition import Projection, Rows, State
from projections.tables import Identifier, Position, StateOnly, Table, row_from

CUSTOMER_LEVEL = "CUSTOMER"  # the vendor's value for a count of this customer only


class BadgeEarning(Struct):
    earned_at: datetime
    activity: str | None = None
    position: Position = 0


class BadgeEarningRow(BadgeEarning, kw_only=True):
    """Earnings of badges."""

    earn: Identifier


class Badge(State):
    customer: Identifier | None = None
    badge: str | None = None
    earnings: StateOnly[dict[str, BadgeEarning]] = field(default_factory=dict)
    claimed_count: Annotated[int | None, "the largest count in the vendor's last report"] = None
    missing_count: Annotated[int, "earnings that the counts prove and no event reported"] = 0
    limits: StateOnly[list[EarnLimit]] = []  # of the last report
    last_position: Position = 0


class BadgeRow(Badge, kw_only=True):
    """Badges of customers: earnings, counts and limits."""

    earned_count: int
    first_earned_at: datetime | None
    last_earned_at: datetime | None


class BadgeLimitRow(NamedTuple):
    """Limits of badges."""

    ordinal: int
    level: Annotated[str | None, "whose earnings are counted: BADGE for all customers, CUSTOMER for this one"]
    limit_type: str | None
    roll_type: Annotated[str | None, "unit of the time window"]
    roll_value: Annotated[Decimal | None, "length of the time window"]
    maximum: Annotated[Decimal | None, "the most earnings in the window; null: no limit"]
    claimed_count: Annotated[Decimal | None, "the vendor's count in the window, in its last report"]


BADGES_TABLE = Table(
    "badges",
    BadgeRow,
    {"badge": "(ledger_id, badge, subject)", "flagged": "(ledger_id, subject) WHERE missing_count > 0"},
)
BADGE_EARNINGS_TABLE = Table("badge_earnings", BadgeEarningRow, key=("earn",))
BADGE_LIMITS_TABLE = Table("badge_limits", BadgeLimitRow, key=("ordinal",))


def earn(badge: Badge, fact: BadgeEarned, occurrence: Occurrence) -> None:
    """The customer earned the badge. A repeated report of one earning counts once."""
    badge.customer, badge.badge = fact.customer, fact.badge
    badge.last_position = max(badge.last_position, occurrence.position)
    earned_at = fact.earned_at or occurrence.occurred_at
    earning = badge.earnings.setdefault(fact.earn, BadgeEarning(earned_at, fact.activity, occurrence.position))
    earning.activity = earning.activity or fact.activity
    badge.limits = list(fact.limits) or badge.limits
    counts = [limit.count for limit in fact.limits if limit.level == CUSTOMER_LEVEL and limit.count is not None]
    if counts:
        badge.claimed_count = int(max(counts))
        badge.missing_count = int(max(max(counts) - len(badge.earnings), Decimal(0)))


def badge_rows(_subject: str, badge: Badge) -> Rows:
    times = [earning.earned_at for earning in badge.earnings.values()]
    row = row_from(
        badge,
        BadgeRow,
        earned_count=len(badge.earnings),
        first_earned_at=min(times, default=None),
        last_earned_at=max(times, default=None),
    )
    earnings = [row_from(earning, BadgeEarningRow, earn=name) for name, earning in badge.earnings.items()]
    limits = [
        row_from(limit, BadgeLimitRow, ordinal=ordinal, maximum=limit.limit, claimed_count=limit.count)
        for ordinal, limit in enumerate(badge.limits, 1)
    ]
    return {"badges": [row], "badge_earnings": earnings, "badge_limits": limits}


BADGES = Projection(
    name="badges",
    version=4,
    subject="badge",
    start=Badge,
    on={BadgeEarned: earn},
    rows=badge_rows,
    tables=(BADGES_TABLE, BADGE_EARNINGS_TABLE, BADGE_LIMITS_TABLE),
)
