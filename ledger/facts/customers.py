"""Facts about customers: joined, changed, merged, erased.

A fact names the kinds of identifiers that a customer has. The identifiers themselves are personal and never in a fact.
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
    """A customer's details as the source reports them. A missing detail is unknown, not empty.

    `entered_at` is the time that the source claims. It is often local time with a wrong zone. `entered_in_future` is
    true if it is after the event.
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
    """The customer's details or status changed. `status` is the source's label, `fields` the names of the changed
    fields.
    """

    rank = 20
    status: str | None = None
    previous_status: str | None = None
    fields: tuple[str, ...] = ()


class Subscription(msgspec.Struct, frozen=True, omit_defaults=True):
    """The customer's consent for one channel and purpose, in the source's words."""

    channel: str
    status: str
    priority: str | None = None  # such as "TRANSACTIONAL" or "BULK"


class CustomerSubscribed(CustomerFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer's consent to messages changed, by channel."""

    rank = 30
    subscriptions: tuple[Subscription, ...]


class CustomerDeletionApproved(CustomerFact, frozen=True, kw_only=True, omit_defaults=True):
    """A request to delete the customer's personal data was approved. These data are then erased."""

    rank = 40
    request: str


class CustomerErased(CustomerFact, frozen=True, kw_only=True, omit_defaults=True):
    """The customer's encryption key was destroyed. The customer's personal data can never be decrypted again."""

    rank = 45
    by: str | None = None  # id of an API key or of a request; the reason is encrypted in the event


class CustomersMerged(CustomerFact, frozen=True, kw_only=True, omit_defaults=True):
    """Two customers became one: the survivor replaces the victim. Both customers get a fact, with the other's id."""

    rank = 50
    role: str  # "victim" or "survivor"
    other: str


class CustomersUnmerged(CustomerFact, frozen=True, kw_only=True, omit_defaults=True):
    """An operator undid a merge. Both customers get a fact, with the other's id."""

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
