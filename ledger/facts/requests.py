"""Facts about requests: one person asks for points, a badge or a deletion, and another approves or rejects it.

An approval changes nothing by itself. Separate events report the resulting points, badges and deletions.
"""

from decimal import Decimal

from msgspec import field

from ledger.facts.fact import Fact


class RequestFact(Fact, frozen=True, kw_only=True, omit_defaults=True):
    """A fact about one request. `maker` and `checker` are ids of staff.

    `customer` is a customer of the request's organisation. `customer_ids` come from requests outside any organisation.
    Their organisation is unknown, so they are not linked to customers.
    """

    subject_kind = "request"

    request: str
    request_type: str | None = None
    base_type: str | None = None
    vendor_status: str | None = field(default=None, name="vendor_state")
    vendor_status_before: str | None = field(default=None, name="vendor_state_before")
    customer: str | None = None
    customer_ids: tuple[str, ...] = ()
    maker: str | None = None
    checker: str | None = None
    programme: str | None = None
    points: Decimal | None = None  # requested points; a request moves no points
    badge: str | None = None
    requested_status: str | None = field(default=None, name="status_wanted")  # the requested label of the customer
    reference: str | None = None  # the requester's reference, which the resulting event may repeat
    transaction_number: str | None = None
    redeemed_local: str | None = None  # the time of the requested redemption, without a zone, as written
    has_reason: bool = False  # a reason, comment or note; only the event holds its text

    @property
    def subject(self) -> str:
        return self.request


class RequestOpened(RequestFact, frozen=True, kw_only=True, omit_defaults=True):
    """The request waits for a decision."""

    rank = 10


class RequestMoved(RequestFact, frozen=True, kw_only=True, omit_defaults=True):
    """The request is in a state that is not in our vocabulary. The vendor's name of the state is kept."""

    rank = 15


class RequestApproved(RequestFact, frozen=True, kw_only=True, omit_defaults=True):
    """The request was approved."""

    rank = 20


class RequestRejected(RequestFact, frozen=True, kw_only=True, omit_defaults=True):
    """The request was rejected."""

    rank = 21


class RequestFailed(RequestFact, frozen=True, kw_only=True, omit_defaults=True):
    """The request could not be carried out. It may have been approved before."""

    rank = 22


FACTS: tuple[type[Fact], ...] = (
    RequestOpened,
    RequestMoved,
    RequestApproved,
    RequestRejected,
    RequestFailed,
)
