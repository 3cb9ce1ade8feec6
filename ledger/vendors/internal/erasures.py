"""Our word that a person was forgotten: the keys of what was sealed of them are destroyed."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from ledger.facts import Fact
from ledger.facts.customers import CustomerErased
from ledger.vendors.fields import StrictModel, Text
from ledger.vendors.vendor import EventContext, EventType


class ErasurePayload(StrictModel):
    customers: Annotated[tuple[str, ...], BeforeValidator(tuple)]
    by: Text = None


def customer_erased(event: ErasurePayload, _context: EventContext) -> Sequence[Fact]:
    """Why is sealed with the event: under the person's own key it could be read by nobody."""
    return [CustomerErased(customer=customer, by=event.by) for customer in event.customers]


KINDS: dict[str, EventType[Any]] = {"customerErased": EventType(ErasurePayload, customer_erased)}
