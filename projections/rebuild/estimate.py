"""Estimate a rebuild from samples of every kind: its changes, and about how long it takes."""

import os
import time
from collections import Counter
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.store.read import event_at
from ledger.store.registry import Ledger
from projections.rebuild.reread_events import reread
from projections.rebuild.scope import RebuildScope
from projections.rebuild.verify_rows import check_rows
from projections.registry import PROJECTIONS

EVENTS_PER_KIND = 50
SUBJECTS_PER_KIND = 200
WRITE_COST_FACTOR = 2.0  # writing facts, rows and keys costs about as much as deriving and folding

READ_KINDS = """
    SELECT source, kind, count(*) AS events, min(position) AS first, max(position) AS last FROM ledger.events
     WHERE ledger_id = $1 GROUP BY source, kind ORDER BY source, kind
"""
SAMPLE_EVENTS = """
    SELECT position FROM ledger.events WHERE ledger_id = $1 AND kind = $2 AND source = $3
     ORDER BY hashint8extended(position, 1) LIMIT $4
"""
COUNT_FACTS = "SELECT count(*) FROM facts WHERE ledger_id = $1"
READ_MISSING_TABLES = (
    "SELECT name FROM unnest($1::text[]) WITH ORDINALITY AS t (name, n) WHERE to_regclass(name) IS NULL ORDER BY n"
)


class RebuildPlan(NamedTuple):
    """The changes that samples show, by kind of event and by column, and the estimated duration."""

    ledger: str
    events: int
    facts: int
    subjects_sampled: int
    events_sampled: int  # by kind; events whose facts are checked too count once
    kinds: list[dict[str, Any]]
    places: dict[str, int]  # number of sampled differences by column, "accounts.available"
    new_tables: list[str]
    examples: list[dict[str, Any]]
    seconds: float


async def plan_rebuild(
    connection: Connection, ledger: Ledger, scope: RebuildScope, source: str, workers: int | None
) -> RebuildPlan:
    """Read samples of every kind of event and of every subject kind with the current code."""
    kinds = await connection.fetch(READ_KINDS, ledger.ledger_id)
    events = sum(row["events"] for row in kinds)
    facts: int = await connection.fetchval(COUNT_FACTS, ledger.ledger_id)
    started = time.perf_counter()
    kinds_read = [await _sample_kind(connection, ledger, row) for row in kinds]
    per_event = (time.perf_counter() - started) / max(1, sum(kind["sampled"] for kind in kinds_read))
    started = time.perf_counter()
    checked = await check_rows(connection, ledger, sample=SUBJECTS_PER_KIND, plan=True)
    per_fact = (time.perf_counter() - started) / max(1, checked.facts + checked.events)
    mismatches = [
        mismatch
        for mismatch in checked.wrong
        if not scope.projections or mismatch.projection in (*scope.projections, "facts")
    ]
    cost = facts * per_fact + (events * per_event if source == "ledger" else 0)
    return RebuildPlan(
        ledger.name,
        events,
        facts,
        checked.subjects,
        sum(kind["sampled"] for kind in kinds_read),
        kinds_read,
        dict(Counter(f"{mismatch.table}.{mismatch.column or '(row)'}" for mismatch in mismatches)),
        await _missing_tables(connection),
        [mismatch._asdict() for mismatch in mismatches[:100]],
        round(WRITE_COST_FACTOR * cost / (workers or os.cpu_count() or 1), 1),
    )


async def _missing_tables(connection: Connection) -> list[str]:
    """Return the names of tables that the connection's generation does not have."""
    names = [table.name for projection in PROJECTIONS for table in projection.tables]
    return [row[0] for row in await connection.fetch(READ_MISSING_TABLES, names)]


async def _sample_kind(connection: Connection, ledger: Ledger, row: Any) -> dict[str, Any]:
    """Read a sample of one kind of event."""
    rows = await connection.fetch(SAMPLE_EVENTS, ledger.ledger_id, row["kind"], row["source"], EVENTS_PER_KIND)
    positions = [event["position"] for event in rows]
    events = [await event_at(connection, ledger.ledger_id, position) for position in positions]
    reread_events = await reread(connection, ledger, events, {})
    unread_before = {one.event.position for one in reread_events if one.unread is not None}
    unread_now = {one.event.position for one in reread_events if one.interpretation.status}
    return {
        "source": row["source"], "kind": row["kind"], "events": row["events"], "sampled": len(positions),
        "unread_before": len(unread_before), "unread_now": len(unread_now),
        "no_longer_read": sorted(unread_now - unread_before)[:5], "read_now": sorted(unread_before - unread_now)[:5],
    }  # fmt: skip
