"""State of a tier membership: all stays in tiers, the last claim, and an announced change."""

from datetime import date, datetime

import msgspec

from projections.definition import State
from projections.tables import Position


class TierStay(msgspec.Struct):
    """One stay in one tier. `since` is None if the entry was not recorded; `left_at` is None for the current stay."""

    tier: str
    reason: str  # joined, upgraded, downgraded, merged; renewed or left if only that was recorded
    tier_name: str | None = None
    since: datetime | None = None
    left_at: datetime | None = None
    until: date | None = None
    until_unreadable: bool = False
    note: str | None = None
    previous: str | None = None
    renewals: int = 0
    renewed_at: datetime | None = None
    gap: bool = False
    contradiction: bool = False
    ended_by_merge: bool = False
    last_position: Position = 0


class TierClaim(msgspec.Struct):
    """A tier that the vendor stated without changing it. The next change of tier removes the claim."""

    tier: str
    downgrade_on: date | None
    differs: bool


class AnnouncedTier(msgspec.Struct):
    """A change of tier with a future date. `tier` is None if the customer will leave. Applied when a row is read."""

    at: datetime
    tier: str | None
    tier_name: str | None = None
    until: date | None = None


class Membership(State):
    customer: str | None = None
    programme: str | None = None
    intervals: list[TierStay] = msgspec.field(default_factory=list)
    claim: TierClaim | None = None
    merged_into: str | None = None
    announced: AnnouncedTier | None = None  # the earliest one
    last_position: int = 0


def current_stay(membership: Membership) -> TierStay | None:
    """Return the current stay, None if the customer is in no tier."""
    last = membership.intervals[-1] if membership.intervals else None
    return last if last is not None and last.left_at is None else None
