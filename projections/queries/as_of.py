"""What was known: the facts of a subject that had happened by a time and were told up to a position; both, or either.

As known at a position, a subject is joined with others only by joins told until then, facts that a later twin has
withdrawn since are there again, and conflicts are settled by the policies of then (settled_then.py). So the answer for
a position that the rows have reached is the same for ever, whatever is told afterwards.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ledger.database import Connection
from ledger.facts import RecordedFact
from ledger.locks import APPENDS
from projections.definition import FoldedState, Projection, fold_soundly, key_of
from projections.engine import store
from projections.engine.groups import alike_pairs, connected_components, groups_by_target, merged_pair
from projections.programme_terms import NO_TERMS, Terms
from projections.programmes import read_terms
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
# The last position recorded by a time: recorded_at never decreases with the position, so it is found by halving.
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
WAIT_FOR_APPENDS = "SELECT pg_advisory_xact_lock_shared($1, $2)"


class AsOf(NamedTuple):
    """Both times: what had happened by `at`, as told up to `position`; None sets no limit."""

    at: datetime | None = None
    position: int | None = None


class Known(NamedTuple):
    """What was known of one subject, and of those joined with it: all their facts, in order."""

    root: str  # the smallest of the joined subjects
    told: Sequence[RecordedFact]
    terms: Terms = NO_TERMS  # of programmes, as they were known


async def position_at(connection: Connection, ledger_id: int, time: datetime) -> int | None:
    """Give the last position that was recorded by a time, 0 for none; None for a time that is still to come.

    Where the ledger's last event is older than the time, an append that is under way may still be recorded before it:
    it is awaited.
    """
    if not await connection.fetchval(TAIL_IS_PAST, ledger_id, time):
        if await connection.fetchval(IS_TO_COME, time):
            return None
        async with connection.transaction():
            await connection.execute(WAIT_FOR_APPENDS, APPENDS, ledger_id)
    position: int = await connection.fetchval(POSITION_AT, ledger_id, time)
    return position


async def facts_known(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Sequence[str], as_of: AsOf
) -> dict[str, list[RecordedFact]]:
    """Read what was known of some subjects, each alone and unsorted; those of whom nothing was are left out."""
    at = ALWAYS if as_of.at is None else as_of.at
    upto = EVERYTHING if as_of.position is None else as_of.position
    found: dict[str, list[RecordedFact]] = defaultdict(list)
    otherwise = await resolve_as_of(connection, ledger_id, as_of.position)
    for row in await connection.fetch(KNOWN, ledger_id, projection.subject, subjects, at, upto):
        if row["position"] not in otherwise.gone:
            found[row[0]].append(store.fact_of_row(row))
    for one in otherwise.back:
        fact = one.fact
        if fact.subject_kind == projection.subject and fact.subject in subjects and one.occurrence.occurred_at <= at:
            found[fact.subject].append(one)
    return found


async def known_of(
    connection: Connection, ledger_id: int, projection: Projection, subjects: Sequence[str], as_of: AsOf
) -> list[Known]:
    """Read what was known of some subjects and of all that were joined with them then, a group or subject at a time."""
    found = await facts_known(connection, ledger_id, projection, subjects, as_of)
    asked = set(subjects)
    while further := sorted(await _further(connection, ledger_id, projection, found) - asked):
        asked.update(further)
        found |= await facts_known(connection, ledger_id, projection, further, as_of)
    groups = grouped(projection, found, await terms_known(connection, ledger_id, projection, as_of.position))
    if projection.alike is None:
        return groups
    wanted = set(subjects)  # others may share an alias and not be the same
    return [known for known in groups if not wanted.isdisjoint(one.fact.subject for one in known.told)]


async def terms_known(connection: Connection, ledger_id: int, projection: Projection, position: int | None) -> Terms:
    """Read the terms that a projection was folded under, as known at a position."""
    if projection.under is None:
        return NO_TERMS
    return await read_terms(connection, ledger_id, EVERYTHING if position is None else position)


def grouped(projection: Projection, found: Mapping[str, Iterable[RecordedFact]], terms: Terms) -> list[Known]:
    """Bring facts by subject together by the joins among them, each group's in the order of the fold."""
    if projection.alike is not None:
        groups = groups_by_target(alike_pairs(projection, (one.fact for told in found.values() for one in told)))
    else:
        groups = connected_components(
            pair for told in found.values() for one in told if (pair := merged_pair(projection, one.fact))
        )
    joined = {member: root for root, members in groups.items() for member in members}
    by_root: dict[str, list[RecordedFact]] = defaultdict(list)
    for subject, told in found.items():
        by_root[joined.get(subject, subject)] += told
    return [Known(root, sorted(told, key=key_of), terms) for root, told in sorted(by_root.items())]


async def _further(
    connection: Connection, ledger_id: int, projection: Projection, found: Mapping[str, Iterable[RecordedFact]]
) -> set[str]:
    """Name the subjects that may be one with those of some facts, told of until then or later."""
    if projection.alike is None:
        return _joined_to(projection, found)
    alone = sorted({f"~{one.fact.alias}" for told in found.values() for one in told if one.fact.alias is not None})
    if not alone:
        return set()
    rows = await connection.fetch(ALIASED, ledger_id, projection.subject, alone)
    named = {row["alias"][1:] for row in rows}
    others = [f"={alias}" for alias in named]
    rows += await connection.fetch(ALIASED, ledger_id, projection.subject, others) if others else []
    return {row["subject"] for row in rows}


def _joined_to(projection: Projection, found: Mapping[str, Iterable[RecordedFact]]) -> set[str]:
    return {subject for told in found.values() for one in told for subject in merged_pair(projection, one.fact)}


def fold_known(projection: Projection, known: Known) -> FoldedState:
    """Fold what was known, up to a fact that cannot be folded."""
    return fold_soundly(projection, known.root, known.told, known.terms)
