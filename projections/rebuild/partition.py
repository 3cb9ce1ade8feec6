"""Partition the work of a rebuild: ranges of positions, and ranges of subjects with about equally many facts.

The bounds of subject ranges come from a sample of the facts. They need not be exact. The ranges cover every subject
exactly once.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from ledger.database import Connection, has_several_servers
from ledger.store.read import conflicting_keys
from projections.engine.generations import checked_schema_name
from projections.rebuild.work_items import ConflictingEvents, EventRange, SubjectRange, Work
from projections.registry import BY_SUBJECT

EVENTS_PER_ITEM = 20_000
FACTS_PER_ITEM = 10_000
PAGES_SAMPLED_MAX = 5_000
FACTS_PER_PAGE = 20  # about

SizedWork = list[tuple[int, Work]]  # (approximate size, work)


async def partition_events(connection: Connection, ledgers: Sequence[tuple[int, int]]) -> SizedWork:
    """Partition the events of ledgers, given as (ledger, last position)."""
    items: SizedWork = []
    for ledger_id, last in ledgers:
        for after in range(0, last, EVENTS_PER_ITEM):
            upto = min(after + EVENTS_PER_ITEM, last)
            items.append((upto - after, EventRange(ledger_id, after, upto, last)))
        contested = await conflicting_keys(connection, ledger_id, last)
        if contested:
            items.append((2 * len(contested), ConflictingEvents(ledger_id, last)))
    return items


async def partition_subjects(
    connection: Connection, ledgers: Sequence[tuple[int, int]], schema: str | None = None
) -> SizedWork:
    """Partition the subjects that have facts, in the generation of the connection or in another schema."""
    facts = f"{checked_schema_name(schema)}.facts" if schema else "facts"
    percent, sampled = await _sample_subjects(connection, facts)
    sample = defaultdict[tuple[int, str], list[str]](list)
    for ledger_id, subject_kind, subject in sampled:
        sample[ledger_id, subject_kind].append(subject)
    items: SizedWork = []
    for ledger_id, last in ledgers:
        for (subject_kind,) in await connection.fetch(_kinds_query(facts), ledger_id, list(BY_SUBJECT)):
            subjects = sample[ledger_id, subject_kind]
            for low, high in pairwise(["", *_range_starts(subjects, percent), None]):
                assert low is not None
                size = int(min(100 / percent * len(subjects), FACTS_PER_ITEM)) or 1
                items.append((size, SubjectRange(ledger_id, subject_kind, low, high, last)))
    return items


async def subject_bounds(connection: Connection, ledger_id: int) -> list[str]:
    """Return subjects that divide all subjects of a ledger into ranges of about FACTS_PER_ITEM facts, across kinds.

    Only facts of the connection's generation are sampled.
    """
    percent, sampled = await _sample_subjects(connection, "facts")
    return _range_starts([subject for of, _, subject in sampled if of == ledger_id], percent)


async def _sample_subjects(connection: Connection, facts: str) -> tuple[float, list[tuple[int, str, str]]]:
    """Sample the facts as (ledger, subject kind, subject). Also return the sampled share in percent."""
    if await has_several_servers(connection):  # the size of a table on other servers cannot be read in a transaction
        pages = await connection.fetchval(f"SELECT count(*) FROM {facts}") / FACTS_PER_PAGE  # noqa: S608
    else:
        pages = await connection.fetchval("SELECT pg_relation_size($1::text::regclass) / 8192.0", facts)
    percent = min(100.0, 100 * PAGES_SAMPLED_MAX / max(pages, 1))
    query = f"SELECT ledger_id, subject_kind, subject FROM {facts} TABLESAMPLE SYSTEM ($1)"  # noqa: S608
    return percent, [tuple(row) for row in await connection.fetch(query, percent)]


def _range_starts(subjects: list[str], percent: float) -> list[str]:
    """Return the first subject of each range after the first, from a sample of the given percentage."""
    per_part = max(1, int(FACTS_PER_ITEM * percent / 100))
    return sorted({*sorted(subjects)[per_part::per_part]})


def _kinds_query(facts: str) -> str:
    """Compose the query of the subject kinds that a ledger has facts of. It needs one index look-up for each."""
    return (
        "SELECT k.kind FROM unnest($2::text[]) k (kind) "  # noqa: S608
        f"WHERE EXISTS (SELECT FROM {facts} f WHERE f.ledger_id = $1 AND f.subject_kind = k.kind)"
    )
