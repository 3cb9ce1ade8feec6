"""The definition of a vendor: its envelopes, and for each kind of event the model and the facts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

from ledger.facts import Fact
from ledger.facts.fact import quote_id
from ledger.parsing import Document
from ledger.vendors.fields import VendorModel
from ledger.vendors.key_repair import NO_REPAIRS, RepairRules
from ledger.vendors.personal_fields import PersonalFields

M = TypeVar("M", bound=VendorModel)

NO_ORG = "-"  # the organisation, if the source names none


class EventContext(NamedTuple):
    """The source, organisation and time of an event. Without a usable time of the vendor, `occurred_at` is the recorded
    time.
    """

    source: str
    org: str
    occurred_at: datetime
    tag: str  # hexadecimal; identifies the event where the vendor gives no id

    def ref(self, identifier: str) -> str:
        """Return an id with its source and organisation, for example `capillary:100458:379499720`."""
        return f"{self.source}:{quote_id(self.org)}:{quote_id(identifier)}"


class Identity(NamedTuple):
    """The identity of an event and its content.

    `parts` are equal for all deliveries of an event (domain §1.3), and so give the event key. `content` is equal if
    nothing meaningful changed.
    """

    parts: tuple[str, ...]
    content: Any  # without the time and the way of dispatch


class TierDescription(NamedTuple):
    """A tier of a programme. Two tiers may share a number (trap 38)."""

    number: str | None
    name: str | None


class ProgrammeDescription(NamedTuple):
    """A programme as one event describes it. A value is None if the vendor does not state it."""

    programme: str  # as accounts name it
    name: str | None = None
    is_default: bool | None = None
    points_to_currency_ratio: Decimal | None = None
    tiers: tuple[TierDescription, ...] = ()


class ParsedEvent(NamedTuple):
    """One event found in a delivery. `identity` is called once, when the delivery arrives."""

    kind: str  # in the vendor's canonical spelling
    org: str
    occurred_at: datetime | None
    body: Mapping[str, Any]  # input of the kind's model
    identity: Callable[[], Identity]


@dataclass(frozen=True, slots=True)
class EventType(Generic[M]):
    """One kind of event: its model and its facts.

    `facts` returns the facts of an event and raises ValueError if the event cannot be interpreted. `occurred` returns
    the time of the change itself, for kinds with another time than the event's.
    """

    model: type[M]
    facts: Callable[[M, EventContext], Sequence[Fact]]
    occurred: Callable[[M], datetime | None] | None = None


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor.

    - `parse_envelope(document, kind)` returns the events in a document, or None if the envelope is another vendor's.
      `kind` is the kind that the connection names, if any.
    - `kinds` maps the name of each kind to its event type.
    - `scheme` is the default authentication of deliveries, see service/api/requests/webhook_auth.py.
    - `header` is the HTTP header with the secret or the signature.
    - `describe_programmes` returns the descriptions of programmes in the body of an event.
    - `unwrapped` removes a capture around the vendor's document, for example recorded HTTP headers.
    """

    name: str
    parse_envelope: Callable[[Document, str | None], list[ParsedEvent] | None]
    kinds: Mapping[str, EventType[Any]]
    personal: PersonalFields
    scheme: str
    header: str
    repair_rules: RepairRules = NO_REPAIRS
    describe_programmes: Callable[[Mapping[str, Any]], Iterable[ProgrammeDescription]] = lambda _body: ()
    unwrapped: Callable[[Any], Any] = lambda document: document
