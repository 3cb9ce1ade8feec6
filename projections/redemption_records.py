"""Redemption records: a coupon or a promotion was applied to an order. The source reports few details.

1. The source creates, updates and deletes a record.
2. A deleted record is read as an undone redemption (`undone`). This is inferred; the source does not state it.
3. A late update does not restore a deleted record.
"""

from datetime import datetime
from typing import NamedTuple

from ledger.facts import Occurrence
from ledger.facts.redemption_records import (
    RedemptionRecordCreated,
    RedemptionRecordDeleted,
    RedemptionRecordFact,
    RedemptionRecordUpdated,
)
from projections.definition import Projection, Rows, State, Table


class RedemptionRecord(State):
    of: str | None = None
    vendor_status: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None
    position: int = 0


class RedemptionRecordRow(NamedTuple):
    of: str | None  # coupon, promotion
    status: str  # created, updated, deleted
    vendor_status: str | None
    first_seen_at: datetime | None
    last_seen_at: datetime | None
    deleted_at: datetime | None
    undone: bool  # inferred
    incomplete: bool  # no creation was recorded
    last_position: int


REDEMPTION_RECORDS_TABLE = Table(
    name="redemption_records",
    create="""
        CREATE TABLE redemption_records (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            "of" text, status text NOT NULL, vendor_status text,
            first_seen_at timestamptz, last_seen_at timestamptz, deleted_at timestamptz,
            undone boolean NOT NULL, incomplete boolean NOT NULL, last_position bigint NOT NULL)
        """,
    index=(
        "ALTER TABLE redemption_records ADD PRIMARY KEY (ledger_id, subject)",
        "CREATE INDEX redemption_records_flagged ON redemption_records (ledger_id, subject) WHERE incomplete OR undone",
    ),
    columns=RedemptionRecordRow._fields,
    key=(),
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
    record.of = fact.of
    record.vendor_status = fact.status or record.vendor_status
    record.first_seen_at = record.first_seen_at or occurrence.occurred_at
    record.last_seen_at = occurrence.occurred_at
    record.position = max(record.position, occurrence.position)


def redemption_record_rows(_subject: str, record: RedemptionRecord) -> Rows:
    row = RedemptionRecordRow(
        of=record.of,
        status=_status(record),
        vendor_status=record.vendor_status,
        first_seen_at=record.first_seen_at,
        last_seen_at=record.last_seen_at,
        deleted_at=record.deleted_at,
        undone=record.deleted_at is not None,
        incomplete=record.created_at is None,
        last_position=record.position,
    )
    return {"redemption_records": [row]}


def _status(record: RedemptionRecord) -> str:
    if record.deleted_at is not None:
        return "deleted"
    return "created" if record.updated_at is None else "updated"


REDEMPTION_RECORDS = Projection(
    name="redemption_records",
    version=2,
    subject="redemption_record",
    start=RedemptionRecord,
    on={
        RedemptionRecordCreated: create,
        RedemptionRecordUpdated: update,
        RedemptionRecordDeleted: delete,
    },
    rows=redemption_record_rows,
    tables=(REDEMPTION_RECORDS_TABLE,),
    path="redemption-records",
    customers=(),
)
