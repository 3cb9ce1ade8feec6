"""Capillary's merges: the victim becomes the survivor, who then holds the points of both (trap 23).

The event has no id. Its reference, its time and the victim identify it, because a customer is merged only once.
"""

from typing import Annotated, Any

from ledger.facts import Fact
from ledger.facts.customers import CustomersMerged
from ledger.facts.merges import (
    HolderMerged,
    HolderMergedAway,
    ProgrammeClaim,
    TierAfterMerge,
    TierMergedAway,
)
from ledger.vendors.capillary.customers import customer_of
from ledger.vendors.capillary.people import CustomerIdentifiers
from ledger.vendors.fields import Figure, Id, List, OptionalId, VendorModel
from ledger.vendors.vendor import EventContext, EventType


class ProgrammeSummary(VendorModel):
    loyalty_program_id: Id
    current_points: Figure = None
    lifetime_points: Figure = None
    promised_points: Figure = None
    tier_number: OptionalId = None


class LoyaltyCustomerMerge(VendorModel):
    survivor_customer_identifiers: CustomerIdentifiers
    victim_customer_identifiers: CustomerIdentifiers
    survivor_customer_loyalty_summary: Annotated[tuple[ProgrammeSummary, ...], List] = ()


def loyalty_customer_merge(event: LoyaltyCustomerMerge, context: EventContext) -> list[Fact]:
    """Return facts about both customers and both holders.

    The survivor's summary is a claim about points. For tiers it is the result, and the victim's tiers in these
    programmes end. Raises ValueError if both customers are the same.
    """
    survivor = customer_of(event.survivor_customer_identifiers, context)
    victim = customer_of(event.victim_customer_identifiers, context)
    if survivor == victim:
        raise ValueError("a customer merged with itself")
    summary = event.survivor_customer_loyalty_summary
    facts: list[Fact] = [
        CustomersMerged(customer=victim, role="victim", other=survivor),
        CustomersMerged(customer=survivor, role="survivor", other=victim),
        HolderMergedAway(holder=victim, survivor=survivor),
        HolderMerged(holder=survivor, victim=victim, claims=tuple(_claim(line) for line in summary)),
    ]
    facts += [
        TierAfterMerge(customer=survivor, programme=line.loyalty_program_id, tier=line.tier_number)
        for line in summary
        if line.tier_number
    ]
    facts += [TierMergedAway(customer=victim, programme=line.loyalty_program_id, survivor=survivor) for line in summary]
    return facts


def _claim(line: ProgrammeSummary) -> ProgrammeClaim:
    return ProgrammeClaim(
        programme=line.loyalty_program_id,
        available=line.current_points,
        lifetime=line.lifetime_points,
        promised=line.promised_points,
        tier=line.tier_number,
    )


KINDS: dict[str, EventType[Any]] = {
    "loyaltyCustomerMerge": EventType(LoyaltyCustomerMerge, loyalty_customer_merge),
}
