"""Interpret all events of a ledger again with the current code. Report the events that no longer give facts."""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.intake.interpret import interpret_all
from ledger.store.read import events_between, tail
from ledger.store.registry import Ledger
from projections.rebuild.verify_facts import folded_positions_by_key, is_folded

EVENTS_PER_READ = 2_000
POSITIONS_LISTED_MAX = 5

READ_UNREAD = "SELECT position FROM unread WHERE ledger_id = $1 AND position > $2 AND position <= $3"
READ_WITH_FACTS = "SELECT DISTINCT position FROM facts WHERE ledger_id = $1 AND position = ANY ($2)"


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
    folded = await folded_positions_by_key(connection, ledger, last)
    counts: Counter[tuple[str, str, str, str]] = Counter()
    first_positions: dict[tuple[str, str, str, str], list[int]] = {}
    without_facts: dict[int, tuple[str, str, str, str]] = {}
    facts = gained = 0
    async for events in events_between(connection, ledger.ledger_id, 0, last, EVENTS_PER_READ):
        bounds = (events[0].position - 1, events[-1].position)
        known_unread = {row[0] for row in await connection.fetch(READ_UNREAD, ledger.ledger_id, *bounds)}
        for event, interpretation in zip(events, interpret_all(events), strict=True):
            facts += len(interpretation.facts)
            gained += bool(interpretation.facts and event.position in known_unread)
            if interpretation.status is None and (interpretation.facts or not is_folded(event, folded)):
                continue
            cause = (
                event.source,
                event.kind,
                interpretation.status or "read",
                interpretation.reason or "it gives no fact",
            )
            if interpretation.status:
                counts[cause] += 1
                first_positions.setdefault(cause, []).append(event.position)
                del first_positions[cause][POSITIONS_LISTED_MAX:]
            if event.position not in known_unread:
                without_facts[event.position] = cause
        on_progress(events[-1].position, last)
    with_facts = [row[0] for row in await connection.fetch(READ_WITH_FACTS, ledger.ledger_id, list(without_facts))]
    lost: dict[tuple[str, str, str, str], list[int]] = {}
    for position in sorted(with_facts):
        lost.setdefault(without_facts[position], []).append(position)
    unread = [
        UnreadEvents(*cause, max(counts[cause], len(lost.get(cause, ()))), len(lost.get(cause, ())),
               lost.get(cause, first_positions.get(cause, []))[:POSITIONS_LISTED_MAX])
        for cause in sorted(counts.keys() | lost.keys())
    ]  # fmt: skip
    return RecheckResult(last, facts, unread, len(with_facts), gained)


def recheck_json(reading: RecheckResult) -> dict[str, Any]:
    """Return a result as plain values."""
    return {**reading._asdict(), "unread": [entry._asdict() for entry in reading.unread]}
