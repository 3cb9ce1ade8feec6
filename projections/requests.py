"""Requests: one person asks, another decides.

1. A decision stays, even if a later event reports the request as open. Statuses have ranks.
2. If two decisions differ, the later one counts and the request is contested.
3. A request never moves points. `reference` and `transaction_number` help to find the event that did (docs/domain.md,
   traps 25 and 26).
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from ledger.facts import Occurrence
from ledger.facts.requests import (
    RequestApproved,
    RequestFact,
    RequestFailed,
    RequestMoved,
    RequestOpened,
    RequestRejected,
)
from projections.definition import Projection, State, state_as_row
from projections.field_updates import update_customer, update_stated
from projections.tables import Identifier, Position, PreviousOwners, Table

# Our status for each fact. Decisions outrank "pending" and "other" at any time.
STATUSES: dict[type[RequestFact], str] = {
    RequestOpened: "pending",
    RequestMoved: "other",
    RequestApproved: "approved",
    RequestRejected: "rejected",
    RequestFailed: "failed",
}
DECISIONS = frozenset({"approved", "rejected", "failed"})


class Request(State):
    """Requests that one person makes and another decides: reason, time of the requested redemption."""

    customer: Identifier | None = None
    customer_ids: Annotated[list[str], "as the source writes them; not linked to customers"] = []
    request_type: str | None = None
    base_type: str | None = None
    status: Annotated[str | None, "pending, approved, rejected, failed; other: see vendor_status"] = None
    vendor_status: str | None = None
    opened_at: Annotated[datetime | None, "null if only the decision was recorded"] = None
    decided_at: datetime | None = None
    updated_at: datetime | None = None
    contested: Annotated[bool, "recorded decisions differ"] = False
    maker: str | None = None
    checker: str | None = None
    programme: str | None = None
    points: Decimal | None = None
    badge: str | None = None
    requested_status: str | None = None
    reference: Identifier | None = None
    transaction_number: Identifier | None = None
    redeemed_local: Annotated[
        str | None, "time of the requested redemption, without a zone, as the source writes it"
    ] = None
    reason_position: Annotated[
        Position | None,
        "the position of the last event with a reason, a comment or a note; /v1/ledger/events/{position} holds it",
    ] = None
    previous_owners: PreviousOwners = None
    last_position: Position = 0


REQUESTS_TABLE = Table(
    "requests",
    Request,
    {
        "status_updated": "(ledger_id, status, updated_at)",
        "status": "(ledger_id, status, subject)",
        "request_type": "(ledger_id, request_type, subject)",
        "approved": "(ledger_id, subject) WHERE status = 'approved'",
        "flagged": "(ledger_id, subject) WHERE contested",
    },
)


def change_status(request: Request, fact: RequestFact, occurrence: Occurrence) -> None:
    """The request changed. Its status changes too, unless it was decided before and this is no decision."""
    status = STATUSES[type(fact)]
    _update_fields(request, fact, occurrence)
    request.updated_at = occurrence.occurred_at
    if status == "pending":
        request.opened_at = request.opened_at or occurrence.occurred_at
    if status in DECISIONS:
        request.contested = request.contested or (request.status in DECISIONS and request.status != status)
        if request.status != status:
            request.decided_at = occurrence.occurred_at
    elif request.status in DECISIONS:
        return
    request.status = status
    request.vendor_status = fact.vendor_status or request.vendor_status


def _update_fields(request: Request, fact: RequestFact, occurrence: Occurrence) -> None:
    update_customer(request, fact)
    request.customer_ids = list(fact.customer_ids) or request.customer_ids
    update_stated(request, fact, "request_type", "base_type", "maker", "checker", "reference", "transaction_number")
    update_stated(request, fact, "programme", "points", "badge", "requested_status", "redeemed_local")
    if fact.has_reason:
        request.reason_position = occurrence.position
    request.last_position = max(request.last_position, occurrence.position)


REQUESTS = Projection(
    name="requests",
    version=8,
    subject="request",
    start=Request,
    on=dict.fromkeys(STATUSES, change_status),
    rows=state_as_row(REQUESTS_TABLE),
    tables=(REQUESTS_TABLE,),
)
