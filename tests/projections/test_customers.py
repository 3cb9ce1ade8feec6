from datetime import UTC, datetime
from typing import Any

from ledger.facts.customers import (
    CustomerAdded,
    CustomerDeletionApproved,
    CustomersMerged,
    CustomerSubscribed,
    CustomerUpdated,
    Subscription,
)
from projections.customers import CUSTOMERS
from tests.support.fold_helpers import day, on, row_of

ANN = "capillary:1:ann"
BOB = "capillary:1:bob"


def added(**more: Any) -> CustomerAdded:
    return CustomerAdded(customer=ANN, **more)


def updated(**more: Any) -> CustomerUpdated:
    return CustomerUpdated(customer=ANN, **more)


def test_a_customer_joined_at_the_time_that_the_store_states() -> None:
    entered_at = datetime(2023, 12, 24, 9, tzinfo=UTC)

    row = row_of(CUSTOMERS, on(1, added(entered_at=entered_at, store="s1", till="t1", loyalty_type="LOYALTY")))

    assert (row.joined_at, row.store, row.till, row.loyalty_type) == (entered_at, "s1", "t1", "LOYALTY")
    assert not row.incomplete


def test_a_store_whose_clock_is_ahead_is_not_believed() -> None:
    row = row_of(CUSTOMERS, on(1, added(entered_at=day(2), entered_in_future=True)))

    assert row.joined_at == day(1)


def test_an_update_overwrites_nothing_with_blanks() -> None:
    row = row_of(
        CUSTOMERS,
        on(1, added(loyalty_type="LOYALTY", source="INSTORE", identifiers=("email", "mobile"), store="s1")),
        on(2, updated(status="Suspended")),
        on(3, updated()),
    )

    assert (row.loyalty_type, row.source, row.store) == ("LOYALTY", "INSTORE", "s1")
    assert row.identifiers == ["email", "mobile"]
    assert (row.status, row.status_since, row.updated_at) == ("Suspended", day(2), day(3))


def test_a_customer_stays_known_by_every_kind_of_identifier_ever_named() -> None:
    row = row_of(CUSTOMERS, on(1, added(identifiers=("mobile",))), on(2, updated(identifiers=("externalId", "wechat"))))

    assert row.identifiers == ["externalId", "mobile", "wechat"]


def test_an_update_reported_before_the_joining_is_not_undone_by_it() -> None:
    row = row_of(CUSTOMERS, on(5, updated(status="Active")), on(1, added(), position=9))

    assert (row.status, row.joined_at, row.updated_at, row.incomplete) == ("Active", day(1), day(5), False)
    assert row.last_position == 9


def test_an_update_alone_is_a_customer_whose_joining_we_missed() -> None:
    row = row_of(CUSTOMERS, on(5, updated(status="Active")))

    assert (row.joined_at, row.incomplete) == (None, True)


def test_a_repeated_status_keeps_its_time() -> None:
    row = row_of(CUSTOMERS, on(2, updated(status="Active")), on(7, updated(status="Active")))

    assert row.status_since == day(2)


def test_joining_twice_keeps_the_first_day() -> None:
    row = row_of(CUSTOMERS, on(1, added(store="s1")), on(9, added(store="s2")))

    assert (row.joined_at, row.store) == (day(1), "s1")


def test_a_deletion_is_approved_and_then_carried_out() -> None:
    row = row_of(
        CUSTOMERS,
        on(1, added()),
        on(4, CustomerDeletionApproved(customer=ANN, request="capillary:1:77")),
        on(6, updated(status="Deleted")),
    )

    assert (row.deletion_approved_at, row.deletion_request) == (day(4), "capillary:1:77")
    assert (row.deleted_at, row.status) == (day(6), "Deleted")


def test_nobody_is_deleted_unless_a_fact_states_so() -> None:
    row = row_of(CUSTOMERS, on(1, added()), on(2, updated(status="Pending Deletion")))

    assert (row.deletion_approved_at, row.deleted_at) == (None, None)


def test_a_second_approval_changes_nothing() -> None:
    first, second = (CustomerDeletionApproved(customer=ANN, request=f"capillary:1:{n}") for n in (1, 2))

    row = row_of(CUSTOMERS, on(4, first), on(8, second))

    assert (row.deletion_approved_at, row.deletion_request) == (day(4), "capillary:1:1")


def test_consent_is_kept_by_channel_and_purpose() -> None:
    def subscribed(*lines: Subscription) -> CustomerSubscribed:
        return CustomerSubscribed(customer=ANN, subscriptions=lines)

    row = row_of(
        CUSTOMERS,
        on(1, subscribed(Subscription("SMS", "SUBSCRIBED", "BULK"), Subscription("EMAIL", "SUBSCRIBED"))),
        on(2, subscribed(Subscription("SMS", "UNSUBSCRIBED", "BULK"))),
    )

    assert row.subscriptions == ["EMAIL SUBSCRIBED", "SMS BULK UNSUBSCRIBED"]


def test_a_victim_knows_its_survivor() -> None:
    row = row_of(CUSTOMERS, on(1, added()), on(3, CustomersMerged(customer=ANN, role="victim", other=BOB)))

    assert (row.merged_into, row.merged_at, row.merged_from) == (BOB, day(3), [])


def test_a_victim_is_merged_once() -> None:
    row = row_of(
        CUSTOMERS,
        on(3, CustomersMerged(customer=ANN, role="victim", other=BOB)),
        on(4, CustomersMerged(customer=ANN, role="victim", other="capillary:1:eve")),
    )

    assert (row.merged_into, row.merged_at) == (BOB, day(3))


def test_a_survivor_knows_all_its_victims() -> None:
    row = row_of(
        CUSTOMERS,
        on(4, CustomersMerged(customer=ANN, role="survivor", other="capillary:1:eve")),
        on(3, CustomersMerged(customer=ANN, role="survivor", other=BOB)),
    )

    assert (row.merged_into, row.merged_from) == (None, [BOB, "capillary:1:eve"])
