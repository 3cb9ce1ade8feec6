"""Tiers: a customer's tier in each programme, its end, and all earlier tiers.

1. Intervals follow the order of occurrence. A renewal extends the current interval.
2. If the vendor's previous tier is not ours, an event is missing (`gap`).
3. If the vendor names the new tier as the previous one, the event contradicts itself (`contradiction`, trap 38).
4. Neither stops the change. The vendor's latest event about a tier counts.
"""

from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from ledger.facts import Occurrence
from ledger.facts.merges import TierAfterMerge, TierMergedAway, TierUnmerged
from ledger.facts.tier_memberships import TierJoined, TierLeft
from ledger.facts.tiers import (
    MembershipFact,
    TierChanged,
    TierClaimed,
    TierDowngraded,
    TierFact,
    TierRenewed,
    TierUpgraded,
)
from projections.definition import Projection, Rows, State, Table

ONE_DAY = timedelta(days=1)


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
    last_position: int = 0


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


class TierRow(NamedTuple):
    customer: str | None
    programme: str | None
    tier: str | None  # number or id; None if in no tier, or if only a claim was recorded
    tier_name: str | None
    since: datetime | None
    until: date | None
    until_unreadable: bool
    reason: str | None  # as in TierStay; left if the customer is in no tier now
    previous: str | None
    renewals: int
    renewed_at: datetime | None
    gap: bool  # in any interval
    contradiction: bool  # in any interval
    claimed_tier: str | None
    claim_differs: bool
    downgrade_on: date | None
    merged_into: str | None  # the survivor of the merge that ended the membership
    announced_at: datetime | None  # start of the announced tier
    announced_tier: str | None
    announced_tier_name: str | None
    announced_until: date | None
    last_position: int


class TierStayRow(NamedTuple):
    ordinal: int
    tier: str
    tier_name: str | None
    since: datetime | None
    left_at: datetime | None
    until: date | None
    until_unreadable: bool
    reason: str
    note: str | None
    previous: str | None
    renewals: int
    renewed_at: datetime | None
    gap: bool
    contradiction: bool
    ended_by_merge: bool
    last_position: int


TIERS_TABLE = Table(
    name="tiers",
    create="""
        CREATE TABLE tiers (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            customer text COLLATE "C", programme text COLLATE "C",
            tier text, tier_name text, since timestamptz, until date, until_unreadable boolean NOT NULL,
            reason text, previous text, renewals int NOT NULL, renewed_at timestamptz,
            gap boolean NOT NULL, contradiction boolean NOT NULL,
            claimed_tier text, claim_differs boolean NOT NULL, downgrade_on date,
            merged_into text COLLATE "C", announced_at timestamptz, announced_tier text, announced_tier_name text,
            announced_until date, last_position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE tiers ADD PRIMARY KEY (ledger_id, subject)",
        "CREATE INDEX tiers_customer ON tiers (ledger_id, customer)",
        "CREATE INDEX tiers_differ ON tiers (ledger_id, subject) WHERE claim_differs",
    ),
    columns=TierRow._fields,
    key=(),
)

TIER_HISTORY_TABLE = Table(
    name="tier_history",
    create="""
        CREATE TABLE tier_history (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL, ordinal int NOT NULL,
            tier text NOT NULL, tier_name text, since timestamptz, left_at timestamptz,
            until date, until_unreadable boolean NOT NULL, reason text NOT NULL, note text, previous text,
            renewals int NOT NULL, renewed_at timestamptz,
            gap boolean NOT NULL, contradiction boolean NOT NULL, ended_by_merge boolean NOT NULL,
            last_position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE tier_history ADD PRIMARY KEY (ledger_id, subject, ordinal)",
        "CREATE INDEX tier_history_flagged ON tier_history (ledger_id, subject, ordinal) "
        "WHERE gap OR contradiction OR until_unreadable",
    ),
    columns=TierStayRow._fields,
    key=("ordinal",),
)


def upgrade(membership: Membership, fact: TierUpgraded, occurrence: Occurrence) -> None:
    """The customer entered a higher tier."""
    _enter_tier(membership, fact, occurrence, "upgraded")


def downgrade(membership: Membership, fact: TierDowngraded, occurrence: Occurrence) -> None:
    """The customer fell to a lower tier."""
    _enter_tier(membership, fact, occurrence, "downgraded")


def join(membership: Membership, fact: TierJoined, occurrence: Occurrence) -> None:
    """The customer, in no tier before, entered this tier."""
    _enter_tier(membership, fact, occurrence, "joined")


