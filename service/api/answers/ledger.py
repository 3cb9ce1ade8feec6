"""Types of the answers about deliveries, events and proofs."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from ledger.vendors.repair_report import Repair
from service.api.answers.fields import FRESH, Cursor, Hex, Time, Total, answer_type, page_of, tuple_fields
from service.api.answers.subjects import Fields, StepEvent


class DeliveredEvent(TypedDict):
    """The place of one event of a delivery in the ledger."""

    position: int
    outcome: Annotated[
        Literal["appended", "duplicate", "conflict"],
        Meta(
            description="`duplicate`: it was stored before, at this position. "
            "`conflict`: an event with the same key and other contents was stored before; this one is stored too."
        ),
    ]
    kind: str


class DeliveryAnswer(TypedDict):
    """The events of a delivery. All are stored durably."""

    ledger: str
    events: list[DeliveredEvent]


EVENT_FIELDS = {
    "position": int,
    "source": str,
    "org": str,
    "kind": str,
    "connection": str | None,
    "occurred_at": Time | None,
    "recorded_at": Time,
    "event_key": Hex,
    "conflict": bool,
    "delivery_position": Annotated[int, Meta(description="The position of the first event of its delivery.")],
    "ordinal": int,
    "leaf_hash": Hex,
}
Event: Any = answer_type("Event", EVENT_FIELDS, description="One event of the ledger.")
EventPage = page_of(Event, **FRESH)


class SubjectName(TypedDict):
    """The kind and the id of a subject."""

    subject_kind: str
    subject: str


class EventFact(TypedDict):
    """One fact that an event means."""

    fact: str
    subject_kind: str
    subject: str
    occurred_at: Time
    untimed: bool
    fields: Fields


class ListedFactAnswer(EventFact):
    """A fact with its place in the ledger, and the event that means it."""

    position: int
    ordinal: Annotated[int, Meta(description="The number of the fact within its event, from 0 on.")]
    event: StepEvent


FactPage = page_of(ListedFactAnswer, total=Total, **FRESH)
RepairMade: Any = answer_type(
    "Repair", tuple_fields(Repair), description="A damaged value of the payload, and the value that is read."
)
EventDetails: Any = answer_type(
    "EventDetails",
    {
        **EVENT_FIELDS,
        "entry": Annotated[dict[str, Any], Meta(description="The hashed document about the event.")],
        "payload": Annotated[Any, Meta(description="The delivered JSON, with markers for personal values.")],
        "facts": list[EventFact],
        "subjects": Annotated[list[SubjectName], Meta(description="The subjects that the facts change.")],
        "unread": Literal["quarantined", "unrecognised"] | None,
        "reason": str | None,
        "repairs": list[RepairMade],
        **FRESH,
    },
    description="One event with its payload, its facts and their subjects.",
)


class Cosignature(TypedDict):
    """A witness that cosigned the checkpoint."""

    witness: str
    cosigned_at: Time
    collected_at: Time


class SealProblemAnswer(TypedDict):
    """The reason why nothing is signed."""

    kind: str
    detail: str
    at: Time


class NewestCheckpoint(TypedDict):
    """The newest signed checkpoint of the ledger's log."""

    origin: NotRequired[str]
    size: int
    root: NotRequired[Hex]
    signed_at: NotRequired[Time]
    unsealed_events: int
    checkpoint: Annotated[str | None, Meta(description="The signed note; null if nothing is signed yet.")]
    cosigned: NotRequired[list[Cosignature]]
    problem: SealProblemAnswer | None
    clock: str | None


class PublicKey(TypedDict):
    """A public key that signed the ledger's log."""

    key: str
    origin: str
    key_id: Hex
    added_at: Time
    signs_now: bool


class PublicKeys(TypedDict):
    """Every public key that ever signed the ledger's log."""

    items: list[PublicKey]
    next: Cursor


class InclusionProof(TypedDict):
    """A proof that an event is in the tree of a size."""

    position: int
    leaf_index: int
    size: int
    leaf_hash: Hex
    proof: list[Hex]
    root: Hex


Consistency: Any = answer_type(
    "ConsistencyProof",
    {"from_size": int, "to_size": int, "proof": list[Hex], "from_root": Hex, "to_root": Hex},
    description="A proof that the smaller tree is the beginning of the larger one.",
)


class Access(TypedDict):
    """One recorded look: the key, the object that was shown, and the stated reason."""

    number: int
    at: Time
    key_id: str
    label: Annotated[str | None, Meta(description="The label of the key.")]
    object: str
    reason: str


AccessPage = page_of(Access)
