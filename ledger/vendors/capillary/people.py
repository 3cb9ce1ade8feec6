"""The customer of a Capillary event, and the entity that holds the points."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

from ledger.vendors.capillary.enums import EmptyIfNull
from ledger.vendors.fields import Figure, List, OptionalId, Text, VendorModel, as_id, as_text, as_time, squeeze
from ledger.vendors.vendor import EventContext

TIME_CHARACTERS = len("2024-01-13T10:24:01.000000")  # without the zone


class CustomerIdentifiers(VendorModel):
    customer_id: OptionalId = None


class Entity(VendorModel):
    """The account holder: a user, or a group of users who share a balance."""

    entity_type: Text = None
    entity_id: OptionalId = None
    is_readable: bool = True

    @property
    def is_group(self) -> bool:
        return "GROUP" in (self.entity_type or "").upper()


def as_entity(value: Any) -> Any:
    """Mark an entity that is present and unreadable. Without the mark, the event could change another account."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if not isinstance(value, dict):
        return {"isReadable": False}
    is_readable = True
    try:
        if "GROUP" in (as_text(value.get("entityType")) or "").upper():
            as_id(value.get("entityId"))
    except ValueError:
        is_readable = False
    return {**value, "isReadable": is_readable}


class KeyValue(VendorModel):
    key: Text = None
    value: OptionalId = None


class Activity(VendorModel):
    """The activity of the customer or the store that triggered the event."""

    name: Text = None
    identifiers: Annotated[list[KeyValue], List] = []

    def identifier(self, name: str) -> str | None:
        """Return an identifier by its name in lower case, without regard to the vendor's case and blanks."""
        for pair in self.identifiers:
            key = pair.key
            if key and len(key) >= len(name) and squeeze(key).lower() == name:
                return pair.value
        return None


def bill_fields(activity: Activity) -> dict[str, Any]:
    """Return the bill of an activity as fields of a fact: id and number."""
    return {"bill": activity.identifier("billid"), "bill_number": activity.identifier("billnumber")}


class Envelope(VendorModel):
    """The fields around `data` that facts use."""

    event_id: OptionalId = None
    ref_id: OptionalId = None
    loyalty_event_id: OptionalId = None
    api_request_id: OptionalId = None
    created_at: OptionalId = None

    def change_fields(self, context: EventContext, *parts: str | None, change_id: str | None = None) -> dict[str, Any]:
        """Return `change` and `also` of a fact. `change` is the business key: several reports with the same key count
        once.

        The key is the first of these that the event has:

        1. `change_id`: the change's own id, such as redemptionId.
        2. The loyalty event id.
        3. The reference (organisation and loyalty event id), with the time.
        4. The request id, with the time.

        `also` holds the next key after `change_id`, or the reference without the time.

        `parts` distinguish changes of one loyalty event: programme, unit, bill. The time is always the vendor's, even
        if it is impossible, because the recorded time differs between reports.
        """
        time = self.vendor_time(context)
        if self.loyalty_event_id:
            names = [self.loyalty_event_id]
        elif self.ref_id:
            bare = self.ref_id.removeprefix(f"{context.org}_")
            names = [f"{bare}~{time}", bare]
        else:
            names = [f"{self.api_request_id}~{time}"] if self.api_request_id else []
        keys = [context.ref("~".join((name, *(part for part in parts if part)))) for name in names]
        if change_id is not None:
            keys = [change_id, *(key for key in keys[:1] if key != change_id)]
        return {"change": keys[0], "also": tuple(keys[1:])} if keys else {}

    def vendor_time(self, context: EventContext) -> str:
        """Return the vendor's time as it is used in names, else the event's time."""
        return _vendor_time(self.created_at) or _time_in_name(context.occurred_at)


def _vendor_time(created_at: str | None) -> str | None:
    """Return the vendor's time for a name. An impossible time is used as written."""
    if created_at is None:
        return None
    time = as_time(created_at)
    return created_at if time is None else _time_in_name(time)


def _time_in_name(time: datetime) -> str:
    """Format a time in UTC for a name: 20240113T102401.000000. `strftime` takes five times as long."""
    return time.isoformat(timespec="microseconds")[:TIME_CHARACTERS].replace("-", "").replace(":", "")


class ProgrammeDetails(VendorModel):
    """The programme of an event. Its name and tiers are read only if somebody asks for them; see tiers.py."""

    points_to_currency_ratio: Figure = None


class CustomerEvent(VendorModel):
    """The fields of all events about a customer's membership."""

    envelope: Envelope
    loyalty_program_details: Annotated[ProgrammeDetails, EmptyIfNull] = ProgrammeDetails()
    customer_identifiers: CustomerIdentifiers = CustomerIdentifiers()
    entity_information: Annotated[Entity | None, BeforeValidator(as_entity)] = None
    triggering_activity: Annotated[Activity, BeforeValidator(lambda value: value or {})] = Activity()

    def customer(self, context: EventContext) -> str:
        """Return the ref of the customer, or of the group if the event names no member of it.

        Raises ValueError if the event names neither.
        """
        customer = self.customer_identifiers.customer_id or self._user()
        if customer is not None:
            return context.ref(customer)
        group = group_holder(context, self.entity_information)
        if group is None:
            raise ValueError("no customer")
        return group

    def holder(self, context: EventContext) -> str:
        """Return the ref of the holder of the points: the group if the entity is a group, else the customer.

        Some samples have placeholders (`"entityType": "entityType"`), so only a type that names a group counts.
        """
        return group_holder(context, self.entity_information) or self.customer(context)

    @property
    def ratio(self) -> Decimal | None:
        """The worth of one point at the time of the event, in the programme's currency."""
        return self.loyalty_program_details.points_to_currency_ratio

    def _user(self) -> str | None:
        entity = self.entity_information
        return entity.entity_id if entity and (entity.entity_type or "").upper() == "USER" else None


def group_holder(context: EventContext, entity: Entity | None) -> str | None:
    """Return the ref of a group, None if the entity is no group. Raises ValueError if the entity is unreadable."""
    if entity is not None and not entity.is_readable:
        raise ValueError("entityInformation cannot be read, so the account is unknown")
    if entity is None or entity.entity_id is None or not entity.is_group:
        return None
    return context.ref(f"group~{entity.entity_id}")
