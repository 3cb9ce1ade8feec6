"""As-of queries. They select a subject's facts that occurred by a time, were recorded up to a position, or both.

As known at a position:

1. Subjects are merged only by merges recorded up to that position.
2. Facts that a later conflict retracted are included again.
3. Conflicts are resolved by the policies in effect at that position (policies_as_of.py).

So the answer for a position that the rows have reached never changes.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ledger.database import Connection
from ledger.facts import RecordedFact
from projections.definition import FoldedSubject, Projection, fact_key, fold_until_failure
from projections.engine import store
from projections.engine.groups import alias_pairs, connected_components, groups_by_target, merged_pair
from projections.engine.programme_terms import load_terms
from projections.programme_terms import NO_TERMS, Terms
from projections.queries.policies_as_of import resolve_as_of

ALWAYS = datetime.max.replace(tzinfo=UTC)
EVERYTHING = 2**62  # a position that no ledger reaches

KNOWN = """
    SELECT subject, kind, body, occurred_at, tag, ordinal, position, untimed FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3) AND occurred_at <= $4 AND position <= $5
    UNION ALL
    SELECT subject, kind, body, occurred_at, tag, ordinal, position, untimed FROM withdrawn
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3) AND occurred_at <= $4 AND position <= $5
       AND until_position > $5
"""
ALIASED = """
    SELECT DISTINCT subject, alias FROM facts WHERE ledger_id = $1 AND subject_kind = $2 AND alias = ANY ($3)
    UNION
    SELECT DISTINCT subject, alias FROM withdrawn WHERE ledger_id = $1 AND subject_kind = $2 AND alias = ANY ($3)
"""
# The last position recorded by a time. `recorded_at` never decreases with the position, so bisection finds it.
POSITION_AT = """
    WITH RECURSIVE halved (low, high) AS (
        SELECT 0::bigint, coalesce(max(position), 0) FROM ledger.events WHERE ledger_id = $1
        UNION ALL
        SELECT CASE WHEN e.recorded_at <= $2 THEN e.position ELSE h.low END,
               CASE WHEN e.recorded_at <= $2 THEN h.high ELSE e.position - 1 END
          FROM halved h
          JOIN LATERAL (SELECT position, recorded_at FROM ledger.events
                         WHERE ledger_id = $1 AND position = (h.low + h.high + 1) / 2) e ON h.low < h.high
    )
    SELECT low FROM halved WHERE low = high
"""
TAIL_IS_PAST = """
    SELECT coalesce((SELECT recorded_at > $2 FROM ledger.events WHERE ledger_id = $1 ORDER BY position DESC LIMIT 1),
                    false)
