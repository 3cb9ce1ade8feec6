"""Internal events: changes that this system records itself, in the same ledger as the vendors' events.

Only this software writes them, as {"event", "id", "at", ...}. No connection can be created for this source. The author
and the reason are free text and encrypted: under the key of the customer that the event names by ref, else of the
event.
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
    """Return the single event of a body, None if it has no event name or no id."""
    body = document.value
    if not isinstance(body, dict) or not isinstance(body.get("event"), str) or not isinstance(body.get("id"), str):
        return None
    occurred_at: datetime | None = as_time(body.get("at"))
    return [ParsedEvent(body["event"], NO_ORG, occurred_at, body, partial(_identity, body))]


def _identity(body: dict[str, Any]) -> Identity:
    """The whole body is content, with its time, because each internal event is written once."""
    return Identity(("id", body["id"]), body)


def customer_ref(_key: str, structure: Mapping[str, Any]) -> str | None:
    """Return the ref of the customer that a structure names."""
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
