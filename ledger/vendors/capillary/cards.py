"""Capillary's cards: the status or the fields of a card changed. The event names no customer (trap 35).

The vendor gives a card no key except its number. So the number is the subject's id within the organisation, like a
pseudonym. Only the customer's own events name the owner, and there the number is redacted.

The brand chooses the custom and extended fields, so only their names are kept.
"""

from typing import Annotated, Any

from ledger.facts import Fact
from ledger.facts.cards import CardUpdated
from ledger.vendors.capillary.enums import enum_value
from ledger.vendors.fields import Id, List, Text, VendorModel
from ledger.vendors.vendor import EventContext, EventType

# Other labels are the brand's own.
STATUSES = frozenset({"ACTIVE", "INACTIVE", "SUSPENDED", "EXPIRED", "DELETED", "NOT_ISSUED"})


class CardField(VendorModel):
    name: Text = None
    key: Text = None  # the name, in newer events


class CardUpdatedEvent(VendorModel):
    card_number: Id
    current_status_label: Text = None
    previous_status_label: Text = None
    current_extended_fields: Annotated[tuple[CardField, ...], List] | None = None
    current_custom_fields: Annotated[tuple[CardField, ...], List] | None = None


def card_updated(event: CardUpdatedEvent, context: EventContext) -> list[Fact]:
    reported = [fields for fields in (event.current_extended_fields, event.current_custom_fields) if fields is not None]
    names = {field.name or field.key for fields in reported for field in fields}
    return [
        CardUpdated(
            card=context.ref(event.card_number),
            status=enum_value(event.current_status_label, STATUSES),
            previous_status=enum_value(event.previous_status_label, STATUSES),
            fields=tuple(sorted(name for name in names if name)) if reported else None,
        )
    ]


KINDS: dict[str, EventType[Any]] = {
    "cardUpdated": EventType(CardUpdatedEvent, card_updated),
}