"""
IS_TO_COME = "SELECT $1::timestamptz >= clock_timestamp()"
WAIT_FOR_APPENDS = "SELECT ledger.wait_for_appends($1)"


class AsOf(NamedTuple):
    """Limits of a query: events that occurred by `at`, recorded up to `position`. None sets no limit."""

    at: datetime | None = None
    position: int | None = None


class KnownSubject(NamedTuple):
    """Known facts of one subject and of the subjects merged with it, in fold order."""

    root: str  # the smallest of the merged subjects
    facts: Sequence[RecordedFact]
    terms: Terms = NO_TERMS  # as known


async def position_at(connection: Connection, ledger_id: int, time: datetime) -> int | None:
    """Return the last position recorded by a time, 0 if there is none. None if the time is in the future.

    If the ledger's last event is older than the time, an append in progress may still be recorded before it. Such an
    append is awaited.
    """
    if not await connection.fetchval(TAIL_IS_PAST, ledger_id, time):
        if await connection.fetchval(IS_TO_COME, time):
            return None
        await connection.execute(WAIT_FOR_APPENDS, ledger_id)
    position: int = await connection.fetchval(POSITION_AT, ledger_id, time)
    return position


async def load_facts(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Sequence[str], as_of: AsOf
) -> dict[str, list[RecordedFact]]:
    """Read the known facts of some subjects, unsorted, without merged subjects. Subjects without facts are left out."""
    at = ALWAYS if as_of.at is None else as_of.at
    upto = EVERYTHING if as_of.position is None else as_of.position
    found: dict[str, list[RecordedFact]] = defaultdict(list)
    difference = await resolve_as_of(connection, ledger_id, as_of.position)
    for row in await connection.fetch(KNOWN, ledger_id, projection.subject, subjects, at, upto):
        if row["position"] not in difference.removed:
            found[row[0]].append(store.fact_of_row(row))
    for recorded in difference.added:
        fact, occurrence = recorded
        if fact.subject_kind == projection.subject and fact.subject in subjects and occurrence.occurred_at <= at:
            found[fact.subject].append(recorded)
    return found


async def load_related_facts(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Sequence[str], as_of: AsOf
) -> dict[str, list[RecordedFact]]:
    """Read the known facts of some subjects, and of all subjects that may be merged with them. Unsorted."""
    found = await load_facts(connection, ledger_id, projection, subjects, as_of)
    asked = set(subjects)
    while further := sorted(await _related_subjects(connection, ledger_id, projection, found) - asked):
        asked.update(further)
        found |= await load_facts(connection, ledger_id, projection, further, as_of)
    return found


async def load_known(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Sequence[str], as_of: AsOf
) -> list[KnownSubject]:
    """Read the known facts of some subjects and of all subjects merged with them. One item for each group."""
    found = await load_related_facts(connection, ledger_id, projection, subjects, as_of)
    groups = group_by_root(projection, found, await load_terms(connection, ledger_id, projection, as_of.position))
    if projection.match_aliases is None:
        return groups
    wanted = set(subjects)  # other subjects may share an alias and still be different
    return [known for known in groups if not wanted.isdisjoint(fact.subject for fact, _ in known.facts)]


def group_by_root(
    projection: Projection, found: Mapping[str, Iterable[RecordedFact]], terms: Terms
) -> list[KnownSubject]:
    """Merge the facts of subjects that belong to one group. The facts of each group are in fold order."""
    if projection.match_aliases is not None:
        groups = groups_by_target(alias_pairs(projection, (fact for facts in found.values() for fact, _ in facts)))
    else:
        groups = connected_components(
            pair for facts in found.values() for fact, _ in facts if (pair := merged_pair(projection, fact))
        )
    root_of = {member: root for root, members in groups.items() for member in members}
    by_root: dict[str, list[RecordedFact]] = defaultdict(list)
    for subject, facts in found.items():
        by_root[root_of.get(subject, subject)] += facts
    return [KnownSubject(root, sorted(facts, key=fact_key), terms) for root, facts in sorted(by_root.items())]


async def _related_subjects(
    connection: Connection, ledger_id: int, projection: Projection, found: Mapping[str, Iterable[RecordedFact]]
) -> set[str]:
    """Return all subjects that may be the same as the subjects of some facts, whatever the position of the link."""
    if projection.match_aliases is None:
        return _merged_subjects(projection, found)
    alone = sorted({f"~{fact.alias}" for facts in found.values() for fact, _ in facts if fact.alias is not None})
    if not alone:
        return set()
    rows = await connection.fetch(ALIASED, ledger_id, projection.subject, alone)
    named = {row["alias"][1:] for row in rows}
    others = [f"={alias}" for alias in named]
    rows += await connection.fetch(ALIASED, ledger_id, projection.subject, others) if others else []
    return {row["subject"] for row in rows}


def _merged_subjects(projection: Projection, found: Mapping[str, Iterable[RecordedFact]]) -> set[str]:
    return {subject for facts in found.values() for fact, _ in facts for subject in merged_pair(projection, fact)}


def fold_known(projection: Projection, known: KnownSubject) -> FoldedSubject:
    """Fold the known facts, up to the first one that cannot be folded."""
    return fold_until_failure(projection, known.root, known.facts, known.terms)
