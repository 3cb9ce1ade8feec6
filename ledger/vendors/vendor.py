"""What a vendor is to us: a value that knows its envelopes and, kind by kind, the shape of an event and its facts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from ledger.facts import Fact
from ledger.facts.fact import quote_id
from ledger.parsing import Document
from ledger.vendors.fields import VendorModel
from ledger.vendors.key_repair import NO_REPAIRS, RepairRules
from ledger.vendors.personal_fields import PersonalFields

M = TypeVar("M", bound=VendorModel)

NO_ORG = "-"  # written where a source names no organisation


class EventContext(NamedTuple):
    """Who says it, and when it happened: the recorded time stands in where the vendor's cannot be true."""

    source: str
    org: str
    occurred_at: datetime
    tag: str  # hexadecimal; names the event where nothing of the vendor's does

    def ref(self, identifier: str) -> str:
        """Name a thing of this source and organisation."""
        return f"{self.source}:{quote_id(self.org)}:{quote_id(identifier)}"


class Identity(NamedTuple):
    """What makes an event the same event when it comes again (domain §1.3), and what it says."""

    parts: tuple[str, ...]
    content: Any  # without how and when it was dispatched


class ParsedEvent(NamedTuple):
    """One event found in a delivery. Its identity is worked out when it comes in and never again."""

    kind: str  # in the vendor's canonical spelling
    org: str
    occurred_at: datetime | None
    body: Mapping[str, Any]  # what the kind's shape is read from
    identity: Callable[[], Identity]


@dataclass(frozen=True, slots=True)
class EventType(Generic[M]):
    """One kind of event: its shape, and what it means. `occurred` names the fact's own time where it is not the
    event's."""

    model: type[M]
    facts: Callable[[M, EventContext], Sequence[Fact]]
    occurred: Callable[[M], datetime | None] | None = None


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor. `open` finds the events in a document: given the document and the kind that the connection names, it
    gives one member an event, or None when the envelope is not one of the vendor's."""

    name: str
    parse_envelope: Callable[[Document, str | None], list[ParsedEvent] | None]
    kinds: Mapping[str, EventType[Any]]
    personal: PersonalFields
    scheme: str  # the default authentication of its deliveries: service/api/requests/webhook_auth.py
    header: str  # the header that carries the secret or the signature
    repair_rules: RepairRules = NO_REPAIRS
    # The structure of a document that the vendor sent, where a capture wrapped it in headers and the like.
    unwrapped: Callable[[Any], Any] = lambda document: document
