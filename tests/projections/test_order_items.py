from decimal import Decimal
from typing import Any

from ledger.facts.order_items import OrderItemCancelled, OrderItemFact, OrderItemFailed, OrderItemFulfilled
from projections.order_items import ORDER_ITEMS
from tests.support.fold_helpers import day, on, row_of


def item(told: type[OrderItemFact], points_paid: int = 2000, **more: Any) -> OrderItemFact:
    return told(item="ascenda:-:i1", order="ascenda:-:o1", points_paid=Decimal(points_paid), **more)


def test_the_points_of_an_item_that_arrived_are_spent() -> None:
    row = row_of(ORDER_ITEMS, on(1, item(OrderItemFulfilled, customer="ascenda:-:u1")))

    assert (row.status, row.hold, row.refund, row.refund_due) == ("fulfilled", "captured", "none", Decimal(0))
    assert (row.customer, row.order_id, row.fulfilled_at) == ("ascenda:-:u1", "ascenda:-:o1", day(1))
    assert not row.contested


def test_the_points_of_an_item_that_failed_are_due_back() -> None:
    row = row_of(ORDER_ITEMS, on(1, item(OrderItemFailed, errors=("xxxxxx: something went wrong",))))

    assert (row.status, row.hold, row.refund, row.refund_due) == ("failed", "released", "due", Decimal(2000))
    assert row.errors == ["xxxxxx: something went wrong"]


def test_the_points_of_an_item_that_was_cancelled_are_due_back() -> None:
    row = row_of(ORDER_ITEMS, on(1, item(OrderItemCancelled)))

    assert (row.status, row.refund, row.refund_due, row.cancelled_at) == ("cancelled", "due", Decimal(2000), day(1))


def test_an_item_that_failed_twice_is_refunded_once() -> None:
    row = row_of(ORDER_ITEMS, on(1, item(OrderItemFailed)), on(2, item(OrderItemFailed)))

    assert (row.refund_due, row.failed_at, row.contested) == (Decimal(2000), day(1), False)


def test_an_item_that_failed_and_was_cancelled_is_refunded_once() -> None:
    row = row_of(ORDER_ITEMS, on(1, item(OrderItemFailed)), on(2, item(OrderItemCancelled)))

    assert (row.status, row.refund_due, row.contested) == ("cancelled", Decimal(2000), False)


def test_a_failure_after_fulfilment_is_contested() -> None:
    row = row_of(ORDER_ITEMS, on(1, item(OrderItemFulfilled)), on(2, item(OrderItemFailed)))

    assert (row.status, row.contested, row.refund_due) == ("failed", True, Decimal(2000))


def test_a_fulfilment_after_failure_is_contested_and_ends_the_refund() -> None:
    row = row_of(ORDER_ITEMS, on(1, item(OrderItemFailed)), on(2, item(OrderItemFulfilled)))

    assert (row.status, row.contested, row.refund, row.refund_due) == ("fulfilled", True, "none", Decimal(0))


def test_the_later_by_occurrence_stands_however_late_the_earlier_comes() -> None:
    row = row_of(ORDER_ITEMS, on(5, item(OrderItemFulfilled)), on(2, item(OrderItemFailed), position=9))

    assert (row.status, row.contested, row.last_position) == ("fulfilled", True, 9)


def test_failure_and_fulfilment_at_one_instant_come_out_as_failure() -> None:
    row = row_of(ORDER_ITEMS, on(1, item(OrderItemFailed)), on(1, item(OrderItemFulfilled)))

    assert (row.status, row.contested) == ("failed", True)


def test_an_item_that_cost_no_points_has_none_due_back() -> None:
    row = row_of(ORDER_ITEMS, on(1, item(OrderItemFailed, points_paid=0)))

    assert (row.status, row.refund, row.refund_due) == ("failed", "none", Decimal(0))


def test_a_field_that_a_later_event_leaves_out_stays() -> None:
    row = row_of(
        ORDER_ITEMS,
        on(1, item(OrderItemFailed, item_type="gift_card", reference="r1", partner_programme="p1", errors=("late",))),
        on(2, item(OrderItemCancelled, points_paid=0)),
    )

    assert (row.item_type, row.reference, row.partner_programme) == ("gift_card", "r1", "p1")
    assert (row.points_paid, row.errors) == (Decimal(2000), ["late"])
