"""Tiers: a customer's tier in each programme, its end, and all earlier tiers.

1. Intervals follow the order of occurrence. A renewal extends the current interval.
2. If the vendor's previous tier is not ours, an event is missing (`gap`).
3. If the vendor names the new tier as the previous one, the event contradicts itself (`contradiction`, trap 38).
4. Neither stops the change. The vendor's latest event about a tier counts.
"""

from datetime import timedelta

from ledger.facts import Occurrence
from ledger.facts.merges import TierAfterMerge, TierMergedAway, TierUnmerged
from ledger.facts.tiers import (
    MembershipFact,
    TierChanged,
    TierClaimed,
    TierDowngraded,
    TierFact,
    TierJoined,
    TierLeft,
    TierRenewed,
    TierUpgraded,
)
from projections.definition import Projection
from projections.tiers.state import AnnouncedTier, Membership, TierClaim, TierStay, current_stay
from projections.tiers.tables import TIER_HISTORY_TABLE, TIERS_TABLE, tier_rows

ONE_DAY = timedelta(days=1)


def upgrade(membership: Membership, fact: TierUpgraded, occurrence: Occurrence) -> None:
    """The customer entered a higher tier."""
    _enter_tier(membership, fact, occurrence, "upgraded")


def downgrade(membership: Membership, fact: TierDowngraded, occurrence: Occurrence) -> None:
    """The customer fell to a lower tier."""
    _enter_tier(membership, fact, occurrence, "downgraded")


def join(membership: Membership, fact: TierJoined, occurrence: Occurrence) -> None:
    """The customer was in no tier, and entered this one."""
    _enter_tier(membership, fact, occurrence, "joined")


def leave(membership: Membership, fact: TierLeft, occurrence: Occurrence) -> None:
    """The customer left the tier. If another tier was entered meanwhile, that entry has already ended the stay.

    If no stay in the tier is known, one of unknown beginning is added.
    """
    _update_fields(membership, fact, occurrence)
    if _record_announced(membership, fact, tier=None):
        return
    interval = current_stay(membership)
    if interval is not None and interval.tier == fact.tier:
        _end_stay(interval, occurrence)
    elif not any(stay.tier == fact.tier for stay in membership.intervals):
        unseen = TierStay(fact.tier, "left", fact.tier_name, gap=True)
        _end_stay(unseen, occurrence)
        place = len(membership.intervals) if interval is None else -1
        membership.intervals.insert(place, unseen)
    membership.claim = None


def renew(membership: Membership, fact: TierRenewed, occurrence: Occurrence) -> None:
    """The customer stays in the tier, until a new day.

    If the customer was in no tier or in another one, an entry of unknown time is added. If no new end is stated, the
    old end stays unless it is over.
    """
    _update_fields(membership, fact, occurrence)
    if _record_announced(membership, fact, fact.tier):
        return
    interval = current_stay(membership)
    if interval is None or interval.tier != fact.tier:
        interval = _begin_stay(membership, TierStay(fact.tier, "renewed", gap=interval is not None), occurrence)
    interval.tier_name = fact.tier_name or interval.tier_name
    old_until = (
        interval.until if interval.until is not None and interval.until > occurrence.occurred_at.date() else None
    )
    interval.until = fact.until if fact.until is not None or fact.until_unreadable else old_until
    interval.until_unreadable = fact.until_unreadable
    interval.note = fact.note or interval.note
    interval.renewals += 1
    interval.renewed_at = occurrence.occurred_at
    interval.last_position = max(interval.last_position, occurrence.position)
    membership.claim = None


def merge(membership: Membership, fact: TierAfterMerge, occurrence: Occurrence) -> None:
    """After a merge the survivor is in this tier. If it is the same tier as before, nothing changes."""
    _update_fields(membership, fact, occurrence)
    if _record_announced(membership, fact, fact.tier):
        return
    interval = current_stay(membership)
    if interval is None or interval.tier != fact.tier:
        merged = TierStay(fact.tier, "merged", fact.tier_name, since=occurrence.occurred_at)
        _begin_stay(membership, merged, occurrence)
        membership.claim = None


