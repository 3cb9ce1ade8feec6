"""Tiers: which tier a customer is in within a programme, until when, and every tier before.

Intervals follow the order of occurrence. A renewal prolongs the interval it meets. The tier that the vendor says came
before is not always the one we had: then something was missed (`gap`), or the vendor names the new tier itself
(`contradiction`, trap 38). Neither stops the change, for the vendor's newest word about a tier is what holds.
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


class Interval(msgspec.Struct):
    """One stay in one tier. `since` is None where the entry was not told; `left_at` where the stay goes on."""

    tier: str
    reason: str  # joined, upgraded, downgraded, merged; renewed or left where only that was told
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
    """What the vendor said of the tier without changing it; a change of tier puts an end to it."""

    tier: str
    downgrade_on: date | None
    differs: bool


class Announced(msgspec.Struct):
    """A tier that the vendor dates in the future; None where the customer leaves. It is entered then, by arithmetic."""

    at: datetime
    tier: str | None
    tier_name: str | None = None
    until: date | None = None


class Membership(State):
    customer: str | None = None
    programme: str | None = None
    intervals: list[Interval] = msgspec.field(default_factory=list)
    claim: TierClaim | None = None
    merged_into: str | None = None
    announced: Announced | None = None  # the first of them
    last_position: int = 0


class TierRow(NamedTuple):
    customer: str | None
    programme: str | None
    tier: str | None  # its number or id; None in no tier, or where only a claim was told
    tier_name: str | None
    since: datetime | None
    until: date | None
    until_unreadable: bool
    reason: str | None  # as of the interval; left where the customer is in no tier now
    previous: str | None
    renewals: int
    renewed_at: datetime | None
    gap: bool  # somewhere in the history
    contradiction: bool  # somewhere in the history
    claimed_tier: str | None
    claim_differs: bool
    downgrade_on: date | None
    merged_into: str | None  # the customer with whose merge the membership ended
    announced_at: datetime | None  # from when the customer is in another tier
    announced_tier: str | None
    announced_tier_name: str | None
    announced_until: date | None
    last_position: int


class IntervalRow(NamedTuple):
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
    columns=IntervalRow._fields,
    key=("ordinal",),
)


def upgrade(membership: Membership, fact: TierUpgraded, occurrence: Occurrence) -> None:
    _enter(membership, fact, occurrence, "upgraded")


def downgrade(membership: Membership, fact: TierDowngraded, occurrence: Occurrence) -> None:
    _enter(membership, fact, occurrence, "downgraded")


def join(membership: Membership, fact: TierJoined, occurrence: Occurrence) -> None:
    _enter(membership, fact, occurrence, "joined")


def leave(membership: Membership, fact: TierLeft, occurrence: Occurrence) -> None:
    """End the stay. Where another tier was entered meanwhile, that entry has ended it already; where no stay in the
    tier was told, there was one that we have not seen."""
    _know(membership, fact, occurrence)
    if _announces(membership, fact, tier=None):
        return
    interval = _current(membership)
    if interval is not None and interval.tier == fact.tier:
        _close(interval, occurrence)
    elif not any(stay.tier == fact.tier for stay in membership.intervals):
        unseen = Interval(fact.tier, "left", fact.tier_name, gap=True)
        _close(unseen, occurrence)
        place = len(membership.intervals) if interval is None else -1
        membership.intervals.insert(place, unseen)
    membership.claim = None


def renew(membership: Membership, fact: TierRenewed, occurrence: Occurrence) -> None:
    """Prolong the stay. Where we knew of none, or of another tier, the customer must have entered it unseen. Where the
    new end is not told the old one stands, unless it is over by then."""
    _know(membership, fact, occurrence)
    if _announces(membership, fact, fact.tier):
        return
    interval = _current(membership)
    if interval is None or interval.tier != fact.tier:
        interval = _open(membership, Interval(fact.tier, "renewed", gap=interval is not None), occurrence)
    interval.tier_name = fact.tier_name or interval.tier_name
    kept = interval.until if interval.until is not None and interval.until > occurrence.occurred_at.date() else None
    interval.until = fact.until if fact.until is not None or fact.until_unreadable else kept
    interval.until_unreadable = fact.until_unreadable
    interval.note = fact.note or interval.note
    interval.renewals += 1
    interval.renewed_at = occurrence.occurred_at
    interval.last_position = max(interval.last_position, occurrence.position)
    membership.claim = None


def merge(membership: Membership, fact: TierAfterMerge, occurrence: Occurrence) -> None:
    """Enter the tier the merge left the survivor in; staying where one was is no change."""
    _know(membership, fact, occurrence)
    if _announces(membership, fact, fact.tier):
        return
    interval = _current(membership)
    if interval is None or interval.tier != fact.tier:
        merged = Interval(fact.tier, "merged", fact.tier_name, since=occurrence.occurred_at)
        _open(membership, merged, occurrence)
        membership.claim = None


def merge_away(membership: Membership, fact: TierMergedAway, occurrence: Occurrence) -> None:
    """End the stay: the customer is another now, who has a tier of their own."""
    _know(membership, fact, occurrence)
    membership.merged_into, membership.claim = fact.survivor, None
    interval = _current(membership)
    if interval is not None:
        _close(interval, occurrence)
        interval.ended_by_merge = True


def unmerge(membership: Membership, fact: TierUnmerged, occurrence: Occurrence) -> None:
    """Let the stay that ended with the merge go on, unless another was entered since."""
    _know(membership, fact, occurrence)
    membership.merged_into = None
    last = membership.intervals[-1] if membership.intervals else None
    if last is not None and last.ended_by_merge:
        last.ended_by_merge, last.left_at = False, None
        last.last_position = max(last.last_position, occurrence.position)


def claim(membership: Membership, fact: TierClaimed, occurrence: Occurrence) -> None:
    """Compare, and change nothing."""
    _know(membership, fact, occurrence)
    membership.claim = TierClaim(fact.tier, fact.downgrade_on, _differs(_current(membership), fact))


def _differs(held: Interval | None, fact: TierClaimed) -> bool:
    """Return True if a reminder names a tier that is not held, or a day on which the tier held does not end. A tier
    that ends with a day falls on that day or the next."""
    if held is None or held.tier != fact.tier:
        return True
    if held.until is None or fact.downgrade_on is None:
        return False
    return not held.until <= fact.downgrade_on <= held.until + ONE_DAY


def _enter(membership: Membership, fact: TierChanged, occurrence: Occurrence, reason: str) -> None:
    _know(membership, fact, occurrence)
    if _announces(membership, fact, fact.tier):
        return
    left = _current(membership)
    if left is not None and (left.tier, left.since, left.reason) == (fact.tier, occurrence.occurred_at, reason):
        left.until = left.until or fact.until  # a second report of the same change
        left.last_position = max(left.last_position, occurrence.position)
        return
    interval = Interval(
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
    _open(membership, interval, occurrence)
    membership.claim = None


def _announces(membership: Membership, fact: TierFact, tier: str | None) -> bool:
    """Return True for a change that the vendor dates in the future: it is noted, and changes nothing before."""
    if fact.dated is None:
        return False
    if membership.announced is None or fact.dated < membership.announced.at:
        until = getattr(fact, "until", None)
        membership.announced = Announced(fact.dated, tier, fact.tier_name if tier is not None else None, until)
    return True


def _open(membership: Membership, interval: Interval, occurrence: Occurrence) -> Interval:
    """Begin a stay, and end the one before."""
    left = _current(membership)
    if left is not None:
        _close(left, occurrence)
    interval.last_position = occurrence.position
    membership.intervals.append(interval)
    return interval


def _close(interval: Interval, occurrence: Occurrence) -> None:
    interval.left_at = occurrence.occurred_at
    interval.last_position = max(interval.last_position, occurrence.position)


def _current(membership: Membership) -> Interval | None:
    """Give the stay that goes on, None where the customer is in no tier."""
    last = membership.intervals[-1] if membership.intervals else None
    return last if last is not None and last.left_at is None else None


def _know(membership: Membership, fact: MembershipFact, occurrence: Occurrence) -> None:
    membership.customer = fact.customer
    membership.programme = fact.programme
    membership.last_position = max(membership.last_position, occurrence.position)


def tier_rows(_subject: str, membership: Membership) -> Rows:
    claimed, ahead = membership.claim, membership.announced
    if not membership.intervals and claimed is None and ahead is None:  # a merge ended a membership that was never told
        return {"tiers": [], "tier_history": []}
    row = TierRow(
        customer=membership.customer,
        programme=membership.programme,
        **_standing(membership),
        gap=any(stay.gap for stay in membership.intervals),
        contradiction=any(stay.contradiction for stay in membership.intervals),
        claimed_tier=claimed.tier if claimed else None,
        claim_differs=claimed.differs if claimed else False,
        downgrade_on=claimed.downgrade_on if claimed else None,
        merged_into=membership.merged_into,
        announced_at=ahead.at if ahead else None,
        announced_tier=ahead.tier if ahead else None,
        announced_tier_name=ahead.tier_name if ahead else None,
        announced_until=ahead.until if ahead else None,
        last_position=membership.last_position,
    )
    return {"tiers": [row], "tier_history": [_interval_row(n, stay) for n, stay in enumerate(membership.intervals, 1)]}


def _standing(membership: Membership) -> dict[str, Any]:
    """Say in which tier the customer is; for one who left, since when in none, and which was the last."""
    now = _current(membership)
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


def _reason_left(last: Interval | None) -> str | None:
    if last is None:
        return None
    return "merged_away" if last.ended_by_merge else "left"


def _interval_row(ordinal: int, interval: Interval) -> IntervalRow:
    return IntervalRow(ordinal=ordinal, **msgspec.structs.asdict(interval))


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
        TierClaimed: claim,
    },
    rows=tier_rows,
    tables=(TIERS_TABLE, TIER_HISTORY_TABLE),
    path="tiers",
)
