"""Events without an effect so far: unreadable, unrecognised, in conflict, or at a parked subject."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from ledger.database import Connection
from ledger.events import Event
from ledger.intake.interpret import UNKNOWN_ENVELOPE, UNKNOWN_KIND
from ledger.store.read import FirstConflict, bodies, events_without_bodies, first_conflicts_after
from projections.engine.conflicts import DEFAULT_POLICY, PolicyByKind, policies_of, select_by_policy
from service.formatting import payload_json
from service.reconciliation.lists import (
    COUNTED_MAX,
    PAGE_ITEMS,
    Key,
    ListQuery,
    ListTotals,
    OpenItem,
    OpenList,
    list_from_sql,
)

CONTENTS_SHOWN_MAX = 20
POSITIONS_SHOWN_MAX = 100
BODIES_BYTES_MAX = 4 * 1024 * 1024  # of one page
KEYS_PER_READ = 50

UNREAD = """
    SELECT 'event ' || u.position AS id, NULL::numeric AS amount, NULL AS unit, u.position, e.recorded_at AS since,
           u.source, u.kind, u.reason
      FROM unread u JOIN ledger.events e ON e.ledger_id = $1 AND e.position = u.position
     WHERE u.ledger_id = $1 AND u.unread = '{unread}' AND e.recorded_at <= $2 AND u.position > $4
     ORDER BY u.position LIMIT $3
"""
QUARANTINED = UNREAD.replace("{unread}", "quarantined")
UNRECOGNISED = UNREAD.replace("{unread}", "unrecognised")


QUARANTINE = list_from_sql(
    "quarantine",
    "Events whose body cannot be read",
    page=QUARANTINED,
    key=("position",),
    start=(0,),
    cause="Its body cannot be read. Repair it at the sender, or with `loyalty import --repair`.",
    columns=("source", "kind", "reason"),
)


def _cause_of_unrecognised(row: Any) -> str:
    """Return why an event has no facts. For a known kind, the reason names the path of the value."""
    if row["reason"] in (UNKNOWN_ENVELOPE, UNKNOWN_KIND):
        return "This version does not know the kind or format. After an update that does, run `loyalty rebuild`."
    return f"It cannot be interpreted: {row['reason']}. Ask the vendor, or run `loyalty rebuild` after an update."


UNKNOWN = list_from_sql(
    "unrecognised",
    "Events of an unknown kind or format",
    page=UNRECOGNISED,
    key=("position",),
    start=(0,),
    cause=_cause_of_unrecognised,
    columns=("source", "kind", "reason"),
)

PARKED_SUBJECTS = """
    SELECT s.subject_kind || ' ' || s.subject AS id, NULL::numeric AS amount, NULL AS unit, s.subject_kind, s.subject,
           s.parked AS reason, s.parked_position AS position, s.parked_position, e.recorded_at AS since
      FROM subjects s JOIN ledger.events e ON e.ledger_id = $1 AND e.position = s.parked_position
     WHERE s.ledger_id = $1 AND s.parked IS NOT NULL AND e.recorded_at <= $2
       AND (s.subject_kind, s.subject) > ($4, $5)
     ORDER BY s.subject_kind, s.subject LIMIT $3
"""


PARKED = list_from_sql(
    "parked",
    "Subjects with a fact that cannot be folded",
    page=PARKED_SUBJECTS,
    key=("subject_kind", "subject"),
    start=("", ""),
    cause="One of its facts cannot be folded yet; see the reason. Its rows show the state before that fact. If a rule "
    "fails, update, then run `loyalty parked retry`.",
    columns=("subject_kind", "subject", "reason"),
    details=("parked_position",),
)


async def read_conflicts(connection: Connection, query: ListQuery) -> tuple[list[OpenItem], Key | None]:
    """Read one page of event keys in conflict, in order of the first conflict. An item has the contents, the policy,
    and the folded positions. A kind with a policy is settled.

    Of each key at most CONTENTS_SHOWN_MAX contents and POSITIONS_SHOWN_MAX positions are included: the folded ones,
    then the first. A page ends early when its bodies reach BODIES_BYTES_MAX.
    """
    ledger_id = query.ledger_id
    policies = await policies_of(connection, ledger_id)
    found = await first_conflicts_after(connection, ledger_id, query.after[0], query.limit + 1, query.opened_by)
    items: list[OpenItem] = []
    size = 0
    for start in range(0, query.limit, KEYS_PER_READ):
        conflicts = found[start : min(start + KEYS_PER_READ, query.limit)]
        events_by_key = await events_without_bodies(
            connection, ledger_id, [conflict.event_key for conflict in conflicts]
        )
        for first in conflicts:
            events = events_by_key[first.event_key]
            folded = {event.position for event in select_by_policy(events, policies)}
            shown = _first_and_folded(events, folded, CONTENTS_SHOWN_MAX)
            payloads = await bodies(connection, ledger_id, [event.position for event in shown])
            items.append(
                _conflict(first, events, folded, [(event, payloads[event.position]) for event in shown], policies)
            )
            size += sum(map(len, payloads.values()))
            if size >= BODIES_BYTES_MAX or len(items) == query.limit:
                return items, (first.position,) if len(items) < len(found) else None
    return items, None


def _first_and_folded(events: Sequence[Event], folded: Collection[int], most: int) -> list[Event]:
    """Choose at most `most` of the events of one key, in order: the folded ones, then the first."""
    chosen = [event for event in events if event.position in folded][:most]
    chosen += [event for event in events[:most] if event.position not in folded][: most - len(chosen)]
    return sorted(chosen, key=lambda event: event.position)


def _conflict(
    first: FirstConflict,
    events: Sequence[Event],
    folded: Collection[int],
    shown: Sequence[tuple[Event, bytes]],
    policies: PolicyByKind,
) -> OpenItem:
    of = (first.source, first.kind)
    return OpenItem(
        id=first.event_key.hex(),
        amount=None,
        unit=None,
        position=first.position,
        since=first.recorded_at,
        cause=f"The vendor sent one event with {len(events)} contents. Find out which is right, and set a policy.",
        details={
            "event_key": first.event_key,
            "source": first.source,
            "kind": first.kind,
            "policy": policies.get(of, DEFAULT_POLICY),
            "settled": of in policies,
            "contents_count": len(events),
            "positions": [event.position for event in _first_and_folded(events, folded, POSITIONS_SHOWN_MAX)],
            "contents": [
                {
                    "position": event.position,
                    "occurred_at": event.occurred_at,
                    "recorded_at": event.recorded_at,
                    "folded": event.position in folded,
                    "payload": payload_json(payload),
                }
                for event, payload in shown
            ],
        },
    )


async def _count_unsettled(connection: Connection, ledger_id: int, by: datetime) -> ListTotals:
    """Count the keys in conflict of kinds without a policy."""
    policies = await policies_of(connection, ledger_id)
    items, after = 0, 0
    while items < COUNTED_MAX:
        found = await first_conflicts_after(connection, ledger_id, after, PAGE_ITEMS, by)
        items += sum((one.source, one.kind) not in policies for one in found)
        if len(found) < PAGE_ITEMS:
            break
        after = found[-1].position
    return ListTotals(items, items >= COUNTED_MAX, {})


CONFLICTS = OpenList(
    name="conflicts",
    title="Events with one key and different contents; kinds with a policy are settled and not counted",
    read=read_conflicts,
    count=_count_unsettled,
    columns=("event_key", "source", "kind", "policy", "settled", "positions"),
    details=("contents_count", "contents"),
    start=(0,),
)
