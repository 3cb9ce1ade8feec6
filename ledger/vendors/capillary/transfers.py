"""Capillary's transfers: two events report a transfer, the sender's and the receiver's. Each is complete in itself
(trap 11).
"""

from typing import Annotated, Any

from ledger.facts import Fact
from ledger.facts.accounts import Claim, TransferReceived, TransferSent, TransferSettled
from ledger.facts.transfers import TransferCompleted, TransferInitiated
from ledger.vendors.capillary.people import CustomerEvent, CustomerIdentifiers, Entity, group_holder
from ledger.vendors.capillary.redemptions import ZERO, EarningProgramme
from ledger.vendors.fields import Figure, Id, List, Points
from ledger.vendors.vendor import EventContext, EventType


class PointsTransferredInitiated(CustomerEvent):
    loyalty_program_id: Id
    total_points_transferred: Figure = None  # if missing, the sum over the programmes
    transfer_receiving_customer_identifiers: CustomerIdentifiers = CustomerIdentifiers()
    transfer_receiving_entity_information: Entity | None = None
    redemption_from_earning_programs: Annotated[list[EarningProgramme], List] = []


def points_transferred_initiated(event: PointsTransferredInitiated, context: EventContext) -> list[Fact]:
    """The sender's half. Its fields have the names of a redemption's fields. Each earning programme pays its share
    (trap 11).
    """
    transfer = _transfer(event, context)
    sender = event.holder(context)
    receiver = _other_party(
        event.transfer_receiving_entity_information, event.transfer_receiving_customer_identifiers, context
    )
    programmes, total = event.redemption_from_earning_programs, event.total_points_transferred
    if total is None:
        if not programmes:
            raise ValueError("no number of points transferred")
        total = sum((programme.points_redeemed for programme in programmes), ZERO)
    programmes = programmes or [EarningProgramme(program_id=event.loyalty_program_id, points_redeemed=total)]
    facts: list[Fact] = [
        TransferSent(
            holder=sender,
            programme=programme.program_id,
            customer=event.customer(context),
            claim=Claim(programme.program_current_points),
            ratio=event.ratio,
            points=programme.points_redeemed,
            transfer=transfer,
            receiver=receiver,
            **_change(event, transfer, context),
        )
        for programme in programmes
    ]
    facts.append(
        TransferInitiated(
            transfer=transfer,
            points=total,
            programme=event.loyalty_program_id,
            sender=sender,
            receiver=receiver,
        )
    )
    return facts


class PointsTransferredReceived(CustomerEvent):
    loyalty_program_id: Id
    total_points_transferred: Points
    transfer_initiating_customer_identifiers: CustomerIdentifiers = CustomerIdentifiers()
    transfer_initiating_entity_information: Entity | None = None


def points_transferred_received(event: PointsTransferredReceived, context: EventContext) -> list[Fact]:
    """The receiver's half, without a balance (trap 11). It also settles the sender's points in transit."""
    transfer = _transfer(event, context)
    receiver = event.holder(context)
    sender = _other_party(
        event.transfer_initiating_entity_information, event.transfer_initiating_customer_identifiers, context
    )
    facts: list[Fact] = [
        TransferReceived(
            holder=receiver,
            programme=event.loyalty_program_id,
            customer=event.customer(context),
            ratio=event.ratio,
            points=event.total_points_transferred,
            transfer=transfer,
            sender=sender,
            **_change(event, transfer, context),
        ),
        TransferCompleted(
            transfer=transfer,
            points=event.total_points_transferred,
            programme=event.loyalty_program_id,
            sender=sender,
            receiver=receiver,
        ),
    ]
    if sender is not None:
        facts.append(
            TransferSettled(
                holder=sender,
                programme=event.loyalty_program_id,
                points=event.total_points_transferred,
                transfer=transfer,
                **_change(event, transfer, context),
            )
        )
    return facts


def _change(event: CustomerEvent, transfer: str, context: EventContext) -> dict[str, Any]:
    """Return the business key of a half of a transfer. The kind of the fact distinguishes the halves."""
    vendor_id = event.envelope.loyalty_event_id or event.envelope.api_request_id
    return event.envelope.change_fields(context, change_id=transfer if vendor_id else None)


def _transfer(event: CustomerEvent, context: EventContext) -> str:
    """Return the ref of the transfer. Both halves have the same loyaltyEventId."""
    return context.ref(event.envelope.loyalty_event_id or event.envelope.api_request_id or context.tag)


def _other_party(entity: Entity | None, identifiers: CustomerIdentifiers, context: EventContext) -> str | None:
    """Return the ref of the other party of a transfer, None if the event does not name it."""
    group = group_holder(context, entity)
    if group is not None:
        return group
    customer = identifiers.customer_id or (entity.entity_id if entity else None)
    return context.ref(customer) if customer else None


KINDS: dict[str, EventType[Any]] = {
    "pointsTransferredInitiated": EventType(PointsTransferredInitiated, points_transferred_initiated),
    "pointsTransferredReceived": EventType(PointsTransferredReceived, points_transferred_received),
}
