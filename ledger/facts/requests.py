"""Facts about requests: one person asks for points, a badge, a deletion; another approves or rejects.

What is approved is not done: the points, badges and deletions themselves are told by events of their own.
"""

from decimal import Decimal

from ledger.facts.fact import Fact


class RequestFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one request: what is asked for, for whom, and by which member of staff (their ids).

    `customer` is a customer of the request's organisation. `customer_ids` are ids that a request outside of any
    organisation names: nobody says whose ids these are, so they link to no customer by themselves.
    """

    subject_kind = "request"

    request: str
    request_type: str | None = None
    base_type: str | None = None
    vendor_state: str | None = None
    vendor_state_before: str | None = None
    customer: str | None = None
    customer_ids: tuple[str, ...] = ()
    maker: str | None = None
    checker: str | None = None
    programme: str | None = None
    points: Decimal | None = None  # asked for; a request moves none
    badge: str | None = None
    status_wanted: str | None = None  # the label a customer is to get
    reference: str | None = None  # the requester's own, by which the resulting event may be found
    transaction_number: str | None = None

    @property
    def subject(self) -> str:
        return self.request


class RequestOpened(RequestFact, frozen=True, kw_only=True, omit_defaults=True):
    """The request waits for a decision."""

    rank = 10


class RequestMoved(RequestFact, frozen=True, kw_only=True, omit_defaults=True):
    """The request is in a state that we have no word for: it is kept as the vendor names it."""

    rank = 15


class RequestApproved(RequestFact, frozen=True, kw_only=True, omit_defaults=True):
    """The request was approved."""

    rank = 20


class RequestRejected(RequestFact, frozen=True, kw_only=True, omit_defaults=True):
    """The request was rejected."""

    rank = 21


class RequestFailed(RequestFact, frozen=True, kw_only=True, omit_defaults=True):
    """The request could not be carried out, though somebody may have meant to approve it."""

    rank = 22


FACTS: tuple[type[Fact], ...] = (
    RequestOpened,
    RequestMoved,
    RequestApproved,
    RequestRejected,
    RequestFailed,
)
