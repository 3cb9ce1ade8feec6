"""Capillary's cards: a card's status or fields changed. The event names no customer (trap 35).

A card is known by its number within the organisation: the vendor gives it no other key, so the number stays as the
subject's id, as a pseudonym does. Whose card it is only the customer's own events say, and there it is cut out.
Values of custom and extended fields are whatever the brand put in; only their names are told.
"""

from typing import Annotated, Any

from ledger.facts import Fact
from ledger.facts.cards import CardUpdated
from ledger.vendors.capillary.enums import enum_value
from ledger.vendors.fields import Id, List, Text, VendorModel
from ledger.vendors.vendor import EventContext, EventType

# Labels beyond these are the brand's own.
STATUSES = frozenset({"ACTIVE", "INACTIVE", "SUSPENDED", "EXPIRED", "DELETED", "NOT_ISSUED"})


class CardField(VendorModel):
    name: Text = None
    key: Text = None  # what the vendor calls the name in newer events


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
