"""Who a Capillary event is about: the customer, and the entity that holds the points."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from ledger.vendors.fields import List, OptionalId, Text, VendorModel, as_id, as_text, as_time, squeeze
from ledger.vendors.vendor import EventContext

TIME_IN_NAMES = "%Y%m%dT%H%M%S.%f"


class CustomerIdentifiers(VendorModel):
    customer_id: OptionalId = None


class Entity(VendorModel):
    """The account holder: a user, or a group of users who share one balance."""

    entity_type: Text = None
    entity_id: OptionalId = None
    is_readable: bool = True

    @property
    def is_group(self) -> bool:
        return "GROUP" in (self.entity_type or "").upper()


def as_entity(value: Any) -> Any:
    """Mark an entity that is there and cannot be read: whoever asks it for the account must not take another's."""
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
    """What the customer or the store did that made Capillary send the event."""

    name: Text = None
    identifiers: Annotated[list[KeyValue], List] = []

    def identifier(self, name: str) -> str | None:
        """Find an identifier by name, whatever its case and blanks."""
        for pair in self.identifiers:
            if pair.key and squeeze(pair.key).lower() == name:
                return pair.value
        return None


def bill_fields(activity: Activity) -> dict[str, Any]:
    """Name the bill of an activity, by id and number, as facts do."""
    return {"bill": activity.identifier("billid"), "bill_number": activity.identifier("billnumber")}


class Envelope(VendorModel):
    """The fields around `data` that facts use."""

    event_id: OptionalId = None
    ref_id: OptionalId = None
    loyalty_event_id: OptionalId = None
    api_request_id: OptionalId = None
    created_at: OptionalId = None

    def change_fields(self, context: EventContext, *parts: str | None, change_id: str | None = None) -> dict[str, Any]:
        """Return `change` and `also` of a fact: the business key by which reports of one change count once.

        `own` is the change's own id, where the vendor gives one (redemptionId). Else the loyalty event id names it;
        without that, the reference (organisation and loyalty event id) or the request id, each with the time. `parts`
        tell apart changes of one loyalty event: programme, unit, bill.

        The time is the vendor's own, also where it cannot be true: the recorded time differs from report to report.
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
        """Return the vendor's time as names hold it; the event's own where the vendor gives none."""
        return _vendor_time(self.created_at) or f"{context.occurred_at:{TIME_IN_NAMES}}"


def _vendor_time(created_at: str | None) -> str | None:
    """Write the vendor's time for a name: as it stands where it is no time that can be true."""
    if created_at is None:
        return None
    time = as_time(created_at)
    return created_at if time is None else f"{time:{TIME_IN_NAMES}}"


class CustomerEvent(VendorModel):
    """What every event about a customer's membership carries."""

    envelope: Envelope
    customer_identifiers: CustomerIdentifiers = CustomerIdentifiers()
    entity_information: Annotated[Entity | None, BeforeValidator(as_entity)] = None
    triggering_activity: Annotated[Activity, BeforeValidator(lambda value: value or {})] = Activity()

    def customer(self, context: EventContext) -> str:
        """Name the customer, or the group where the event is about one and names none of its members.

        Raises ValueError if the event names nobody.
        """
        customer = self.customer_identifiers.customer_id or self._user()
        if customer is not None:
            return context.ref(customer)
        group = group_holder(context, self.entity_information)
        if group is None:
            raise ValueError("no customer")
        return group

    def holder(self, context: EventContext) -> str:
        """Name who holds the points: the customer, or the group where the entity is one.

        Placeholders stand in some entities (`"entityType": "entityType"`), so only a type that names a group counts.
        """
        return group_holder(context, self.entity_information) or self.customer(context)

    def _user(self) -> str | None:
        entity = self.entity_information
        return entity.entity_id if entity and (entity.entity_type or "").upper() == "USER" else None


def group_holder(context: EventContext, entity: Entity | None) -> str | None:
    """Name the group of an entity, None if it is no group. Raises ValueError if that cannot be read."""
    if entity is not None and not entity.is_readable:
        raise ValueError("entityInformation cannot be read, and it says whose account it is")
    if entity is None or entity.entity_id is None or not entity.is_group:
        return None
    return context.ref(f"group~{entity.entity_id}")
