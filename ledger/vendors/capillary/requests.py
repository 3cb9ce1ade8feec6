"""Capillary's requests: `requestUpdated` within an organisation, `requestWorkflowEvent` outside any (orgId 0).

An approval moves no points and gives no badge. Separate events do that (traps 25, 26). One approval has an effect: if a
customer's deletion is approved, the personal data are to be erased (trap 24).

Comments and reasons are free text, and bodies contain telephone numbers. Facts hold none of them.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from ledger.facts import Fact
from ledger.facts.customers import CustomerDeletionApproved
from ledger.facts.requests import (
    RequestApproved,
    RequestFact,
    RequestFailed,
    RequestMoved,
    RequestOpened,
    RequestRejected,
)
from ledger.vendors.capillary.enums import EmptyIfNull
from ledger.vendors.capillary.people import CustomerIdentifiers
from ledger.vendors.capillary.stores import EnteredBy
from ledger.vendors.fields import Figure, List, OptionalId, SnakeModel, Text, Time, VendorModel, squeeze
from ledger.vendors.vendor import EventContext, EventType

# The vendor's states, in lower case without blanks. Facts keep other states as written.
STATES: dict[str, type[RequestFact]] = {
    "admintask": RequestOpened,
    "pending": RequestOpened,
    "approved": RequestApproved,
    "rejected": RequestRejected,
    "failed": RequestFailed,
}


def _fact_type(state: str | None) -> type[RequestFact]:
    return STATES.get(squeeze(state or "").lower(), RequestMoved)


class StaffMember(VendorModel):
    id: OptionalId = None


class UpdatedField(VendorModel):
    field_name: Text = None
    previous_value: Text = None


class RequestUpdated(VendorModel):
    """A request within an organisation. For a customer's deletion the fields are beside `data` (E11), and `requestId`
    is a placeholder.
    """

    request_tracking_id: OptionalId = None
    request_id: OptionalId = None
    request_type: Text = None
    request_base_type: Text = None
    status: Text = None
    updated_at: Time = None
    created_by: Annotated[EnteredBy, EmptyIfNull] = EnteredBy()
    updated_by: Annotated[StaffMember, EmptyIfNull] = StaffMember()
    customer_id: OptionalId = None
    customer_identifiers: Annotated[CustomerIdentifiers, EmptyIfNull] = CustomerIdentifiers()
    updated_fields: Annotated[tuple[UpdatedField, ...], List] = ()
    comments: Text = None
    reason: Text = None

    def previous_state(self) -> str | None:
        """Return the status before the change, None if the event reports no change of it."""
        return next((field.previous_value for field in self.updated_fields if field.field_name == "status"), None)


def request_updated(event: RequestUpdated, context: EventContext) -> list[Fact]:
    request_id = event.request_tracking_id or event.request_id
    if request_id is None:
        raise ValueError("no request")
    request = context.ref(request_id)
    customer_id = event.customer_identifiers.customer_id or event.customer_id
    customer = context.ref(customer_id) if customer_id else None
    fact_type = _fact_type(event.status)
    facts: list[Fact] = [
        fact_type(
            request=request,
            request_type=event.request_type,
            base_type=event.request_base_type,
            vendor_status=event.status,
            vendor_status_before=event.previous_state(),
            customer=customer,
            maker=event.created_by.id,
            checker=None if fact_type is RequestOpened else event.updated_by.id,
            has_reason=(event.comments or event.reason) is not None,
        )
    ]
    if customer and fact_type is RequestApproved and _asks_for_deletion(event):
        facts.append(CustomerDeletionApproved(customer=customer, request=request))
    return facts


def _asks_for_deletion(event: RequestUpdated) -> bool:
    request_type = (squeeze(event.request_type or "").upper(), squeeze(event.request_base_type or "").upper())
    return request_type == ("CUSTOMER", "DELETE")


class Redemption(SnakeModel):
    points_redeemed: Figure = None
    transaction_number: OptionalId = None
    external_reference_number: OptionalId = None
    redemption_time: Text = None
    notes: Text = None


class Root(SnakeModel):
    redeem: Annotated[Redemption, EmptyIfNull] = Redemption()


class Trigger(VendorModel):
    reference_id: OptionalId = None


class Body(VendorModel):
    """The request's content. Each type of request uses its own fields. Personal values are not read."""

    root: Annotated[Root, EmptyIfNull] = Root()
    points: Figure = None
    program_id: OptionalId = None
    reference_id: OptionalId = None
    earning_entity_type: Text = None
    earning_entity_id: OptionalId = None
    customer_id: OptionalId = None
    customers: Annotated[tuple[OptionalId, ...], List] = ()
    badge_meta_id: OptionalId = None
    triggered_by: Annotated[Trigger, EmptyIfNull] = Trigger()
    label: Text = None
    reason: Text = None

    def customer_ids(self) -> Iterator[str]:
        """Yield the customers' ids. Their organisation is unknown."""
        if self.customer_id:
            yield self.customer_id
        if self.earning_entity_id and (self.earning_entity_type or "").upper() == "CUSTOMER":
            yield self.earning_entity_id
        for customer in self.customers:
            if customer:
                yield customer


class Attributes(VendorModel):
    body: Annotated[Body, EmptyIfNull] = Body()


class RequestWorkflowEvent(VendorModel):
    request_id: OptionalId = None
    request_type: Text = None
    requester_id: OptionalId = None
    checker_id: OptionalId = None
    current_request_state: Text = None
    previous_request_state: Text = None
    update_time: Time = None
    comment: Text = None
    reason: Text = None
    request_attributes: Annotated[Attributes, EmptyIfNull] = Attributes()


def request_workflow_event(event: RequestWorkflowEvent, context: EventContext) -> list[Fact]:
    """Only the state decides. A request may fail with the comment "approving …" (trap 26).

    Customers' ids are not linked, since orgId 0 is no organisation (domain §1.3).
    """
    if event.request_id is None:
        raise ValueError("no request")
    body = event.request_attributes.body
    redemption = body.root.redeem
    return [
        _fact_type(event.current_request_state)(
            request=context.ref(event.request_id),
            request_type=event.request_type,
            vendor_status=event.current_request_state,
            vendor_status_before=event.previous_request_state,
            customer_ids=tuple(body.customer_ids()),
            maker=event.requester_id,
            checker=event.checker_id,
            programme=body.program_id,
            points=redemption.points_redeemed if body.points is None else body.points,
            badge=body.badge_meta_id,
            requested_status=body.label,
            reference=redemption.external_reference_number or body.reference_id or body.triggered_by.reference_id,
            transaction_number=redemption.transaction_number,
            redeemed_local=redemption.redemption_time,
            has_reason=any((event.comment, event.reason, body.reason, redemption.notes)),
        )
    ]


KINDS: dict[str, EventType[Any]] = {
    "requestUpdated": EventType(RequestUpdated, request_updated, occurred=lambda event: event.updated_at),
    "requestWorkflowEvent": EventType(
        RequestWorkflowEvent, request_workflow_event, occurred=lambda event: event.update_time
    ),
}
