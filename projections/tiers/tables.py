"""Tables of the tiers projection, and the rows built from a membership."""

from datetime import date, datetime
from typing import Annotated, Any, NamedTuple

from projections.definition import Rows
from projections.tables import Identifier, Position, Table, row_from
from projections.tiers.state import Membership, TierStay, current_stay


class TierRow(NamedTuple):
    """Tier memberships: the present tier, its end, a coming downgrade, an announced upgrade."""

    customer: Identifier | None
    programme: Identifier | None
    tier: Annotated[str | None, "number or id; null if in no tier, or if only a claim was recorded"]
    tier_name: str | None
    since: datetime | None
    until: date | None
    until_unreadable: bool
    reason: Annotated[str | None, "as in TierStay; left if the customer is in no tier now"]
    previous: str | None
    renewals: int
    renewed_at: datetime | None
    gap: Annotated[bool, "an event between two stays in tiers is missing"]
    contradiction: Annotated[bool, "two reports about one stay contradict each other"]
    claimed_tier: str | None
    claim_differs: bool
    downgrade_on: date | None
    merged_into: Annotated[Identifier | None, "the survivor of the merge that ended the membership"]
    announced_at: Annotated[datetime | None, "start of the announced tier"]
    announced_tier: str | None
    announced_tier_name: str | None
    announced_until: date | None
    last_position: Position


class TierStayRow(TierStay, kw_only=True):
    """Intervals in which a membership was in a tier."""

    ordinal: int


CURRENT_COLUMNS = [
    "tier",
    "tier_name",
    "since",
    "until",
    "until_unreadable",
    "reason",
    "previous",
    "renewals",
    "renewed_at",
]

TIERS_TABLE = Table(
    "tiers",
    TierRow,
    {
        "tier": "(ledger_id, tier, subject)",
        "announced": "(ledger_id, announced_tier) WHERE announced_tier IS NOT NULL",
        "programme": "(ledger_id, programme, subject)",
        "until": "(ledger_id, until) WHERE until IS NOT NULL",
        "announced_until": "(ledger_id, announced_until) WHERE announced_until IS NOT NULL",
        "differ": "(ledger_id, subject) WHERE claim_differs",
    },
)


TIER_HISTORY_TABLE = Table(
    "tier_history",
    TierStayRow,
    {"flagged": "(ledger_id, subject, ordinal) WHERE gap OR contradiction OR until_unreadable"},
    key=("ordinal",),
)


def tier_rows(_subject: str, membership: Membership) -> Rows:
    claim, announced = membership.claim, membership.announced
    if not membership.intervals and claim is None and announced is None:  # only a merge was recorded
        return {"tiers": [], "tier_history": []}
    row = row_from(
        membership,
        TierRow,
        **_current_columns(membership),
        gap=any(stay.gap for stay in membership.intervals),
        contradiction=any(stay.contradiction for stay in membership.intervals),
        claimed_tier=claim.tier if claim else None,
        claim_differs=claim.differs if claim else False,
        downgrade_on=claim.downgrade_on if claim else None,
        announced_at=announced.at if announced else None,
        announced_tier=announced.tier if announced else None,
        announced_tier_name=announced.tier_name if announced else None,
        announced_until=announced.until if announced else None,
    )
    stays = [row_from(stay, TierStayRow, ordinal=ordinal) for ordinal, stay in enumerate(membership.intervals, 1)]
    return {"tiers": [row], "tier_history": stays}


def _current_columns(membership: Membership) -> dict[str, Any]:
    """Return the columns of the current stay. For a customer without one: since when, and the last tier."""
    stay = current_stay(membership)
    if stay is not None:
        return {name: getattr(stay, name) for name in CURRENT_COLUMNS}
    last = membership.intervals[-1] if membership.intervals else None
    since, previous = (last.left_at, last.tier) if last else (None, None)
    left = {
        "since": since,
        "previous": previous,
        "reason": _reason_left(last),
        "until_unreadable": False,
        "renewals": 0,
    }
    return dict.fromkeys(CURRENT_COLUMNS) | left


def _reason_left(last: TierStay | None) -> str | None:
    if last is None:
        return None
    return "merged_away" if last.ended_by_merge else "left"
