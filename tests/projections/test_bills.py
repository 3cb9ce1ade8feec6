from decimal import Decimal
from typing import Any

from ledger.facts.bills import BillAdded, BillUpdated
from projections.bills import BILLS
from tests.support.fold_helpers import day, on, row_of

BILL = "capillary:1:500"


def added(**more: Any) -> BillAdded:
    return BillAdded(bill=BILL, **more)


def updated(**more: Any) -> BillUpdated:
    return BillUpdated(bill=BILL, **more)


def test_a_bill_is_kept_to_the_cent() -> None:
    row = row_of(
        BILLS,
        on(1, added(amount=Decimal("89.90"), gross_amount=Decimal("99.90"), discount=Decimal(10), currency="EUR")),
    )

    assert (row.amount, row.gross_amount, row.discount, row.currency) == (
        Decimal("89.90"),
        Decimal("99.90"),
        Decimal(10),
        "EUR",
    )
    assert (row.added_at, row.updated_at, row.incomplete) == (day(1), None, False)


def test_a_partial_update_erases_nothing() -> None:
    row = row_of(
        BILLS,
        on(1, added(customer="capillary:1:ann", number="B-1", amount=Decimal(50), line_item_count=3, store="s1")),
        on(2, updated(delivery_status="DELIVERED")),
    )

    assert (row.customer, row.number, row.amount) == ("capillary:1:ann", "B-1", Decimal(50))
    assert (row.line_item_count, row.store, row.delivery_status) == (3, "s1", "DELIVERED")


def test_an_amount_of_nothing_is_an_amount() -> None:
    row = row_of(BILLS, on(1, added(amount=Decimal(50), discount=Decimal(5))), on(2, updated(amount=Decimal(0))))

    assert (row.amount, row.discount) == (Decimal(0), Decimal(5))


def test_the_last_word_by_time_holds_however_late_an_earlier_one_comes() -> None:
    row = row_of(
        BILLS,
        on(1, added(delivery_status="PLACED")),
        on(9, updated(delivery_status="DELIVERED")),
        on(5, updated(delivery_status="SHIPPED"), position=12),
    )

    assert (row.delivery_status, row.updated_at, row.last_position) == ("DELIVERED", day(9), 12)


def test_a_delivery_status_we_do_not_know_is_shown_and_flagged() -> None:
    row = row_of(BILLS, on(1, added(delivery_status="Lost at sea", delivery_status_unknown=True)))

    assert (row.delivery_status, row.delivery_status_unknown) == ("Lost at sea", True)


def test_the_flag_goes_with_the_word_it_is_about() -> None:
    row = row_of(
        BILLS,
        on(1, added(delivery_status="Lost at sea", delivery_status_unknown=True)),
        on(2, updated(amount=Decimal(1))),
        on(3, updated(delivery_status="RETURNED")),
    )

    assert not row.delivery_status_unknown


def test_an_update_alone_is_a_bill_we_have_not_seen_made_out() -> None:
    row = row_of(BILLS, on(2, updated(amount=Decimal(50))))

    assert (row.amount, row.added_at, row.incomplete) == (Decimal(50), None, True)


def test_a_claimed_time_is_flagged_where_it_lies_ahead() -> None:
    row = row_of(BILLS, on(1, added(entered_at=day(2), entered_in_future=True)))

    assert (row.entered_at, row.entered_in_future, row.added_at) == (day(2), True, day(1))