def leave(membership: Membership, fact: TierLeft, occurrence: Occurrence) -> None:
    """The customer left the tier. If another tier was entered meanwhile, that entry has already ended the stay.

    If no stay in the tier is known, one of unknown beginning is added.
    """
    _update_fields(membership, fact, occurrence)
    if _record_announced(membership, fact, tier=None):
        return
    interval = _current_stay(membership)
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
    interval = _current_stay(membership)
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
    interval = _current_stay(membership)
    if interval is None or interval.tier != fact.tier:
        merged = TierStay(fact.tier, "merged", fact.tier_name, since=occurrence.occurred_at)
        _begin_stay(membership, merged, occurrence)
        membership.claim = None


def merge_away(membership: Membership, fact: TierMergedAway, occurrence: Occurrence) -> None:
    """The stay ends, because the customer was merged into another customer with a tier of their own."""
    _update_fields(membership, fact, occurrence)
    membership.merged_into, membership.claim = fact.survivor, None
    interval = _current_stay(membership)
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
    membership.claim = TierClaim(fact.tier, fact.downgrade_on, _claim_differs(_current_stay(membership), fact))


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
    left = _current_stay(membership)
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
    """Return True if the vendor dates the change in the future. It is recorded and changes nothing before."""
    if fact.dated is None:
        return False
    if membership.announced is None or fact.dated < membership.announced.at:
        until = getattr(fact, "until", None)
        membership.announced = AnnouncedTier(fact.dated, tier, fact.tier_name if tier is not None else None, until)
    return True


def _begin_stay(membership: Membership, interval: TierStay, occurrence: Occurrence) -> TierStay:
    """Begin a stay, and end the one before."""
    left = _current_stay(membership)
    if left is not None:
        _end_stay(left, occurrence)
    interval.last_position = occurrence.position
    membership.intervals.append(interval)
    return interval


def _end_stay(interval: TierStay, occurrence: Occurrence) -> None:
    interval.left_at = occurrence.occurred_at
    interval.last_position = max(interval.last_position, occurrence.position)


def _current_stay(membership: Membership) -> TierStay | None:
    """Return the current stay, None if the customer is in no tier."""
    last = membership.intervals[-1] if membership.intervals else None
    return last if last is not None and last.left_at is None else None


def _update_fields(membership: Membership, fact: MembershipFact, occurrence: Occurrence) -> None:
    membership.customer = fact.customer
    membership.programme = fact.programme
    membership.last_position = max(membership.last_position, occurrence.position)


def tier_rows(_subject: str, membership: Membership) -> Rows:
    claim, announced = membership.claim, membership.announced
    if not membership.intervals and claim is None and announced is None:  # only a merge was recorded
        return {"tiers": [], "tier_history": []}
    row = TierRow(
        customer=membership.customer,
        programme=membership.programme,
        **_current_columns(membership),
        gap=any(stay.gap for stay in membership.intervals),
        contradiction=any(stay.contradiction for stay in membership.intervals),
        claimed_tier=claim.tier if claim else None,
        claim_differs=claim.differs if claim else False,
        downgrade_on=claim.downgrade_on if claim else None,
        merged_into=membership.merged_into,
        announced_at=announced.at if announced else None,
        announced_tier=announced.tier if announced else None,
        announced_tier_name=announced.tier_name if announced else None,
        announced_until=announced.until if announced else None,
        last_position=membership.last_position,
    )
    return {"tiers": [row], "tier_history": [_stay_row(n, stay) for n, stay in enumerate(membership.intervals, 1)]}


def _current_columns(membership: Membership) -> dict[str, Any]:
    """Return the columns of the current stay. For a customer without one: since when, and the last tier."""
    now = _current_stay(membership)
    last = membership.intervals[-1] if membership.intervals else None
    return {
        "tier": now.tier if now else None,
        "tier_name": now.tier_name if now else None,
        "since": now.since if now else last.left_at if last else None,
        "until": now.until if now else None,
        "until_unreadable": now.until_unreadable if now else False,
        "reason": now.reason if now else _reason_left(last),
        "previous": now.previous if now else last.tier if last else None,
        "renewals": now.renewals if now else 0,
        "renewed_at": now.renewed_at if now else None,
    }


def _reason_left(last: TierStay | None) -> str | None:
    if last is None:
        return None
    return "merged_away" if last.ended_by_merge else "left"


def _stay_row(ordinal: int, interval: TierStay) -> TierStayRow:
    return TierStayRow(ordinal=ordinal, **msgspec.structs.asdict(interval))


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
    path="tiers",
)
