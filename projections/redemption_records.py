"""Redemption records: a coupon or a promotion was applied to an order. The source reports few details.

1. The source creates, updates and deletes a record.
2. A deleted record is read as an undone redemption (`undone`). This is inferred; the source does not state it.
3. A late update does not restore a deleted record.
"""

from datetime import datetime
from typing import Annotated

from ledger.facts import Occurrence
from ledger.facts.redemption_records import (
    RedemptionRecordCreated,
    RedemptionRecordDeleted,
    RedemptionRecordFact,
    RedemptionRecordUpdated,
)
from projections.definition import Projection, Rows, State
from projections.tables import Identifier, Position, StateOnly, Table, row_from


class RedemptionRecord(State):
    record_type: Annotated[str | None, "the type of the thing that was redeemed: coupon, promotion"] = None
    vendor_status: str | None = None
    created_at: StateOnly[datetime | None] = None
    updated_at: StateOnly[datetime | None] = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    deleted_at: datetime | None = None
    last_position: Position = 0


class RedemptionRecordRow(RedemptionRecord, kw_only=True):
    """Records of Fabric about redeemed coupons and promotions, by its own id of the record."""

    record: Annotated[Identifier, "the vendor's id; a coupon and a promotion may share it"]
    status: Annotated[str, "created, updated, deleted"]
    undone: Annotated[bool, "the record was deleted, which is read as an undone redemption"]
    incomplete: Annotated[bool, "no creation was recorded"]


REDEMPTION_RECORDS_TABLE = Table(
    "redemption_records",
    RedemptionRecordRow,
    {
        "record": "(ledger_id, record, subject)",
        "status": "(ledger_id, status, subject)",
        "record_type": "(ledger_id, record_type, subject)",
        "flagged": "(ledger_id, subject) WHERE incomplete OR undone",
    },
)


def create(record: RedemptionRecord, fact: RedemptionRecordCreated, occurrence: Occurrence) -> None:
    """A record was created: a coupon or promotion was applied to an order."""
    _update_fields(record, fact, occurrence)
    record.created_at = record.created_at or occurrence.occurred_at


def update(record: RedemptionRecord, fact: RedemptionRecordUpdated, occurrence: Occurrence) -> None:
    """The record changed."""
    _update_fields(record, fact, occurrence)
    record.updated_at = occurrence.occurred_at


def delete(record: RedemptionRecord, fact: RedemptionRecordDeleted, occurrence: Occurrence) -> None:
    """The record was deleted. This is read as an undone redemption."""
    _update_fields(record, fact, occurrence)
    record.deleted_at = record.deleted_at or occurrence.occurred_at


def _update_fields(record: RedemptionRecord, fact: RedemptionRecordFact, occurrence: Occurrence) -> None:
    record.record_type = fact.record_type
    record.vendor_status = fact.status or record.vendor_status
    record.first_seen_at = record.first_seen_at or occurrence.occurred_at
    record.last_seen_at = occurrence.occurred_at
    record.last_position = max(record.last_position, occurrence.position)


def redemption_record_rows(subject: str, record: RedemptionRecord) -> Rows:
    row = row_from(
        record,
        RedemptionRecordRow,
        record=subject.rpartition("~")[2],
        status=_status(record),
        undone=record.deleted_at is not None,
        incomplete=record.created_at is None,
    )
    return {"redemption_records": [row]}


def _status(record: RedemptionRecord) -> str:
    if record.deleted_at is not None:
        return "deleted"
    return "created" if record.updated_at is None else "updated"


REDEMPTION_RECORDS = Projection(
    name="redemption_records",
    version=4,
    subject="redemption_record",
    start=RedemptionRecord,
    on={
        RedemptionRecordCreated: create,
        RedemptionRecordUpdated: update,
        RedemptionRecordDeleted: delete,
    },
    rows=redemption_record_rows,
    tables=(REDEMPTION_RECORDS_TABLE,),
    customers=(),
)
