"""Facts about customers: that one joined, changed, was merged, is to be forgotten.

Which kinds of identifiers a customer was named by is a fact; the identifiers themselves are personal and never are.
"""

from datetime import datetime

import msgspec

from ledger.facts.fact import Fact


class CustomerFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one customer."""

    subject_kind = "customer"

    customer: str

    @property
    def subject(self) -> str:
        return self.customer


class CustomerDescribed(CustomerFact, frozen=True, kw_only=True, omit_defaults=True):
    """What the source says of a customer; what it leaves out is not said to be empty.

    `entered_at` is the time the source claims for it, often local time taken for another zone: `entered_in_future` says
    that it lies after the event that tells it.
    """

    loyalty_type: str | None = None
    source: str | None = None
    identifiers: tuple[str, ...] = ()  # kinds, sorted: "email", "externalId", "mobile", "wechat" …
    entered_at: datetime | None = None
    entered_in_future: bool = False
    store: str | None = None
    till: str | None = None


class CustomerAdded(CustomerDescribed, frozen=True, kw_only=True, omit_defaults=True):
    """The customer joined, or was registered without joining."""

    rank = 10


class CustomerUpdated(CustomerDescribed, frozen=True, kw_only=True, omit_defaults=True):
    """The customer's details or status changed; `status` is the source's label, `fields` the names of what changed."""

    rank = 20
    status: str | None = None
    previous_status: str | None = None
    fields: tuple[str, ...] = ()


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """One channel and purpose, and whether the customer may be written to: the words are the source's."""

    channel: str
    status: str
    priority: str | None = None  # such as "TRANSACTIONAL" or "BULK"


class CustomerSubscribed(CustomerFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer's consent to messages changed, by channel."""

    rank = 30
    subscriptions: tuple[Subscription, ...]


class CustomerDeletionApproved(CustomerFact, frozen=True, kw_only=True, omit_defaults=True):
    """The request to delete the customer's personal data was approved: these are to be erased."""

    rank = 40
    request: str


class CustomerErased(CustomerFact, frozen=True, kw_only=True, omit_defaults=True):
    """What was sealed of the customer can be opened by nobody any more."""

    rank = 45
    by: str | None = None  # a key or a request; why is sealed in the event


class CustomersMerged(CustomerFact, frozen=True, kw_only=True, omit_defaults=True):
    """Two customers became one: the victim is now known as the survivor. Told of each of them, with the other."""

    rank = 50
    role: str  # "victim" or "survivor"
    other: str


class CustomersUnmerged(CustomerFact, frozen=True, kw_only=True, omit_defaults=True):
    """We undid a merge: two customers again. Told of each of them, with the other."""

    rank = 51
    role: str  # "victim" or "survivor"
    other: str


FACTS: tuple[type[Fact], ...] = (
    CustomerAdded,
    CustomerUpdated,
    CustomerSubscribed,
    CustomerDeletionApproved,
    CustomerErased,
    CustomersMerged,
    CustomersUnmerged,
)
