"""Events that changed nothing yet: not readable, not recognised, told twice with other contents, or stuck in a fold."""

from datetime import datetime
from typing import Any

from ledger.database import Connection
from ledger.identify import KEY_BYTES
from ledger.read import conflicts_after, twins
from projections.conflicts import DEFAULT_POLICY, policies_of, winners
from service.reconciliation.lists import Asked, Item, Key, OpenList, counting, filling, from_sql
from service.window.events import shown_payload

UNREAD = """
    SELECT u.position, u.source, u.kind, u.reason, e.recorded_at
      FROM unread u JOIN ledger.events e ON e.ledger_id = u.ledger_id AND e.position = u.position
     WHERE u.ledger_id = $1 AND u.unread = '{unread}' AND e.recorded_at <= $2 AND u.position > $4
     ORDER BY u.position LIMIT $3
"""
QUARANTINED = UNREAD.replace("{unread}", "quarantined")
UNRECOGNISED = UNREAD.replace("{unread}", "unrecognised")


def quarantined(row: Any) -> Item:
    cause = "Its body cannot be read: repair it at the sender, or by `loyalty import --repair`."
    return _unread(row, cause)


def unrecognised(row: Any) -> Item:
    cause = "We do not know this kind or shape yet: the next version that does picks it up by `loyalty rebuild`."
    return _unread(row, cause)


def _unread(row: Any, cause: str) -> Item:
    details = {name: row[name] for name in ("source", "kind", "reason")}
    return Item(f"event {row['position']}", None, None, row["position"], row["recorded_at"], cause, details)


QUARANTINE = from_sql(
    "quarantine",
    "Events whose body cannot be read",
    page=QUARANTINED,
    key=("position",),
    start=(0,),
    item=quarantined,
    columns=("source", "kind", "reason"),
)
UNKNOWN = from_sql(
    "unrecognised",
    "Events of a kind or shape that we do not know",
    page=UNRECOGNISED,
    key=("position",),
    start=(0,),
    item=unrecognised,
    columns=("source", "kind", "reason"),
)

STUCK = """
    SELECT s.subject_kind, s.subject, s.parked AS reason, s.parked_position, e.recorded_at
      FROM subjects s JOIN ledger.events e ON e.ledger_id = s.ledger_id AND e.position = s.parked_position
     WHERE s.ledger_id = $1 AND s.parked IS NOT NULL AND e.recorded_at <= $2
       AND (s.subject_kind, s.subject) > ($4, $5)
     ORDER BY s.subject_kind, s.subject LIMIT $3
"""


def stuck(row: Any) -> Item:
    return Item(
        id=f"{row['subject_kind']} {row['subject']}",
        amount=None,
        unit=None,
        position=row["parked_position"],
        since=row["recorded_at"],
        cause="A fact of it cannot be folded: its rows are as before that fact, and wait for a version that can.",
        details={name: row[name] for name in ("subject_kind", "subject", "reason", "parked_position")},
    )


PARKED = from_sql(
    "parked",
    "Subjects with a fact that cannot be folded",
    page=STUCK,
    key=("subject_kind", "subject"),
    start=("", ""),
    item=stuck,
    columns=("subject_kind", "subject", "reason"),
)


async def read_conflicts(connection: Connection, asked: Asked) -> tuple[list[Item], Key | None]:
    """One item a key, in order of its first conflict, with every content told for it, the policy, and which of them is
    folded. Where somebody has set a policy for the kind, the matter is settled."""
    policies = await policies_of(connection, asked.ledger_id)
    conflicts = await conflicts_after(connection, asked.ledger_id, asked.after[0], asked.limit)
    items: dict[bytes, Item] = {}
    for position, event_key in conflicts:
        key = event_key[:KEY_BYTES]
        events = [] if key in items else await twins(connection, asked.ledger_id, key)
        told = [event for event in events if len(event.event_key) > KEY_BYTES]
        if not told or told[0].position != position or told[0].recorded_at > asked.by:
            continue  # listed where its first conflict stands
        folded = {event.position for event in winners(events, policies)}
        of = (events[0].source, events[0].kind)
        items[key] = Item(
            id=key.hex(),
            amount=None,
            unit=None,
            position=position,
            since=told[0].recorded_at,
            cause=f"The vendor told one event with {len(events)} contents: see which is right, and set a policy.",
            details={
                "event_key": key,
                "source": of[0],
                "kind": of[1],
                "policy": policies.get(of, DEFAULT_POLICY),
                "settled": of in policies,
                "positions": [event.position for event in events],
                "contents": [
                    {
                        "position": event.position,
                        "occurred_at": event.occurred_at,
                        "recorded_at": event.recorded_at,
                        "folded": event.position in folded,
                        "payload": shown_payload(event.payload),
                    }
                    for event in events
                ],
            },
        )
    return list(items.values()), (conflicts[-1][0],) if len(conflicts) == asked.limit else None


async def _count_unsettled(connection: Connection, ledger_id: int, by: datetime) -> Any:
    return await counting(_read_unsettled, (0,))(connection, ledger_id, by)


async def _read_unsettled(connection: Connection, asked: Asked) -> tuple[list[Item], Key | None]:
    items, following = await read_conflicts(connection, asked)
    return [item for item in items if not item.details["settled"]], following


CONFLICTS = OpenList(
    name="conflicts",
    says="Events that share a key but not what they say; those of a kind with a policy are settled, and not counted",
    read=filling(read_conflicts, lambda item: (item.position,)),
    count=_count_unsettled,
    columns=("event_key", "source", "kind", "policy", "settled", "positions"),
    start=(0,),
)
