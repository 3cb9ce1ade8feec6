"""Badges: each time that a customer earned a badge, and a comparison with the vendor's counts.

1. Each earning has an id and counts once, however often it is reported.
2. The vendor states how often the customer earned the badge within several time windows.
3. No window can hold more earnings than exist. If a count is above ours, the difference is the minimum of missing
   earnings.
"""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct, field

from ledger.facts import Occurrence
from ledger.facts.badges import BadgeEarned
from projections.definition import Projection, Rows, State, Table

CUSTOMER_LEVEL = "CUSTOMER"  # the vendor's value for a count of this customer only


class BadgeEarning(Struct):
    earned_at: datetime
    activity: str | None = None
    position: int = 0


class Badge(State):
    customer: str | None = None
    badge: str | None = None
    earnings: dict[str, BadgeEarning] = field(default_factory=dict)
    claimed_count: int | None = None
    missing_count: int = 0
    position: int = 0


class BadgeRow(NamedTuple):
    customer: str | None
    badge: str | None
    earned_count: int
    first_earned_at: datetime | None
    last_earned_at: datetime | None
    claimed_count: int | None  # the largest count in the vendor's last report
    missing_count: int  # earnings that the counts prove and no event reported
    last_position: int


class BadgeEarningRow(NamedTuple):
    earn: str
    earned_at: datetime
    activity: str | None
    position: int


BADGES_TABLE = Table(
    name="badges",
    create="""
        CREATE TABLE badges (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            customer text COLLATE "C", badge text, earned_count int NOT NULL,
            first_earned_at timestamptz, last_earned_at timestamptz, claimed_count int, missing_count int NOT NULL,
            last_position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE badges ADD PRIMARY KEY (ledger_id, subject)",
        "CREATE INDEX badges_customer ON badges (ledger_id, customer)",
        "CREATE INDEX badges_flagged ON badges (ledger_id, subject) WHERE missing_count > 0",
    ),
    columns=BadgeRow._fields,
    key=(),
)

BADGE_EARNINGS_TABLE = Table(
    name="badge_earnings",
    create="""
        CREATE TABLE badge_earnings (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            earn text COLLATE "C" NOT NULL, earned_at timestamptz NOT NULL, activity text, position bigint NOT NULL)
        """,
    index=("ALTER TABLE badge_earnings ADD PRIMARY KEY (ledger_id, subject, earn)",),
    columns=BadgeEarningRow._fields,
    key=("earn",),
)


def earn(badge: Badge, fact: BadgeEarned, occurrence: Occurrence) -> None:
    """The customer earned the badge. A repeated report of one earning counts once."""
    badge.customer, badge.badge = fact.customer, fact.badge
    badge.position = max(badge.position, occurrence.position)
    earned_at = fact.earned_at or occurrence.occurred_at
    earning = badge.earnings.setdefault(fact.earn, BadgeEarning(earned_at, fact.activity, occurrence.position))
    earning.activity = earning.activity or fact.activity
    counts = [limit.count for limit in fact.limits if limit.level == CUSTOMER_LEVEL and limit.count is not None]
    if counts:
        badge.claimed_count = int(max(counts))
        badge.missing_count = int(max(max(counts) - len(badge.earnings), Decimal(0)))


def badge_rows(_subject: str, badge: Badge) -> Rows:
    times = [earning.earned_at for earning in badge.earnings.values()]
    row = BadgeRow(
        customer=badge.customer,
        badge=badge.badge,
        earned_count=len(badge.earnings),
        first_earned_at=min(times, default=None),
        last_earned_at=max(times, default=None),
        claimed_count=badge.claimed_count,
        missing_count=badge.missing_count,
        last_position=badge.position,
    )
    return {
        "badges": [row],
        "badge_earnings": [
            BadgeEarningRow(name, earning.earned_at, earning.activity, earning.position)
            for name, earning in badge.earnings.items()
        ],
    }


BADGES = Projection(
    name="badges",
    version=3,
    subject="badge",
    start=Badge,
    on={BadgeEarned: earn},
    rows=badge_rows,
    tables=(BADGES_TABLE, BADGE_EARNINGS_TABLE),
    path="badges",
)
