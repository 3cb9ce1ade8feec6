"""Fabric: a coupon or promotion was applied to an order, or the application was changed or deleted (document 004).

The payload has few details. The others are behind `callbackUrls`, and we never fetch an address from a payload (trap
40). A delivery holds one or more events.
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
    """Return the fact of a record. The kind of record is part of its name: a coupon and a promotion may share an id.
    All published samples do.
    """
    return [fact_type(record=context.ref(f"{record_kind}~{event.id}"), record_type=record_kind, status=event.status)]


def parse_envelope(document: Document, _kind: str | None) -> list[ParsedEvent] | None:
    """Return the events of a body in envelope E1, one for each element of `events`."""
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
    """The published samples share the ids of event and record (domain §1.3). So both ids and the status identify an
    event.
    """
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
    personal=UNKNOWN_VENDOR,  # its deliveries name no person
    scheme="header",
    header="x-webhook-secret",
)
