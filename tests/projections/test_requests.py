from decimal import Decimal

from ledger.facts.requests import (
    RequestApproved,
    RequestFailed,
    RequestMoved,
    RequestOpened,
    RequestRejected,
)
from projections.requests import REQUESTS
from tests.support.fold_helpers import day, on, row_of

REQUEST = "capillary:0:r1"


def test_a_request_is_opened_and_then_decided() -> None:
    row = row_of(
        REQUESTS,
        on(1, RequestOpened(request=REQUEST, vendor_status="AdminTask", maker="7", points=Decimal(20))),
        on(2, RequestApproved(request=REQUEST, vendor_status="approved", maker="7", checker="8")),
    )

    assert (row.status, row.vendor_status, row.maker, row.checker) == ("approved", "approved", "7", "8")
    assert (row.opened_at, row.decided_at, row.updated_at) == (day(1), day(2), day(2))
    assert (row.points, row.contested) == (Decimal(20), False)


def test_a_decision_stands_against_a_later_still_open() -> None:
    row = row_of(
        REQUESTS,
        on(1, RequestRejected(request=REQUEST, vendor_status="rejected")),
        on(3, RequestOpened(request=REQUEST, vendor_status="AdminTask")),
    )

    assert (row.status, row.vendor_status, row.decided_at) == ("rejected", "rejected", day(1))
    assert (row.opened_at, row.updated_at, row.contested) == (day(3), day(3), False)


def test_a_decision_heard_of_first_is_a_request_whose_opening_we_missed() -> None:
    row = row_of(REQUESTS, on(2, RequestFailed(request=REQUEST, vendor_status="failed")))

    assert (row.status, row.opened_at, row.decided_at) == ("failed", None, day(2))


def test_of_two_decisions_the_later_stands_and_the_request_is_contested() -> None:
    row = row_of(
        REQUESTS,
        on(2, RequestApproved(request=REQUEST, vendor_status="approved")),
        on(3, RequestFailed(request=REQUEST, vendor_status="failed")),
    )

    assert (row.status, row.decided_at, row.contested) == ("failed", day(3), True)


def test_the_same_decision_reported_twice_is_one() -> None:
    row = row_of(
        REQUESTS,
        on(2, RequestApproved(request=REQUEST, vendor_status="approved")),
        on(3, RequestApproved(request=REQUEST, vendor_status="APPROVED")),
    )

    assert (row.status, row.decided_at, row.contested) == ("approved", day(2), False)


def test_a_state_we_have_no_word_for_is_shown_as_the_vendor_writes_it() -> None:
    row = row_of(
        REQUESTS,
        on(1, RequestOpened(request=REQUEST, vendor_status="AdminTask")),
        on(2, RequestMoved(request=REQUEST, vendor_status="SecondLevelTask")),
    )

    assert (row.status, row.vendor_status) == ("other", "SecondLevelTask")


def test_a_field_that_a_later_event_leaves_out_stays() -> None:
    row = row_of(
        REQUESTS,
        on(
            1,
            RequestOpened(
                request=REQUEST,
                request_type="EARN_BADGE",
                badge="b1",
                customer_ids=("382477526",),
                reference="123",
            ),
        ),
        on(2, RequestApproved(request=REQUEST)),
    )

    assert (row.request_type, row.badge, row.reference) == ("EARN_BADGE", "b1", "123")
    assert (row.customer, row.customer_ids) == (None, ["382477526"])
