"""Interpret all events of a ledger again with the current code. Report the events that no longer give facts."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from ledger.database import Connection
from ledger.events import Event
from ledger.intake.interpret import Interpretation
from ledger.store.read import tail
from ledger.store.registry import Ledger
from projections.rebuild.reread_events import folded_positions, reread_between

POSITIONS_LISTED_MAX = 5

READ_WITH_FACTS = "SELECT DISTINCT position FROM facts WHERE ledger_id = $1 AND position = ANY ($2)"

Cause: TypeAlias = tuple[str, str, str, str]  # source, kind, status, reason


class UnreadEvents(NamedTuple):
    """Events of one kind that give no facts, for the same reason."""

    source: str
    kind: str
    unread: str  # "unrecognised" or "quarantined"
    reason: str
    events: int
    gave_facts: int  # number of these with facts in the active generation
    positions: list[int]  # the first ones


class RecheckResult(NamedTuple):
    """Result of interpreting a ledger again."""

    events: int
    facts: int
    unread: list[UnreadEvents]
    lost: int  # events that gave facts, and now give none
    gained: int  # events that could not be read, and now give facts


async def recheck_events(
    connection: Connection, ledger: Ledger, on_progress: Callable[[int, int], None]
) -> RecheckResult:
    """Derive the facts of every event of a ledger and compare them with the stored ones. Nothing is written."""
    last = await tail(connection, ledger.ledger_id)
    folded = await folded_positions(connection, ledger, last)
    counts: Counter[Cause] = Counter()
    first_positions = defaultdict[Cause, list[int]](list)
    without_facts: dict[int, Cause] = {}
    facts = gained = 0
    async for events in reread_between(connection, ledger, 0, last, folded):
        for event, interpretation, unread, is_folded in events:
            facts += len(interpretation.facts)
            gained += bool(interpretation.facts and unread is not None)
            if interpretation.status is None and (interpretation.facts or not is_folded):
                continue
            cause = _cause_of(event, interpretation)
            if interpretation.status:
                counts[cause] += 1
                first_positions[cause] = [*first_positions[cause], event.position][:POSITIONS_LISTED_MAX]
            if unread is None:
                without_facts[event.position] = cause
        on_progress(events[-1].event.position, last)
    with_facts = [row[0] for row in await connection.fetch(READ_WITH_FACTS, ledger.ledger_id, list(without_facts))]
    lost = defaultdict[Cause, list[int]](list)
    for position in sorted(with_facts):
        lost[without_facts[position]].append(position)
    unread_events = []
    for cause in sorted(counts.keys() | lost.keys()):
        count = max(counts[cause], len(lost[cause]))
        positions = (lost[cause] or first_positions[cause])[:POSITIONS_LISTED_MAX]
        unread_events.append(UnreadEvents(*cause, count, len(lost[cause]), positions))
    return RecheckResult(last, facts, unread_events, len(with_facts), gained)


def _cause_of(event: Event, interpretation: Interpretation) -> Cause:
    reason = interpretation.reason or "it gives no fact"
    return event.source, event.kind, interpretation.status or "read", reason


def recheck_json(reading: RecheckResult) -> dict[str, Any]:
    """Return a result as plain values."""
    return {**reading._asdict(), "unread": [entry._asdict() for entry in reading.unread]}
