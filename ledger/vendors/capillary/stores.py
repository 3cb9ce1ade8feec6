"""Where and when something was entered, as Capillary says it: store, till, and a time that is not to be trusted.

`enteredAt` is often local time taken for another zone, hours after the event that tells it, or midnight of a day
(domain §1.5). So nothing is ordered by it: it is kept as a claim, and flagged where it cannot be true.
"""

from datetime import datetime
from typing import Annotated, NamedTuple

from ledger.vendors.capillary.enums import EmptyIfNull
from ledger.vendors.fields import OptionalId, Time, VendorModel
from ledger.vendors.vendor import EventContext


class StoreOrTill(VendorModel):
    """A store or a till. Its code is the brand's; its name is text for people and stays in the payload."""

    code: OptionalId = None


class EnteredBy(VendorModel):
    id: OptionalId = None
    store: Annotated[StoreOrTill, EmptyIfNull] = StoreOrTill()
    till: Annotated[StoreOrTill, EmptyIfNull] = StoreOrTill()


class Entry(NamedTuple):
    """What facts say of an entry."""

    entered_at: datetime | None
    entered_in_future: bool
    store: str | None
    till: str | None


class EnteredEvent(VendorModel):
    """What an event has that somebody entered somewhere."""

    entered_at: Time = None
    entered_by: Annotated[EnteredBy, EmptyIfNull] = EnteredBy()

    def entry(self, context: EventContext) -> Entry:
        """Give what facts say of the entry."""
        return Entry(
            entered_at=self.entered_at,
            entered_in_future=self.entered_at is not None and self.entered_at > context.occurred_at,
            store=self.entered_by.store.code,
            till=self.entered_by.till.code,
        )
