from decimal import Decimal
from typing import Any

import pytest

from ledger.facts.holds import HoldCaptured, HoldRefundDue
from ledger.facts.order_items import OrderItemCancelled, OrderItemFailed, OrderItemFulfilled
from tests.support.interpretation import Delivered, deliver, sample


def deliver_one(document: Any) -> Delivered:
    (delivered,) = deliver("ascenda", document)
    return delivered


def failed() -> Any:
    return sample("ascenda/order_item.fulfillment.failed")


def confirmed() -> Any:
    return sample("ascenda/order_item.fulfillment.confirmed")


def test_the_points_of_an_item_that_arrived_are_spent_for_good() -> None:
    item, hold = deliver_one(confirmed()).facts

    assert isinstance(item, OrderItemFulfilled)
    assert isinstance(hold, HoldCaptured)
    assert (hold.points, hold.item, hold.holder) == (Decimal(1000), item.item, item.customer)


def test_an_item_that_failed_in_a_completed_order_is_due_back() -> None:
    document = failed()
    assert document["order"]["status"] == "completed"

    item, hold = deliver_one(document).facts

    assert isinstance(item, OrderItemFailed)
    assert isinstance(hold, HoldRefundDue)
    assert item.errors == ("xxxxxx: something went wrong",)


def test_the_points_due_back_are_those_of_the_item_and_not_of_the_order() -> None:
    document = failed()
    document["order"]["points_paid"] = 2_000_000

    _, hold = deliver_one(document).facts

    assert isinstance(hold, HoldRefundDue)
    assert hold.points == Decimal(999900)


def test_failed_and_then_cancelled_is_one_refund() -> None:
    document = failed()
    _, first = deliver_one(document).facts
    document["event_type"], document["order_item"]["status"] = "order_item.fulfillment.cancelled", "cancelled"

    item, second = deliver_one(document).facts

    assert isinstance(item, OrderItemCancelled)
    assert isinstance(first, HoldRefundDue)
    assert isinstance(second, HoldRefundDue)
    assert first.change == second.change


def test_the_status_of_the_item_counts_and_not_the_name_of_the_event() -> None:
    document = confirmed()
    document["order_item"]["status"] = "failed"

    item, _ = deliver_one(document).facts

    assert isinstance(item, OrderItemFailed)


def test_two_items_that_failed_under_one_event_id_are_two_events() -> None:
    one, other = failed(), sample("ascenda/order_item.fulfillment.failed-2")
    assert one["event_id"] == other["event_id"]

    assert deliver_one(one).draft.event_key != deliver_one(other).draft.event_key


def test_the_same_outcome_sent_again_on_another_day_is_the_same_event() -> None:
    document = confirmed()
    first = deliver_one(document).draft
    document["created_at"] = "2025-03-25T00:00:00Z"
    document["order"]["updated_at"] = "2025-03-25T00:00:00Z"

    again = deliver_one(document).draft

    assert (again.event_key, again.content) == (first.event_key, first.content)


def test_the_same_outcome_with_other_points_is_the_same_event_with_other_content() -> None:
    document = confirmed()
    first = deliver_one(document).draft
    document["order_item"]["points_paid"] = 1100

    other = deliver_one(document).draft

    assert other.event_key == first.event_key
    assert other.content != first.content


def test_the_fact_has_the_time_of_the_item_and_not_of_the_event() -> None:
    delivered = deliver_one(confirmed())

    assert delivered.draft.occurred_at is not None
    assert delivered.meaning.facts[0].occurrence.occurred_at < delivered.draft.occurred_at


def test_an_item_paid_in_money_holds_no_points() -> None:
    document = failed()
    document["order_item"]["points_paid"] = 0

    assert [type(fact) for fact in deliver_one(document).facts] == [OrderItemFailed]


def test_an_order_without_a_customer_moves_no_points() -> None:
    document = failed()
    document["order"]["user_id"] = None

    assert [type(fact) for fact in deliver_one(document).facts] == [OrderItemFailed]


def test_missing_or_null_errors_are_accepted() -> None:
    document = failed()
    document["order_item"]["errors"] = [None, {"code": None, "message": "late"}]

    item, _ = deliver_one(document).facts

    assert isinstance(item, OrderItemFailed)
    assert item.errors == ("late",)


def test_no_fact_holds_the_recipient_of_the_item() -> None:
    text = str(deliver_one(confirmed()).facts) + str(
        deliver_one(sample("ascenda/order_item.fulfillment.failed-2")).facts
    )

    for personal in ("John", "Doe", "3081031701519960", "Main Street", "+6512345678"):
        assert personal not in text


def test_the_content_hash_does_not_depend_on_the_recipient() -> None:
    document = confirmed()
    first = deliver_one(document).draft
    document["order_item"]["data"]["membership"]["number"] = "1"

    assert deliver_one(document).draft.content == first.content


@pytest.mark.parametrize("status", [None, "", "pending", "lost"])
def test_an_unknown_status_is_unrecognised(status: str | None) -> None:
    document = failed()
    document["order_item"]["status"] = status

    assert deliver_one(document).meaning.status == "unrecognised"


@pytest.mark.parametrize("path", [("order_item", "id"), ("order", "id")])
@pytest.mark.parametrize("absent", [None, "", "null", {}])
def test_an_item_or_order_without_an_id_is_unrecognised(path: tuple[str, str], absent: Any) -> None:
    document = failed()
    document[path[0]][path[1]] = absent

    assert deliver_one(document).meaning.status == "unrecognised"


@pytest.mark.parametrize("document", [{}, [], {"event_type": "x"}, {"event_type": 1, "order_item": {}}, {"a": "b"}])
def test_another_envelope_is_unknown(document: Any) -> None:
    delivered = deliver_one(document)

    assert (delivered.draft.kind, delivered.meaning.status) == ("unknown", "unrecognised")


def test_an_unknown_event_is_unrecognised_and_keeps_its_name() -> None:
    document = {**failed(), "event_type": "order_item.fulfillment.delayed"}

    delivered = deliver_one(document)

    assert delivered.draft.kind == "order_item.fulfillment.delayed"
    assert delivered.meaning.status == "unrecognised"
