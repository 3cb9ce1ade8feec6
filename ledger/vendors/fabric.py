"""Fabric: that a coupon or promotion was applied to an order, or no longer is (document 004).

The payload is thin: the details stand behind `callbackUrls`, and no address out of a payload is ever fetched (trap 40).
A delivery holds one or more events.
"""

from functools import partial
from typing import Any

from ledger.facts import Fact
from ledger.facts.redemption_records import (
    RedemptionRecordCreated,
    RedemptionRecordDeleted,
    RedemptionRecordFact,
    RedemptionRecordUpdated,
)
from ledger.parsing import Document
from ledger.vendors.fields import Id, SnakeModel, Text, as_time, squeeze
from ledger.vendors.json_path import id_at, value_at
from ledger.vendors.personal_fields import UNKNOWN_VENDOR
from ledger.vendors.vendor import NO_ORG, EventContext, EventType, Identity, ParsedEvent, Vendor

KIND_CHARACTERS_MAX = 100


class Record(SnakeModel):
    id: Id
    status: Text = None


def record_facts(
    record_kind: str, fact_type: type[RedemptionRecordFact], event: Record, context: EventContext
) -> list[Fact]:
    """Coupons and promotions may share an id (all published samples do), so what it is a record of is part of its
    name."""
    return [fact_type(record=context.ref(f"{record_kind}~{event.id}"), of=record_kind, status=event.status)]


def parse_envelope(document: Document, _kind: str | None) -> list[ParsedEvent] | None:
    """Find the events in a body (envelope E1), one member for each of `events`."""
    value = document.value
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return None
    events = value.get("events")
    if "tenantid" not in value or not isinstance(events, list):
        return None
    kind = squeeze(value["type"]).lower()[:KIND_CHARACTERS_MAX]
    org = id_at(value, "tenantid") or NO_ORG
    return [_parsed_event(kind, org, event) for event in events]


def _parsed_event(kind: str, org: str, event: Any) -> ParsedEvent:
    """All six published samples share the event's id and the record's (domain §1.3): both and the status name it."""
    data = value_at(event, "data")
    data = data if isinstance(data, dict) else {}
    return ParsedEvent(kind, org, as_time(value_at(event, "time")), data, partial(_identity, event, data))


def _identity(event: Any, data: dict[str, Any]) -> Identity:
    event_id = id_at(event, "id")
    if event_id is None:
        return Identity(("data",), event)
    parts = ("id", event_id, id_at(data, "id") or "", id_at(data, "status") or "")
    return Identity(parts, (value_at(event, "time"), _without_addresses(data)))


def _without_addresses(data: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in data.items() if name != "callbackUrls"}


KINDS: dict[str, EventType[Any]] = {
    f"offers:redemption:{record_kind}:{verb}": EventType(Record, partial(record_facts, record_kind, fact_type))
    for record_kind in ("coupon", "promotion")
    for verb, fact_type in (
        ("created", RedemptionRecordCreated),
        ("updated", RedemptionRecordUpdated),
        ("deleted", RedemptionRecordDeleted),
    )
}

FABRIC = Vendor(
    name="fabric",
    parse_envelope=parse_envelope,
    kinds=KINDS,
    personal=UNKNOWN_VENDOR,  # its deliveries name nobody
    scheme="header",
    header="x-webhook-secret",
)
