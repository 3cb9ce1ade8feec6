"""Transfers: points sent from one holder to another. Each half has its own event and works alone.

1. Points sent and not received are in transit, not lost.
2. Points received and not sent prove history that was never reported (docs/domain.md, trap 11).
3. Each half names both holders and the points. If the halves disagree, the transfer `differs`.
4. Each half counts once. The first report in fold order counts, as in accounts.
5. A later report with other points is recorded in `reported`.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from msgspec.structs import replace

from ledger.facts import Occurrence
from ledger.facts.transfers import TransferCompleted, TransferFact, TransferInitiated
from projections.definition import Projection, Rows, State
from projections.field_updates import add_previous_owner
from projections.tables import Identifier, Position, PreviousOwners, StateOnly, Table, row_from

EVENT_BYTES = 8  # prefix of an event tag: equal for all versions of one event


class TransferHalf(State):
    """One half of a transfer, as first reported."""

    event: bytes
    points: Decimal
    at: datetime
    position: int


class Transfer(State):
    sender: Identifier | None = None
    receiver: Identifier | None = None
    sent_to: Annotated[Identifier | None, "receiver named by the sender's half"] = None
    received_from: Annotated[Identifier | None, "sender named by the receiver's half"] = None
    programme: Annotated[str | None, "of the sender; of the receiver if only the receipt was recorded"] = None
    unit: str = "points"
    sent: StateOnly[TransferHalf | None] = None
    received: StateOnly[TransferHalf | None] = None
    reported: Annotated[Decimal | None, "other points in a repeated report of one half; not counted"] = None
    others_named: StateOnly[bool] = False  # a repeated report names another sender or receiver
    previous_owners: PreviousOwners = None
    last_position: Position = 0
    reported_position: Position | None = None
    counted_position: Position | None = None


class TransferRow(Transfer, kw_only=True):
    """Transfers of points between holders, with both halves."""

    status: Annotated[str, "initiated, completed; received-only if no sending was recorded"]
    points: Annotated[Decimal, "as sent; as received if only the receipt was recorded"]
    points_received: Decimal | None
    differs: Annotated[bool, "the halves or their reports disagree"]
    initiated_at: datetime | None
    received_at: datetime | None


TRANSFERS_TABLE = Table(
    "transfers",
    TransferRow,
    {
        "sender": "(ledger_id, sender)",
        "receiver": "(ledger_id, receiver)",
        "programme": "(ledger_id, programme, subject)",
        "status": "(ledger_id, status, subject)",
        "open": "(ledger_id, subject) WHERE status <> 'completed' OR differs",
    },
)


def initiate(transfer: Transfer, fact: TransferInitiated, occurrence: Occurrence) -> None:
    """Points left the sender."""
    _update_fields(transfer, fact, occurrence)
    if _is_counted(transfer, transfer.sent, fact, occurrence):
        transfer.sender = fact.sender or transfer.sender
        transfer.receiver = transfer.receiver or fact.receiver
        transfer.sent_to = fact.receiver or transfer.sent_to
        transfer.programme = fact.programme
        transfer.sent = _add_report(transfer.sent, fact, occurrence)
    else:  # position of a repeated report that differs
        transfer.others_named |= _names_other_holders(fact, transfer.sender, transfer.sent_to)
        transfer.sender = transfer.sender or fact.sender
        transfer.receiver = transfer.receiver or fact.receiver
        transfer.sent_to = transfer.sent_to or fact.receiver


def receive(transfer: Transfer, fact: TransferCompleted, occurrence: Occurrence) -> None:
    """Points arrived at the receiver."""
    _update_fields(transfer, fact, occurrence)
    if _is_counted(transfer, transfer.received, fact, occurrence):
        transfer.receiver = fact.receiver or transfer.receiver
        transfer.sender = transfer.sender or fact.sender
        transfer.received_from = fact.sender or transfer.received_from
        if transfer.sent is None:
            transfer.programme = fact.programme
        transfer.received = _add_report(transfer.received, fact, occurrence)
    else:
        transfer.others_named |= _names_other_holders(fact, transfer.received_from, transfer.receiver)
        transfer.receiver = transfer.receiver or fact.receiver
        transfer.sender = transfer.sender or fact.sender
        transfer.received_from = transfer.received_from or fact.sender


def _is_counted(transfer: Transfer, half: TransferHalf | None, fact: TransferFact, occurrence: Occurrence) -> bool:
    """Return True for the first report of a half and for other versions of its event. Record the points of other
    reports.
    """
    if half is None or half.event == occurrence.event_tag[:EVENT_BYTES]:
        return True
    if half.points != fact.points and transfer.reported is None:
        transfer.reported, transfer.reported_position = fact.points, occurrence.position
        transfer.counted_position = half.position
    return False


def _names_other_holders(fact: TransferFact, sender: str | None, receiver: str | None) -> bool:
    """Return True if a repeated report names another sender or receiver than the counted report."""
    pairs = ((fact.sender, sender), (fact.receiver, receiver))
    return any(named is not None and counted is not None and named != counted for named, counted in pairs)


def _add_report(half: TransferHalf | None, fact: TransferFact, occurrence: Occurrence) -> TransferHalf:
    """Return a half with the points of a report that counts added."""
    if half is not None:
        return replace(half, points=half.points + fact.points)
    return TransferHalf(occurrence.event_tag[:EVENT_BYTES], fact.points, occurrence.occurred_at, occurrence.position)


def _update_fields(transfer: Transfer, fact: TransferFact, occurrence: Occurrence) -> None:
    transfer.previous_owners = add_previous_owner(transfer.previous_owners, transfer.sender, fact.sender)
    transfer.previous_owners = add_previous_owner(transfer.previous_owners, transfer.receiver, fact.receiver)
    transfer.unit = fact.unit
    transfer.last_position = max(transfer.last_position, occurrence.position)


def _differs(transfer: Transfer) -> bool:
    """Return True if the halves disagree on points, sender or receiver, or two reports of a half on holders."""
    if transfer.others_named:
        return True
    if transfer.sent is None or transfer.received is None:
        return False
    pairs = ((transfer.sender, transfer.received_from), (transfer.receiver, transfer.sent_to))
    holders_differ = any(own is not None and other is not None and own != other for own, other in pairs)
    return holders_differ or transfer.sent.points != transfer.received.points


def transfer_rows(_subject: str, transfer: Transfer) -> Rows:
    sent = transfer.sent.points if transfer.sent else None
    received = transfer.received.points if transfer.received else None
    named = {*(transfer.previous_owners or ()), transfer.sent_to, transfer.received_from}
    row = row_from(
        transfer,
        TransferRow,
        status=_status(transfer),
        points=sent if sent is not None else received or Decimal(0),
        points_received=received,
        differs=_differs(transfer),
        initiated_at=transfer.sent.at if transfer.sent else None,
        received_at=transfer.received.at if transfer.received else None,
        previous_owners=sorted(holder for holder in named - {transfer.sender, transfer.receiver} if holder) or None,
    )
    return {"transfers": [row]}


def _status(transfer: Transfer) -> str:
    if transfer.received is None:
        return "initiated"
    return "received-only" if transfer.sent is None else "completed"


TRANSFERS = Projection(
    name="transfers",
    version=8,
    subject="transfer",
    start=Transfer,
    on={TransferInitiated: initiate, TransferCompleted: receive},
    rows=transfer_rows,
    tables=(TRANSFERS_TABLE,),
    customers=("sender", "receiver"),
)
