"""Our own events: acts of this system that change what it shows, appended to the ledger like anybody's.

Each is written by this software only, as {"event", "id", "at", ...}; no connection can be made for this source. Who
asked for an act and why is free text, and sealed: with the customer it is about, named by ref, else with the event.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from ledger.parsing import Document
from ledger.vendors.fields import as_time
from ledger.vendors.internal import adjustments, attestations, erasures, periods, policies, refunds, unmerges
from ledger.vendors.internal.programme_terms import TermsSetPayload, programme_terms_set
from ledger.vendors.personal_fields import ANYWHERE, COMMON_KEYS, PersonalFields
from ledger.vendors.vendor import NO_ORG, EventType, Identity, ParsedEvent, Vendor

SOURCE = "loyalty"

KINDS: dict[str, EventType[Any]] = {
    **erasures.KINDS,
    **adjustments.KINDS,
    **refunds.KINDS,
    **unmerges.KINDS,
    **periods.KINDS,
    **attestations.KINDS,
    **policies.KINDS,
    "programmeTermsSet": EventType(TermsSetPayload, programme_terms_set),
}


def parse_internal(document: Document, _kind: str | None) -> list[ParsedEvent] | None:
    body = document.value
    if not isinstance(body, dict) or not isinstance(body.get("event"), str) or not isinstance(body.get("id"), str):
        return None
    occurred_at: datetime | None = as_time(body.get("at"))
    return [ParsedEvent(body["event"], NO_ORG, occurred_at, body, partial(_identity, body))]


def _identity(body: dict[str, Any]) -> Identity:
    """Nothing of it is how it was dispatched: each act is written once, and its time belongs to it."""
    return Identity(("id", body["id"]), body)


def customer_ref(_key: str, structure: Mapping[str, Any]) -> str | None:
    customer = structure.get("customer")
    return customer if isinstance(customer, str) else None


INTERNAL = Vendor(
    name=SOURCE,
    parse_envelope=parse_internal,
    kinds=KINDS,
    personal=PersonalFields(
        {**COMMON_KEYS, "author": ANYWHERE, "reason": ANYWHERE},
        customer_ref,
        person_keys=frozenset({"customer"}),
        person_is_ref=True,
    ),
    scheme="none",
    header="",
)
