from ledger.facts.redemption_records import (
    RedemptionRecordCreated,
    RedemptionRecordDeleted,
    RedemptionRecordFact,
    RedemptionRecordUpdated,
)
from projections.redemption_records import REDEMPTION_RECORDS
from tests.support.fold_helpers import day, on, row_of


def record(told: type[RedemptionRecordFact], status: str | None = None) -> RedemptionRecordFact:
    return told(record="fabric:t:coupon~1", record_type="coupon", status=status)


def test_a_record_is_created() -> None:
    row = row_of(REDEMPTION_RECORDS, on(1, record(RedemptionRecordCreated, "CREATED")))

    assert (row.record_type, row.status, row.vendor_status) == ("coupon", "created", "CREATED")
    assert (row.first_seen_at, row.last_seen_at) == (day(1), day(1))
    assert (row.undone, row.incomplete) == (False, False)


def test_a_record_is_updated() -> None:
    row = row_of(
        REDEMPTION_RECORDS, on(1, record(RedemptionRecordCreated)), on(3, record(RedemptionRecordUpdated, "UPDATED"))
    )

    assert (row.status, row.first_seen_at, row.last_seen_at) == ("updated", day(1), day(3))


def test_a_record_taken_away_is_read_as_a_redemption_undone() -> None:
    row = row_of(REDEMPTION_RECORDS, on(1, record(RedemptionRecordCreated)), on(2, record(RedemptionRecordDeleted)))

    assert (row.status, row.undone, row.deleted_at) == ("deleted", True, day(2))


def test_created_updated_and_deleted_at_one_instant_is_deleted() -> None:
    row = row_of(
        REDEMPTION_RECORDS,
        on(1, record(RedemptionRecordDeleted)),
        on(1, record(RedemptionRecordCreated)),
        on(1, record(RedemptionRecordUpdated)),
    )

    assert (row.status, row.incomplete) == ("deleted", False)


def test_a_late_update_does_not_bring_a_record_back() -> None:
    row = row_of(REDEMPTION_RECORDS, on(1, record(RedemptionRecordDeleted)), on(4, record(RedemptionRecordUpdated)))

    assert (row.status, row.undone, row.last_seen_at, row.incomplete) == ("deleted", True, day(4), True)
