"""Tables of the tiers projection, and the rows built from a membership."""

from datetime import date, datetime
from typing import Any, NamedTuple

import msgspec

from projections.definition import Rows, Table
from projections.tiers.state import Membership, TierStay, current_stay


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
    now = current_stay(membership)
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
