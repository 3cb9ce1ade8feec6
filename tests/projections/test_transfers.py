from decimal import Decimal

from ledger.facts.transfers import TransferCompleted, TransferInitiated
from projections.transfers import TRANSFERS
from tests.support.fold_helpers import day, on, row_of

SENDER, RECEIVER = "capillary:1:ann", "capillary:1:bob"


def sent(points: int = 10) -> TransferInitiated:
    return TransferInitiated(
        transfer="capillary:1:t1", points=Decimal(points), programme="9", sender=SENDER, receiver=RECEIVER
    )


def arrived(points: int = 10, sender: str | None = SENDER) -> TransferCompleted:
    return TransferCompleted(
        transfer="capillary:1:t1", points=Decimal(points), programme="8", sender=sender, receiver=RECEIVER
    )


def test_points_that_were_sent_are_on_their_way() -> None:
    row = row_of(TRANSFERS, on(1, sent()))

    assert (row.status, row.points, row.points_received) == ("initiated", Decimal(10), None)
    assert (row.sender, row.receiver, row.initiated_at, row.received_at) == (SENDER, RECEIVER, day(1), None)


def test_points_that_arrived_complete_the_transfer() -> None:
    row = row_of(TRANSFERS, on(1, sent()), on(2, arrived()))

    assert (row.status, row.points_received, row.differs) == ("completed", Decimal(10), False)
    assert (row.initiated_at, row.received_at, row.programme) == (day(1), day(2), "9")


def test_points_that_arrived_before_they_were_reported_as_sent_complete_it_too() -> None:
    row = row_of(TRANSFERS, on(1, arrived()), on(2, sent()))

    assert (row.status, row.initiated_at, row.received_at, row.programme) == ("completed", day(2), day(1), "9")


def test_a_receipt_alone_is_a_transfer_whose_sending_we_missed() -> None:
    row = row_of(TRANSFERS, on(2, arrived(sender=None)))

    assert (row.status, row.points, row.sender, row.receiver) == ("received-only", Decimal(10), None, RECEIVER)


def test_other_points_arriving_than_were_sent_are_a_difference() -> None:
    row = row_of(TRANSFERS, on(1, sent(10)), on(2, arrived(8)))

    assert (row.points, row.points_received, row.differs) == (Decimal(10), Decimal(8), True)


def test_points_received_by_another_than_they_were_sent_to_are_a_difference() -> None:
    to_carol = TransferCompleted(
        transfer="capillary:1:t1", points=Decimal(10), programme="9", sender=SENDER, receiver="capillary:1:carol"
    )

    row = row_of(TRANSFERS, on(1, sent()), on(2, to_carol))
    first = row_of(TRANSFERS, on(1, to_carol), on(2, sent()))

    assert (row.status, row.receiver, row.sent_to, row.differs) == ("completed", "capillary:1:carol", RECEIVER, True)
    assert (first.receiver, first.sent_to, first.differs) == ("capillary:1:carol", RECEIVER, True)


def test_points_received_from_another_than_sent_them_are_a_difference() -> None:
    row = row_of(TRANSFERS, on(1, sent()), on(2, arrived(sender="capillary:1:dan")))

    assert (row.sender, row.received_from, row.differs) == (SENDER, "capillary:1:dan", True)


def test_a_half_that_names_only_its_own_side_does_not_differ() -> None:
    assert not row_of(TRANSFERS, on(1, sent()), on(2, arrived(sender=None))).differs


def test_a_second_report_that_names_another_receiver_is_a_difference() -> None:
    to_carol = TransferInitiated(
        transfer="capillary:1:t1", points=Decimal(10), programme="9", sender=SENDER, receiver="capillary:1:carol"
    )

    row = row_of(TRANSFERS, on(1, sent()), on(2, to_carol), on(3, arrived()))

    assert (row.status, row.points, row.points_received, row.differs) == ("completed", Decimal(10), Decimal(10), True)
    assert (row.receiver, row.sent_to) == (RECEIVER, RECEIVER)
