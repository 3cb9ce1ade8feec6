"""Internal events: an operator undid a merge of two customers."""

from collections.abc import Sequence
from typing import Any

from ledger.facts import Fact
from ledger.facts.customers import CustomersUnmerged
from ledger.facts.merges import HolderUnmerged, TierUnmerged
from ledger.vendors.fields import StrictModel, Text
from ledger.vendors.vendor import EventContext, EventType


class UnmergePayload(StrictModel):
    """The victim and the survivor of the merge. Author and reason are encrypted."""

    customer: str
    survivor: str
    programmes: tuple[str, ...] = ()  # in these the customer's tier ended with the merge
    by: Text = None


def customers_unmerged(event: UnmergePayload, _context: EventContext) -> Sequence[Fact]:
    return [
        CustomersUnmerged(customer=event.customer, role="victim", other=event.survivor),
        CustomersUnmerged(customer=event.survivor, role="survivor", other=event.customer),
        HolderUnmerged(holder=event.customer),
        *(TierUnmerged(customer=event.customer, programme=programme) for programme in event.programmes),
    ]


KINDS: dict[str, EventType[Any]] = {"customersUnmerged": EventType(UnmergePayload, customers_unmerged)}
