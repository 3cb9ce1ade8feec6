"""Transfers: points on their way from one holder to another. Two events tell of one transfer, and each works alone.

What was sent and not received is in transit, not lost; what was received without having been sent is history that we
have not seen (trap 11). Each half names both sides and the points; where they disagree, the transfer differs.

Each half counts once: of several reports the first in the order of the fold, as in accounts. A later one that gives
other points is noted.
"""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from ledger.facts import Occurrence
from ledger.facts.transfers import TransferCompleted, TransferFact, TransferInitiated
from projections.definition import Projection, Rows, State, Table
from projections.previous_owners import named_before

EVENT_BYTES = 8  # of a tag: the same for all versions of one event


class Half(State):
    """One half of a transfer, as first reported."""

    event: bytes
    points: Decimal
    at: datetime
    position: int


class Transfer(State):
    sender: str | None = None
    receiver: str | None = None
    sent_to: str | None = None
    received_from: str | None = None
    programme: str | None = None
    unit: str = "points"
    sent: Half | None = None
    received: Half | None = None
    reported: Decimal | None = None  # what a later report of one half says instead
    reported_position: int | None = None
    counted_position: int | None = None  # of the report that it contradicts
    others_named: bool = False  # a later report of one half names another sender or receiver
    named_before: list[str] = []
    position: int = 0


class TransferRow(NamedTuple):
    sender: str | None
    receiver: str | None
    sent_to: str | None  # whom the sender's half names as the receiver
    received_from: str | None  # whom the receiver's half names as the sender
    status: str  # initiated, completed; received-only where the sending was not told
    programme: str | None  # of the sender; of the receiver where only the receipt was told
    unit: str
    points: Decimal  # as sent, or as received where only that was told
    points_received: Decimal | None
    differs: bool  # other points arrived than were sent, or the reports name other people
    reported: Decimal | None  # other points that a second report of one half gives; they do not count
    initiated_at: datetime | None
    received_at: datetime | None
    named_before: list[str] | None  # others whom it was said to be of; None where nobody was
    last_position: int
    reported_position: int | None
    counted_position: int | None


TRANSFERS_TABLE = Table(
    name="transfers",
    create="""
        CREATE TABLE transfers (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            sender text COLLATE "C", receiver text COLLATE "C", sent_to text COLLATE "C",
            received_from text COLLATE "C", status text NOT NULL,
            programme text, unit text NOT NULL,
            points numeric NOT NULL, points_received numeric, differs boolean NOT NULL, reported numeric,
            initiated_at timestamptz, received_at timestamptz, named_before text[], last_position bigint NOT NULL,
            reported_position bigint, counted_position bigint)
        """,
    index=(
        "ALTER TABLE transfers ADD PRIMARY KEY (ledger_id, subject)",
        "CREATE INDEX transfers_named_before ON transfers USING gin (named_before) WHERE named_before IS NOT NULL",
        "CREATE INDEX transfers_sender ON transfers (ledger_id, sender)",
        "CREATE INDEX transfers_receiver ON transfers (ledger_id, receiver)",
        "CREATE INDEX transfers_open ON transfers (ledger_id, subject) WHERE status <> 'completed' OR differs",
    ),
    columns=TransferRow._fields,
    key=(),
)


def initiate(transfer: Transfer, fact: TransferInitiated, occurrence: Occurrence) -> None:
    """The sending was reported: the points left the sender."""
    _know(transfer, fact, occurrence)
    if _counts(transfer, transfer.sent, fact, occurrence):
        transfer.sender = fact.sender or transfer.sender
        transfer.receiver = transfer.receiver or fact.receiver
        transfer.sent_to = fact.receiver or transfer.sent_to
        transfer.programme = fact.programme
        transfer.sent = _half(transfer.sent, fact, occurrence)
    else:  # a later report names those whom the first did not
        transfer.others_named |= _names_others(fact, transfer.sender, transfer.sent_to)
        transfer.sender = transfer.sender or fact.sender
        transfer.receiver = transfer.receiver or fact.receiver
        transfer.sent_to = transfer.sent_to or fact.receiver


