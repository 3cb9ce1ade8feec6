"""Store, till and time of an entry. Capillary's time of entry is unreliable.

`enteredAt` is often wrong (domain §1.5): local time with a wrong zone, hours after the event, or midnight. So it orders
nothing. It is kept as a claim and flagged if it is impossible.
"""

from datetime import datetime
from typing import Annotated, NamedTuple

from ledger.vendors.capillary.enums import EmptyIfNull
from ledger.vendors.fields import OptionalId, Time, VendorModel
from ledger.vendors.vendor import EventContext


class StoreOrTill(VendorModel):
    """A store or a till. Its code is the brand's. Its name is free text and remains in the payload."""

    code: OptionalId = None


class EnteredBy(VendorModel):
    id: OptionalId = None
    store: Annotated[StoreOrTill, EmptyIfNull] = StoreOrTill()
    till: Annotated[StoreOrTill, EmptyIfNull] = StoreOrTill()


class Entry(NamedTuple):
    """The entry as fields of a fact."""

    entered_at: datetime | None
    entered_in_future: bool
    store: str | None
    till: str | None


class EnteredEvent(VendorModel):
    """The fields of an event that staff entered in a store."""

    entered_at: Time = None
    entered_by: Annotated[EnteredBy, EmptyIfNull] = EnteredBy()

    def entry(self, context: EventContext) -> Entry:
        """Return the entry as fields of a fact."""
        return Entry(
            entered_at=self.entered_at,
            entered_in_future=self.entered_at is not None and self.entered_at > context.occurred_at,
            store=self.entered_by.store.code,
            till=self.entered_by.till.code,
        )
