"""Customers: since when each is known, in which status, and which customers were merged.

1. No identifier of a person is stored, only the kinds of identifiers that events named.
2. Customers are merged only if the source reports a merge. A shared phone number or e-mail address is no proof
   (docs/domain.md, table (b)).
"""

from datetime import datetime
from typing import Annotated

import msgspec

from ledger.facts import Occurrence
from ledger.facts.customers import (
    CustomerAdded,
    CustomerDeletionApproved,
    CustomerDescribed,
    CustomerErased,
    CustomersMerged,
    CustomerSubscribed,
    CustomersUnmerged,
    CustomerUpdated,
)
from projections.definition import Projection, Rows, State
from projections.field_updates import update_stated
from projections.tables import Identifier, Position, PreviousOwners, StateOnly, Table, row_from

DELETED = "deleted"  # label in lower case with which a source reports a deleted customer


class Customer(State):
    status: Annotated[str | None, "the source's label, as last reported"] = None
    status_since: datetime | None = None
    loyalty_type: str | None = None
    source: Annotated[str | None, "the channel through which the customer joined"] = None
    identifiers: Annotated[list[str], "kinds of identifiers named so far, sorted"] = []
    store: Annotated[str | None, "where the customer joined"] = None
    till: str | None = None
    added: StateOnly[bool] = False
    joined_at: datetime | None = None
    updated_at: datetime | None = None
    status_by_channel: StateOnly[dict[str, str]] = msgspec.field(default_factory=dict)
    deletion_approved_at: datetime | None = None
    deletion_request: Identifier | None = None
    erased_at: Annotated[datetime | None, "last; personal data encrypted before it cannot be decrypted"] = None
    deleted_at: Annotated[datetime | None, "the source reported that it deleted the customer"] = None
    merged_into: Identifier | None = None
    merged_at: datetime | None = None
    merged_from: list[str] = []
    survivors: StateOnly[list[str]] = []  # all ever reported for this customer
    last_position: Position = 0


class CustomerRow(Customer, kw_only=True):
    """Customers: status, enrolment, merges, subscriptions and erasure. No personal values."""

    subscriptions: Annotated[list[str], "'channel status', with the purpose if there is one: 'SMS BULK SUBSCRIBED'"]
    incomplete: Annotated[bool, "no joining was recorded"]
    previous_owners: Annotated[PreviousOwners, "other survivors ever reported; null if there are none"]


CUSTOMERS_TABLE = Table(
    "customers",
    CustomerRow,
    {
        "status": "(ledger_id, status, subject)",
        "store": "(ledger_id, store, subject)",
        "loyalty_type": "(ledger_id, loyalty_type, subject)",
        "to_erase": "(ledger_id, subject) WHERE deletion_approved_at IS NOT NULL",
        "merged_into": "(ledger_id, merged_into) WHERE merged_into IS NOT NULL",
        "merged": "(ledger_id, subject) WHERE merged_into IS NOT NULL",
        "erased": "(ledger_id, subject) WHERE erased_at IS NOT NULL",
        "flagged": "(ledger_id, subject) WHERE incomplete",
    },
)


def add(customer: Customer, fact: CustomerAdded, occurrence: Occurrence) -> None:
    """The customer joined. The stated time counts, unless it is later than the event (docs/domain.md §1.5)."""
    _update_details(customer, fact, occurrence)
    customer.store = customer.store or fact.store
    customer.till = customer.till or fact.till
    if customer.added:
        return
    customer.added = True
    stated = None if fact.entered_in_future else fact.entered_at
    customer.joined_at = stated or occurrence.occurred_at


def update(customer: Customer, fact: CustomerUpdated, occurrence: Occurrence) -> None:
    """The customer's details or status changed. Fields left out keep their values."""
    _update_details(customer, fact, occurrence)
    customer.updated_at = occurrence.occurred_at
    if fact.status is None:
        return
    if fact.status != customer.status:
        customer.status = fact.status
        customer.status_since = occurrence.occurred_at
    if fact.status.lower() == DELETED and customer.deleted_at is None:
        customer.deleted_at = occurrence.occurred_at


def subscribe(customer: Customer, fact: CustomerSubscribed, occurrence: Occurrence) -> None:
    """The customer's consent to messages changed, by channel."""
    _update_position(customer, occurrence)
    for line in fact.subscriptions:
        customer.status_by_channel[f"{line.channel} {line.priority}" if line.priority else line.channel] = line.status


def approve_deletion(customer: Customer, fact: CustomerDeletionApproved, occurrence: Occurrence) -> None:
    """The deletion of personal data was approved. The first approval counts."""
    _update_position(customer, occurrence)
    if customer.deletion_approved_at is None:
        customer.deletion_approved_at = occurrence.occurred_at
        customer.deletion_request = fact.request


def erase(customer: Customer, _fact: CustomerErased, occurrence: Occurrence) -> None:
    """The customer's personal data was erased."""
    _update_position(customer, occurrence)
    customer.erased_at = occurrence.occurred_at


def merge(customer: Customer, fact: CustomersMerged, occurrence: Occurrence) -> None:
    """Two customers were merged. A victim has one survivor, the first reported; a survivor may have many victims."""
    _update_position(customer, occurrence)
    if fact.role == "survivor":
        customer.merged_from = sorted({*customer.merged_from, fact.other})
        return
    customer.survivors = sorted({*customer.survivors, fact.other})
    if customer.merged_into is None:
        customer.merged_into = fact.other
        customer.merged_at = occurrence.occurred_at


def unmerge(customer: Customer, fact: CustomersUnmerged, occurrence: Occurrence) -> None:
    """A merge was undone. The customers are separate again."""
    _update_position(customer, occurrence)
    if fact.role == "survivor":
        customer.merged_from = [victim for victim in customer.merged_from if victim != fact.other]
    elif customer.merged_into == fact.other:
        customer.merged_into = customer.merged_at = None


def _update_details(customer: Customer, fact: CustomerDescribed, occurrence: Occurrence) -> None:
    _update_position(customer, occurrence)
    update_stated(customer, fact, "loyalty_type", "source")
    if not set(fact.identifiers) <= set(customer.identifiers):
        customer.identifiers = sorted({*customer.identifiers, *fact.identifiers})


def _update_position(customer: Customer, occurrence: Occurrence) -> None:
    customer.last_position = max(customer.last_position, occurrence.position)


def customer_rows(_subject: str, customer: Customer) -> Rows:
    row = row_from(
        customer,
        CustomerRow,
        subscriptions=[f"{channel} {status}" for channel, status in sorted(customer.status_by_channel.items())],
        incomplete=not customer.added,
        previous_owners=[survivor for survivor in customer.survivors if survivor != customer.merged_into] or None,
    )
    return {"customers": [row]}


CUSTOMERS = Projection(
    name="customers",
    version=5,
    subject="customer",
    start=Customer,
    on={
        CustomerAdded: add,
        CustomerUpdated: update,
        CustomerSubscribed: subscribe,
        CustomerDeletionApproved: approve_deletion,
        CustomerErased: erase,
        CustomersMerged: merge,
        CustomersUnmerged: unmerge,
    },
    rows=customer_rows,
    tables=(CUSTOMERS_TABLE,),
    customers=("subject", "merged_into"),
    is_served=False,
)
