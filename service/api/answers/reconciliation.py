"""Types of the answers about open matters, policies and parked subjects."""

from datetime import date
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from service.api.answers.fields import FRESH, Cursor, Freshness, Hex, Points, Time, answer_type, list_of
from service.api.answers.previews import Previewed
from service.reconciliation.lists import OpenList


class ListTotal(TypedDict):
    """The open matters of one list, and the points at stake by unit."""

    name: str
    title: str
    open_count: int
    truncated: Annotated[bool, Meta(description="True if not all were counted.")]
    points: dict[str, Points]
    href: str


class Summary(Freshness):
    """The open matters of all lists."""

    at: Time
    open_count: int
    items: list[ListTotal]
    next: Cursor


class UnreadCount(TypedDict):
    """The number of uninterpreted events of one source and kind."""

    source: str
    kind: str
    events: int


class ConflictContent(TypedDict):
    """One of the contents that the vendor sent for one event."""

    position: int
    occurred_at: Time | None
    recorded_at: Time
    folded: bool
    payload: Any


# Details of open matters: one meaning for each name, in all lists.
DETAIL_TYPES: dict[str, Any] = {
    "account": str,
    "agreed_at": Time | None,
    "agreed_position": int | None,
    "available": Points,
    "badge": str | None,
    "bill_number": str | None,
    "claimed": Points | None,
    "claimed_at": Time | None,
    "claimed_value": str | None,
    "connection": str,
    "contents": list[ConflictContent],
    "contents_count": int,
    "contested": bool,
    "converts_on": date | None,
    "counted_position": int | None,
    "customer": str | None,
    "customer_ids": list[str],
    "day": date | None,
    "points_redemption": str | None,
    "drift": Points,
    "errors": list[str],
    "event_key": Hex,
    "expected_per_day": float,
    "expected_since": float,
    "expires_on": date | None,
    "flag": str,
    "holders": str,
    "item_type": str | None,
    "kind": str,
    "last_at": Time | None,
    "line": int,
    "lot": str,
    "merged_into": str | None,
    "observed_since": int,
    "occurred_at": Time | None,
    "order_id": str | None,
    "org": str,
    "origin": str,
    "own_value": str | None,
    "parked_position": int,
    "points_received": Points | None,
    "points_sent": Points,
    "policy": Literal["earliest", "latest", "both"],
    "positions": list[int],
    "programme": str | None,
    "promise": str,
    "promised_at": Time | None,
    "quantity": int | None,
    "reason": str | None,
    "redemption": str,
    "received_from": str | None,
    "receiver": str | None,
    "reference": str | None,
    "request": str | None,
    "request_type": str | None,
    "resource": str,
    "reward": str | None,
    "sender": str | None,
    "sent_to": str | None,
    "settled": bool,
    "source": str,
    "status": str | None,
    "requested_status": str | None,
    "subject": str,
    "subject_kind": str,
    "unseen": Points,
}


def open_list_answer(open_list: OpenList) -> Any:
    """Return the type of a page of a list of open matters."""
    name = "".join(word.title() for word in open_list.name.split("-"))
    item = answer_type(
        f"{name}Matter",
        {
            "id": str,
            "points": Annotated[
                Points | None, Meta(description="Points, above zero if they are missing here; null if there are none.")
            ],
            "unit": str | None,
            "position": Annotated[int | None, Meta(description="The position of the first event of the matter.")],
            "since": Time | None,
            "age_seconds": int | None,
            "cause": str,
            **{name: DETAIL_TYPES[name] for name in (*open_list.columns, *open_list.details)},
        },
        description=open_list.title,
    )
    fields = {"items": list_of(item), "next": Cursor, "counts": NotRequired[list[UnreadCount]], **FRESH}
    return answer_type(f"{name}Page", fields)


PolicyName = Literal["earliest", "latest", "both"]


class ConflictPolicy(TypedDict):
    """The policy for the events in conflict of one kind."""

    source: str
    kind: str
    policy: PolicyName


class ConflictPolicies(TypedDict):
    """The policies that differ from the default."""

    items: list[ConflictPolicy]
    next: Cursor
    default: PolicyName
    policies: list[PolicyName]


class PolicySet(TypedDict):
    """A policy, and the number of conflicts that it decides. `position` is null if nothing changed."""

    source: str
    kind: str
    policy: PolicyName
    conflicts: int
    position: int | None
    preview: NotRequired[Previewed]


class ParkedRetried(Freshness):
    """The parked subjects that were folded again, and those that are still parked."""

    tried: int
    still_parked: int
