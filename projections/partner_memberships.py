"""Partner memberships: the partner programmes of each customer, with all earlier memberships.

1. A link opens an interval, a delink closes it, and the next link opens another.
2. A delink or update without a link is kept, with an unknown beginning.
"""

from datetime import date, datetime
from typing import Annotated

import msgspec

from ledger.facts import Occurrence
from ledger.facts.partner_memberships import (
    PartnerDelinked,
    PartnerExpiryClaimed,
    PartnerLinked,
    PartnerMembershipDetailed,
    PartnerMembershipFact,
    PartnerUpdated,
)
from projections.definition import Projection, Rows, State
from projections.field_updates import update_stated
from projections.tables import Identifier, Position, StateOnly, Table, row_from


class MembershipInterval(msgspec.Struct):
    """One membership. `linked_at` is None if no link was recorded; `delinked_at` is None while it continues."""

    linked_at: datetime | None = None
    delinked_at: datetime | None = None
    until: date | None = None
    tier: str | None = None
    tier_until: date | None = None
    update_type: str | None = None
    last_position: Position = 0


class PartnerIntervalRow(MembershipInterval, kw_only=True):
    """Intervals of memberships in partners' programmes."""

    ordinal: int


class PartnerMembership(State):
    customer: Identifier | None = None
    programme: Identifier | None = None
    partner_programme: Identifier | None = None
    partner_name: str | None = None
    partner_type: str | None = None
    has_number: bool = False
    intervals: StateOnly[list[MembershipInterval]] = msgspec.field(default_factory=list)
    gap: Annotated[bool, "a link or an end was not recorded"] = False
    claimed_expires_on: date | None = None
    updated_at: datetime | None = None
    last_position: Position = 0


class PartnerMembershipRow(PartnerMembership, kw_only=True):
    """Memberships in programmes of partners: links, tiers, ends."""

    status: Annotated[str, "linked, delinked; unknown if only a reminder was recorded"]
    linked_at: datetime | None
    delinked_at: datetime | None
    until: date | None
    tier: str | None
    tier_until: date | None
    links: Annotated[int, "number of memberships, this one included"]
    claim_differs: bool


PARTNER_MEMBERSHIPS_TABLE = Table(
    "partner_memberships",
    PartnerMembershipRow,
    {
        "programme": "(ledger_id, programme, subject)",
        "partner": "(ledger_id, partner_programme, subject)",
        "status": "(ledger_id, status, subject)",
        "flagged": "(ledger_id, subject) WHERE gap",
        "differ": "(ledger_id, subject) WHERE claim_differs",
    },
)
PARTNER_HISTORY_TABLE = Table("partner_membership_history", PartnerIntervalRow, key=("ordinal",))


def link(membership: PartnerMembership, fact: PartnerLinked, occurrence: Occurrence) -> None:
    """The customer became a member. If the membership is open already, an end or a report is missing. The membership
    continues with the new details.
    """
    _update_fields(membership, fact, occurrence)
    interval = _open_interval(membership)
    if interval is None:
        interval = MembershipInterval(linked_at=occurrence.occurred_at)
        membership.intervals.append(interval)
    elif interval.linked_at != occurrence.occurred_at:  # otherwise a repeated report of the same link
        membership.gap = True
    _update_details(membership, interval, fact, occurrence)


def update(membership: PartnerMembership, fact: PartnerUpdated, occurrence: Occurrence) -> None:
    """The membership changed. If no link was recorded, a membership of unknown beginning is added."""
    _update_fields(membership, fact, occurrence)
    interval = _open_interval(membership) or _add_unknown_interval(membership)
    _update_details(membership, interval, fact, occurrence)
    interval.update_type = fact.update_type or interval.update_type


def delink(membership: PartnerMembership, fact: PartnerDelinked, occurrence: Occurrence) -> None:
    """The membership ended. If no link was recorded, a membership of unknown beginning is added."""
    _update_fields(membership, fact, occurrence)
    interval = _open_interval(membership) or _add_unknown_interval(membership)
    interval.delinked_at = occurrence.occurred_at
    interval.last_position = max(interval.last_position, occurrence.position)


def compare_claim(membership: PartnerMembership, fact: PartnerExpiryClaimed, occurrence: Occurrence) -> None:
    """The vendor announced the end of the membership. It is compared with ours; nothing changes."""
    _update_fields(membership, fact, occurrence)
    membership.claimed_expires_on = fact.expires_on or membership.claimed_expires_on


def _open_interval(membership: PartnerMembership) -> MembershipInterval | None:
    """Return the open membership, None if there is none."""
    if membership.intervals and membership.intervals[-1].delinked_at is None:
        return membership.intervals[-1]
    return None


def _add_unknown_interval(membership: PartnerMembership) -> MembershipInterval:
    membership.gap = True
    membership.intervals.append(MembershipInterval())
    return membership.intervals[-1]


def _update_fields(membership: PartnerMembership, fact: PartnerMembershipFact, occurrence: Occurrence) -> None:
    membership.customer = fact.customer
    membership.programme = fact.programme
    membership.partner_programme = fact.partner_programme
    update_stated(membership, fact, "partner_name", "partner_type")
    membership.updated_at = occurrence.occurred_at
    membership.last_position = max(membership.last_position, occurrence.position)


def _update_details(
    membership: PartnerMembership, interval: MembershipInterval, fact: PartnerMembershipDetailed, occurrence: Occurrence
) -> None:
    membership.has_number = membership.has_number or fact.has_number
    update_stated(interval, fact, "until", "tier", "tier_until")
    interval.last_position = max(interval.last_position, occurrence.position)


def partner_membership_rows(_subject: str, membership: PartnerMembership) -> Rows:
    last = membership.intervals[-1] if membership.intervals else MembershipInterval()
    claimed = membership.claimed_expires_on
    row = row_from(
        membership,
        PartnerMembershipRow,
        status=_status(membership),
        linked_at=last.linked_at,
        delinked_at=last.delinked_at,
        until=last.until,
        tier=last.tier,
        tier_until=last.tier_until,
        links=len(membership.intervals),
        claim_differs=claimed is not None and (not membership.intervals or last.until not in (None, claimed)),
    )
    history = [
        row_from(interval, PartnerIntervalRow, ordinal=ordinal)
        for ordinal, interval in enumerate(membership.intervals, 1)
    ]
    return {"partner_memberships": [row], "partner_membership_history": history}


def _status(membership: PartnerMembership) -> str:
    if not membership.intervals:
        return "unknown"
    return "linked" if _open_interval(membership) else "delinked"


PARTNER_MEMBERSHIPS = Projection(
    name="partner_memberships",
    version=5,
    subject="partner_membership",
    start=PartnerMembership,
    on={PartnerLinked: link, PartnerUpdated: update, PartnerDelinked: delink, PartnerExpiryClaimed: compare_claim},
    rows=partner_membership_rows,
    tables=(PARTNER_MEMBERSHIPS_TABLE, PARTNER_HISTORY_TABLE),
)