def receive(transfer: Transfer, fact: TransferCompleted, occurrence: Occurrence) -> None:
    """The receipt was reported: the points arrived at the receiver."""
    _know(transfer, fact, occurrence)
    if _counts(transfer, transfer.received, fact, occurrence):
        transfer.receiver = fact.receiver or transfer.receiver
        transfer.sender = transfer.sender or fact.sender
        transfer.received_from = fact.sender or transfer.received_from
        if transfer.sent is None:
            transfer.programme = fact.programme
        transfer.received = _half(transfer.received, fact, occurrence)
    else:
        transfer.others_named |= _names_others(fact, transfer.received_from, transfer.receiver)
        transfer.receiver = transfer.receiver or fact.receiver
        transfer.sender = transfer.sender or fact.sender
        transfer.received_from = transfer.received_from or fact.sender


def _counts(transfer: Transfer, half: Half | None, fact: TransferFact, occurrence: Occurrence) -> bool:
    """Return True for the first report of a half and for other versions of its event; note a later one that differs."""
    if half is None or half.event == occurrence.event_tag[:EVENT_BYTES]:
        return True
    if half.points != fact.points and transfer.reported is None:
        transfer.reported, transfer.reported_position = fact.points, occurrence.position
        transfer.counted_position = half.position
    return False


def _names_others(fact: TransferFact, sender: str | None, receiver: str | None) -> bool:
    """Return True if a report names another sender or receiver than the report of the same half that counts."""
    people = ((fact.sender, sender), (fact.receiver, receiver))
    return any(told is not None and known is not None and told != known for told, known in people)


def _half(half: Half | None, fact: TransferFact, occurrence: Occurrence) -> Half:
    """Return one half with the points of a report that counts."""
    if half is not None:
        return replace(half, points=half.points + fact.points)
    return Half(occurrence.event_tag[:EVENT_BYTES], fact.points, occurrence.occurred_at, occurrence.position)


def _know(transfer: Transfer, fact: TransferFact, occurrence: Occurrence) -> None:
    transfer.named_before = named_before(transfer.named_before, transfer.sender, fact.sender)
    transfer.named_before = named_before(transfer.named_before, transfer.receiver, fact.receiver)
    transfer.unit = fact.unit
    transfer.position = max(transfer.position, occurrence.position)


def _differs(transfer: Transfer) -> bool:
    """Return True if both halves were told and disagree on the points, the sender or the receiver, or if two reports of
    one half disagree on the sender or the receiver."""
    if transfer.others_named:
        return True
    if transfer.sent is None or transfer.received is None:
        return False
    people = ((transfer.sender, transfer.received_from), (transfer.receiver, transfer.sent_to))
    others = any(named is not None and one is not None and named != one for one, named in people)
    return others or transfer.sent.points != transfer.received.points


def transfer_rows(_subject: str, transfer: Transfer) -> Rows:
    sent = transfer.sent.points if transfer.sent else None
    received = transfer.received.points if transfer.received else None
    named = {*transfer.named_before, transfer.sent_to, transfer.received_from}
    row = TransferRow(
        sender=transfer.sender,
        receiver=transfer.receiver,
        sent_to=transfer.sent_to,
        received_from=transfer.received_from,
        status=_status(transfer),
        programme=transfer.programme,
        unit=transfer.unit,
        points=sent if sent is not None else received or Decimal(0),
        points_received=received,
        differs=_differs(transfer),
        reported=transfer.reported,
        initiated_at=transfer.sent.at if transfer.sent else None,
        received_at=transfer.received.at if transfer.received else None,
        named_before=sorted(one for one in named - {transfer.sender, transfer.receiver} if one) or None,
        last_position=transfer.position,
        reported_position=transfer.reported_position,
        counted_position=transfer.counted_position,
    )
    return {"transfers": [row]}


def _status(transfer: Transfer) -> str:
    if transfer.received is None:
        return "initiated"
    return "received-only" if transfer.sent is None else "completed"


TRANSFERS = Projection(
    name="transfers",
    version=7,
    subject="transfer",
    start=Transfer,
    on={TransferInitiated: initiate, TransferCompleted: receive},
    rows=transfer_rows,
    tables=(TRANSFERS_TABLE,),
    path="transfers",
    customers=("sender", "receiver"),
)
