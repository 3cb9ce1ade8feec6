"""Our own events: acts of this system that change what it shows, appended to the ledger like anybody's.

Each is written by this software only, as {"event", "id", "at", ...}; no connection can be made for this source.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator

from ledger.facts import Fact
from ledger.facts.customers import CustomerErased
from ledger.reading import Document
from ledger.vendors.personal import UNKNOWN
from ledger.vendors.shape import SnakeShape, Text, as_time
from ledger.vendors.terms import TermsSet, programme_terms_set
from ledger.vendors.vendor import NO_ORG, Identity, Kind, Member, Stamp, Vendor

SOURCE = "loyalty"


class Erased(SnakeShape):
    """A person was forgotten: the keys of what was sealed of them are destroyed."""

    customers: Annotated[tuple[str, ...], BeforeValidator(tuple)]
    by: Text = None
    reason: Text = None


def customer_erased(event: Erased, _stamp: Stamp) -> Sequence[Fact]:
    return [CustomerErased(customer=customer, by=event.by, reason=event.reason) for customer in event.customers]


KINDS: dict[str, Kind[Any]] = {
    "customerErased": Kind(Erased, customer_erased),
    "programmeTermsSet": Kind(TermsSet, programme_terms_set),
}


def open_own(document: Document, _kind: str | None) -> list[Member] | None:
    body = document.value
    if not isinstance(body, dict) or not isinstance(body.get("event"), str) or not isinstance(body.get("id"), str):
        return None
    occurred_at: datetime | None = as_time(body.get("at"))
    return [Member(body["event"], NO_ORG, occurred_at, body, partial(_identity, body))]


def _identity(body: dict[str, Any]) -> Identity:
    return Identity(("id", body["id"]), {name: value for name, value in body.items() if name != "at"})


OWN = Vendor(
    name=SOURCE,
    open=open_own,
    kinds=KINDS,
    personal=UNKNOWN,
    scheme="none",
    header="",
)