def merge_away(membership: Membership, fact: TierMergedAway, occurrence: Occurrence) -> None:
    """The stay ends, because the customer was merged into another customer with a tier of their own."""
    _update_fields(membership, fact, occurrence)
    membership.merged_into, membership.claim = fact.survivor, None
    interval = current_stay(membership)
    if interval is not None:
        _end_stay(interval, occurrence)
        interval.ended_by_merge = True


def unmerge(membership: Membership, fact: TierUnmerged, occurrence: Occurrence) -> None:
    """The merge was undone. The stay that it ended continues, unless another tier was entered since."""
    _update_fields(membership, fact, occurrence)
    membership.merged_into = None
    last = membership.intervals[-1] if membership.intervals else None
    if last is not None and last.ended_by_merge:
        last.ended_by_merge, last.left_at = False, None
        last.last_position = max(last.last_position, occurrence.position)


def compare_claim(membership: Membership, fact: TierClaimed, occurrence: Occurrence) -> None:
    """The vendor stated the tier without changing it. It is compared with ours; nothing changes."""
    _update_fields(membership, fact, occurrence)
    membership.claim = TierClaim(fact.tier, fact.downgrade_on, _claim_differs(current_stay(membership), fact))


def _claim_differs(current: TierStay | None, fact: TierClaimed) -> bool:
    """Return True if a reminder names another tier than the current one, or another end.

    A tier that ends with a day may fall on that day or on the next.
    """
    if current is None or current.tier != fact.tier:
        return True
    if current.until is None or fact.downgrade_on is None:
        return False
    return not current.until <= fact.downgrade_on <= current.until + ONE_DAY


def _enter_tier(membership: Membership, fact: TierChanged, occurrence: Occurrence, reason: str) -> None:
    """Begin a stay, unless the change is dated in the future or reported before."""
    _update_fields(membership, fact, occurrence)
    if _record_announced(membership, fact, fact.tier):
        return
    left = current_stay(membership)
    if left is not None and (left.tier, left.since, left.reason) == (fact.tier, occurrence.occurred_at, reason):
        left.until = left.until or fact.until  # a repeated report of the same change
        left.last_position = max(left.last_position, occurrence.position)
        return
    interval = TierStay(
        tier=fact.tier,
        reason=reason,
        tier_name=fact.tier_name,
        since=occurrence.occurred_at,
        until=fact.until,
        until_unreadable=fact.until_unreadable,
        note=fact.note,
        previous=fact.previous or (left.tier if left else None),
        gap=left is not None and fact.previous is not None and left.tier != fact.previous,
        contradiction=fact.previous == fact.tier,
    )
    _begin_stay(membership, interval, occurrence)
    membership.claim = None


def _record_announced(membership: Membership, fact: TierFact, tier: str | None) -> bool:
    """Return True if the vendor dates the change in the future. It is recorded, and changes nothing until that time."""
    if fact.dated is None:
        return False
    if membership.announced is None or fact.dated < membership.announced.at:
        until = getattr(fact, "until", None)
        membership.announced = AnnouncedTier(fact.dated, tier, fact.tier_name if tier is not None else None, until)
    return True


def _begin_stay(membership: Membership, interval: TierStay, occurrence: Occurrence) -> TierStay:
    """Begin a stay, and end the one before."""
    left = current_stay(membership)
    if left is not None:
        _end_stay(left, occurrence)
    interval.last_position = occurrence.position
    membership.intervals.append(interval)
    return interval


def _end_stay(interval: TierStay, occurrence: Occurrence) -> None:
    interval.left_at = occurrence.occurred_at
    interval.last_position = max(interval.last_position, occurrence.position)


def _update_fields(membership: Membership, fact: MembershipFact, occurrence: Occurrence) -> None:
    membership.customer = fact.customer
    membership.programme = fact.programme
    membership.last_position = max(membership.last_position, occurrence.position)


TIERS = Projection(
    name="tiers",
    version=6,
    subject="membership",
    start=Membership,
    on={
        TierJoined: join,
        TierRenewed: renew,
        TierUpgraded: upgrade,
        TierDowngraded: downgrade,
        TierLeft: leave,
        TierAfterMerge: merge,
        TierMergedAway: merge_away,
        TierUnmerged: unmerge,
        TierClaimed: compare_claim,
    },
    rows=tier_rows,
    tables=(TIERS_TABLE, TIER_HISTORY_TABLE),
)
