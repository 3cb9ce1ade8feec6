"""Transfers: points on their way from one holder to another. Two events tell of one transfer, and each works alone.

What was sent and not received is in transit, not lost; what was received without having been sent is history that we
have not seen (trap 11). Each half names both sides and the points; where they disagree, the transfer differs.
"""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ledger.facts import Occurrence
from ledger.facts.transfers import TransferCompleted, TransferFact, TransferInitiated
from projections.naming import named_before
from projections.projection import Projection, Rows, State, Table


class Transfer(State):
    sender: str | None = None
    receiver: str | None = None
    sent_to: str | None = None
    received_from: str | None = None
    programme: str | None = None
    unit: str = "points"
    points_sent: Decimal | None = None
    points_received: Decimal | None = None
    initiated_at: datetime | None = None
    received_at: datetime | None = None
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
    differs: bool  # other points arrived than were sent, or the halves name other people
    initiated_at: datetime | None
    received_at: datetime | None
    named_before: list[str] | None  # others whom it was said to be of; None where nobody was
    last_position: int


TRANSFERS_TABLE = Table(
    name="transfers",
    create="""
        CREATE TABLE transfers (
            ledger_id int NOT NULL, subject text COLLATE "C" NOT NULL,
            sender text COLLATE "C", receiver text COLLATE "C", sent_to text COLLATE "C",
            received_from text COLLATE "C", status text NOT NULL,
            programme text, unit text NOT NULL,
            points numeric NOT NULL, points_received numeric, differs boolean NOT NULL,
            initiated_at timestamptz, received_at timestamptz, named_before text[], last_position bigint NOT NULL)
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
    _know(transfer, fact, occurrence)
    transfer.sender = fact.sender or transfer.sender
    transfer.receiver = transfer.receiver or fact.receiver
    transfer.sent_to = fact.receiver or transfer.sent_to
    transfer.programme = fact.programme
    transfer.points_sent = fact.points
    transfer.initiated_at = transfer.initiated_at or occurrence.occurred_at


def receive(transfer: Transfer, fact: TransferCompleted, occurrence: Occurrence) -> None:
    _know(transfer, fact, occurrence)
    transfer.receiver = fact.receiver or transfer.receiver
    transfer.sender = transfer.sender or fact.sender
    transfer.received_from = fact.sender or transfer.received_from
    if transfer.points_sent is None:
        transfer.programme = fact.programme
    transfer.points_received = fact.points
    transfer.received_at = transfer.received_at or occurrence.occurred_at


def _know(transfer: Transfer, fact: TransferFact, occurrence: Occurrence) -> None:
    transfer.named_before = named_before(transfer.named_before, transfer.sender, fact.sender)
    transfer.named_before = named_before(transfer.named_before, transfer.receiver, fact.receiver)
    transfer.unit = fact.unit
    transfer.position = max(transfer.position, occurrence.position)


def _differs(transfer: Transfer) -> bool:
    """Return True if both halves were told and disagree: on the points, the sender or the receiver."""
    if transfer.points_sent is None or transfer.points_received is None:
        return False
    people = ((transfer.sender, transfer.received_from), (transfer.receiver, transfer.sent_to))
    others = any(named is not None and one is not None and named != one for one, named in people)
    return others or transfer.points_sent != transfer.points_received


def transfer_rows(_subject: str, transfer: Transfer) -> Rows:
    sent, received = transfer.points_sent, transfer.points_received
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
        initiated_at=transfer.initiated_at,
        received_at=transfer.received_at,
        named_before=sorted(one for one in named - {transfer.sender, transfer.receiver} if one) or None,
        last_position=transfer.position,
    )
    return {"transfers": [row]}


def _status(transfer: Transfer) -> str:
    if transfer.received_at is None:
        return "initiated"
    return "received-only" if transfer.initiated_at is None else "completed"


TRANSFERS = Projection(
    name="transfers",
    version=4,
    subject="transfer",
    start=Transfer,
    on={TransferInitiated: initiate, TransferCompleted: receive},
    rows=transfer_rows,
    tables=(TRANSFERS_TABLE,),
    path="transfers",
    customers=("sender", "receiver"),
)
