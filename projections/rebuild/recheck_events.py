"""Read the whole ledger through the vendors' shapes as they are now, and say what no longer gives what it gave."""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.intake.interpret import interpret_all
from ledger.store.read import events_between, tail
from ledger.store.registry import Ledger
from projections.rebuild.verify_rows import folded_positions_by_key, is_folded

EVENTS_PER_READ = 2_000
POSITIONS_LISTED_MAX = 5

READ_UNREAD = "SELECT position FROM unread WHERE ledger_id = $1 AND position > $2 AND position <= $3"
READ_WITH_FACTS = "SELECT DISTINCT position FROM facts WHERE ledger_id = $1 AND position = ANY ($2)"


class UnreadEvents(NamedTuple):
    """Events of one kind that give no facts, for one reason."""

    source: str
    kind: str
    unread: str  # "unrecognised" or "quarantined"
    reason: str
    events: int
    gave_facts: int  # how many of them gave facts to the generation that readers see
    positions: list[int]  # the first


class RecheckResult(NamedTuple):
    """What reading a ledger again found."""

    events: int
    facts: int
    unread: list[UnreadEvents]
    lost: int  # events that gave facts, and give none now
    gained: int  # events that gave none because they could not be read, and give facts now


async def recheck_events(connection: Connection, ledger: Ledger, tell: Callable[[int, int], None]) -> RecheckResult:
    """Derive the facts of every event of a ledger, write none, and compare with what was read before."""
    last = await tail(connection, ledger.ledger_id)
    folded = await folded_positions_by_key(connection, ledger, last)
    counts: Counter[tuple[str, str, str, str]] = Counter()
    first: dict[tuple[str, str, str, str], list[int]] = {}
    silent: dict[int, tuple[str, str, str, str]] = {}
    facts = gained = 0
    async for events in events_between(connection, ledger.ledger_id, 0, last, EVENTS_PER_READ):
        bounds = (events[0].position - 1, events[-1].position)
        before = {row[0] for row in await connection.fetch(READ_UNREAD, ledger.ledger_id, *bounds)}
        for event, meaning in zip(events, interpret_all(events), strict=True):
            facts += len(meaning.facts)
            gained += bool(meaning.facts and event.position in before)
            if meaning.status is None and (meaning.facts or not is_folded(event, folded)):
                continue
            about = (event.source, event.kind, meaning.status or "read", meaning.reason or "it gives no fact")
            if meaning.status:
                counts[about] += 1
                first.setdefault(about, []).append(event.position)
                del first[about][POSITIONS_LISTED_MAX:]
            if event.position not in before:
                silent[event.position] = about
        tell(events[-1].position, last)
    gave = [row[0] for row in await connection.fetch(READ_WITH_FACTS, ledger.ledger_id, list(silent))]
    lost: dict[tuple[str, str, str, str], list[int]] = {}
    for position in sorted(gave):
        lost.setdefault(silent[position], []).append(position)
    unread = [
        UnreadEvents(*about, max(counts[about], len(lost.get(about, ()))), len(lost.get(about, ())),
               lost.get(about, first.get(about, []))[:POSITIONS_LISTED_MAX])
        for about in sorted(counts.keys() | lost.keys())
    ]  # fmt: skip
    return RecheckResult(last, facts, unread, len(gave), gained)


def recheck_json(reading: RecheckResult) -> dict[str, Any]:
    """Write what was found as plain values."""
    return {**reading._asdict(), "unread": [one._asdict() for one in reading.unread]}
