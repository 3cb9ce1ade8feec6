"""Reward redemptions: a customer requested a reward, and its result.

1. A status never goes back. A late "pending" does not undo a "completed".
2. Completed and failed contradict each other. The first one stays, and the redemption is contested: a person should
   look.
3. No points move here. `refund_expected`: a debit is known for a reward that was not given, so a reversal should follow
   (docs/domain.md, trap 34).
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from msgspec import field

from ledger.facts import Occurrence
from ledger.facts.rewards import (
    RewardRedemptionCompleted,
    RewardRedemptionCreated,
    RewardRedemptionFact,
    RewardRedemptionFailed,
    RewardRedemptionPending,
    RewardRedemptionRolledBack,
)
from projections.definition import Projection, Rows, State
from projections.field_updates import update_customer, update_stated
from projections.tables import Identifier, Position, PreviousOwners, StateOnly, Table, row_from

STAGES = {"created": 1, "pending": 2, "completed": 3, "failed": 3, "rolled_back": 4}


class RewardRedemption(State):
    customer: Identifier | None = None
    reward: Identifier | None = None
    reward_name: str | None = None
    status: Annotated[str | None, "created, pending, completed, failed, rolled_back"] = None
    points: Annotated[Decimal | None, "cost of the reward for its whole quantity"] = None
    quantity: int | None = None
    reward_type: str | None = None
    redemption_type: str | None = None
    tier: Annotated[str | None, "the tier that the reward requires"] = None
    starts_at: Annotated[datetime | None, "of the reward in the catalogue"] = None
    ends_at: datetime | None = None
    issued: Annotated[str | None, "the thing that was issued: coupon, vendor_voucher, product"] = None
    issued_until: Annotated[datetime | None, "the end of the validity of the issued thing"] = None
    issued_through: Annotated[date | None, "last day of its validity, if no time was stated"] = None
    coupon: Identifier | None = None
    coupon_code: str | None = None
    points_redemption: Annotated[Identifier | None, "the redemption of points that paid for the reward"] = None
    request: str | None = None
    errors: list[str] = []
    told_at: StateOnly[dict[str, datetime]] = field(default_factory=dict)  # status -> first time
    previous_owners: PreviousOwners = None
    last_position: Position = 0


class RewardRedemptionRow(RewardRedemption, kw_only=True):
    """Rewards that customers requested: dates, tier, quantity, and what was issued: coupon, voucher or product."""

    refund_expected: Annotated[bool, "a redemption that paid for it is named; see /v1/reconciliation/rewards"]
    created_at: datetime | None
    completed_at: datetime | None
    failed_at: datetime | None
    rolled_back_at: datetime | None
    contested: bool


REWARD_REDEMPTIONS_TABLE = Table(
    "reward_redemptions",
    RewardRedemptionRow,
    {
        "not_given": "(ledger_id, subject) WHERE status IN ('failed', 'rolled_back')",
        "reward": "(ledger_id, reward, subject)",
        "status": "(ledger_id, status, subject)",
        "contested": "(ledger_id, subject) WHERE contested",
    },
)


def create(redemption: RewardRedemption, fact: RewardRedemptionCreated, occurrence: Occurrence) -> None:
    """The customer requested the reward."""
    _advance("created", redemption, fact, occurrence)


def wait(redemption: RewardRedemption, fact: RewardRedemptionPending, occurrence: Occurrence) -> None:
    """The reward is pending."""
    _advance("pending", redemption, fact, occurrence)


def complete(redemption: RewardRedemption, fact: RewardRedemptionCompleted, occurrence: Occurrence) -> None:
    """The customer received the reward."""
    _advance("completed", redemption, fact, occurrence)


def fail(redemption: RewardRedemption, fact: RewardRedemptionFailed, occurrence: Occurrence) -> None:
    """The reward was not given."""
    _advance("failed", redemption, fact, occurrence)


def roll_back(redemption: RewardRedemption, fact: RewardRedemptionRolledBack, occurrence: Occurrence) -> None:
    """The reward was withdrawn after it was given."""
    _advance("rolled_back", redemption, fact, occurrence)


def _advance(status: str, redemption: RewardRedemption, fact: RewardRedemptionFact, occurrence: Occurrence) -> None:
    """Update the fields that the fact names. Update the status if it is later than the present one."""
    update_customer(redemption, fact)
    update_stated(redemption, fact, "reward", "reward_name", "points", "quantity")
    update_stated(redemption, fact, "coupon", "coupon_code", "points_redemption", "request")
    update_stated(redemption, fact, "issued", "issued_until", "issued_through")
    update_stated(redemption, fact, "reward_type", "redemption_type", "tier", "starts_at", "ends_at")
    redemption.errors = list(fact.errors) or redemption.errors
    redemption.told_at.setdefault(status, occurrence.occurred_at)
    redemption.last_position = max(redemption.last_position, occurrence.position)
    if redemption.status is None or STAGES[status] > STAGES[redemption.status]:
        redemption.status = status


def reward_redemption_rows(_subject: str, redemption: RewardRedemption) -> Rows:
    told_at = redemption.told_at
    row = row_from(
        redemption,
        RewardRedemptionRow,
        refund_expected=redemption.status in ("failed", "rolled_back") and redemption.points_redemption is not None,
        created_at=told_at.get("created"),
        completed_at=told_at.get("completed"),
        failed_at=told_at.get("failed"),
        rolled_back_at=told_at.get("rolled_back"),
        contested="completed" in told_at and "failed" in told_at,
    )
    return {"reward_redemptions": [row]}


REWARD_REDEMPTIONS = Projection(
    name="reward_redemptions",
    version=6,
    subject="reward_redemption",
    start=RewardRedemption,
    on={
        RewardRedemptionCreated: create,
        RewardRedemptionPending: wait,
        RewardRedemptionCompleted: complete,
        RewardRedemptionFailed: fail,
        RewardRedemptionRolledBack: roll_back,
    },
    rows=reward_redemption_rows,
    tables=(REWARD_REDEMPTIONS_TABLE,),
)
