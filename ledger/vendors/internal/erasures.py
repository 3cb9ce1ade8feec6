"""Internal events: a person was erased. The keys of the person's encrypted values were destroyed."""

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
    """The reason is encrypted with the event. Under the person's own key nobody could read it."""
    return [CustomerErased(customer=customer, by=event.by) for customer in event.customers]


KINDS: dict[str, EventType[Any]] = {"customerErased": EventType(ErasurePayload, customer_erased)}
