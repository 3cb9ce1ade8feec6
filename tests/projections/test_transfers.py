from decimal import Decimal

from ledger.facts.transfers import TransferCompleted, TransferInitiated
from projections.transfers import TRANSFERS
from tests.projections.telling import day, on, row_of

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


def test_points_that_arrived_before_they_were_told_to_be_sent_complete_it_too() -> None:
    row = row_of(TRANSFERS, on(1, arrived()), on(2, sent()))

    assert (row.status, row.initiated_at, row.received_at, row.programme) == ("completed", day(2), day(1), "9")


def test_a_receipt_alone_is_a_transfer_whose_sending_we_missed() -> None:
    row = row_of(TRANSFERS, on(2, arrived(sender=None)))

    assert (row.status, row.points, row.sender, row.receiver) == ("received-only", Decimal(10), None, RECEIVER)


def test_other_points_arriving_than_were_sent_are_a_difference() -> None:
    row = row_of(TRANSFERS, on(1, sent(10)), on(2, arrived(8)))

    assert (row.points, row.points_received, row.differs) == (Decimal(10), Decimal(8), True)
