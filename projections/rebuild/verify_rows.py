"""Verify the rows that readers see: fold subjects from their facts, and derive facts from events. Nothing is written.

All reads are in one snapshot, so other work is not disturbed. A sample takes subjects of every kind, and events from
all parts of the ledger. Without a sample, all are verified. Rows of subjects without facts are found in both cases.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.database import Connection
from ledger.facts import RecordedFact
from ledger.intake.identify import KEY_BYTES
from ledger.intake.interpret import Event, interpret_all
from ledger.store.read import conflicting_keys, events_between, events_with_key
from ledger.store.registry import Ledger
from projections.definition import Projection, Table
from projections.engine import store
from projections.engine.advance import REJECTED_REASON
from projections.engine.conflicts import policies_of_generation, select_by_policy
from projections.engine.digest import is_position_column
from projections.engine.fold_subjects import fold_from_start, read_group
from projections.engine.generations import outdated_projections
from projections.engine.groups import groups_of
from projections.programme_terms import NO_TERMS
from projections.programmes import read_terms
from projections.registry import PROJECTIONS

SUBJECTS_PER_READ = 200
EVENTS_PER_READ = 1_000
RANGES_PER_SAMPLE = 20  # evenly spread ranges of events in a sample

READ_SUBJECTS = """
    SELECT DISTINCT subject COLLATE "C" AS subject FROM facts
     WHERE ledger_id = $1 AND subject_kind = $2 AND subject > $3 ORDER BY 1 LIMIT $4
"""
SAMPLE_SUBJECTS = """
    SELECT subject FROM (SELECT DISTINCT subject FROM facts WHERE ledger_id = $1 AND subject_kind = $2) s
     ORDER BY hashtextextended(subject, $3) LIMIT $4
"""
READ_FACTS_BETWEEN = """
    SELECT position, subject_kind, subject, kind, tag, ordinal, body FROM facts
     WHERE ledger_id = $1 AND position > $2 AND position <= $3
"""
COUNT_FACTS_BY_BLOCK = "SELECT (position - 1) / $2::bigint, count(*) FROM facts WHERE ledger_id = $1 GROUP BY 1"
READ_FACTS_BY_KEY = """
    SELECT k.n, f.kind, f.body, f.position
      FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::smallint[], $6::bytea[], $7::smallint[])
           WITH ORDINALITY AS k (subject_kind, subject, occurred_at, rank, tag, ordinal, n)
      JOIN facts f ON f.ledger_id = $1 AND f.subject_kind = k.subject_kind AND f.subject = k.subject
           AND f.occurred_at = k.occurred_at AND f.rank = k.rank AND f.tag = k.tag AND f.ordinal = k.ordinal
"""
READ_UNREAD = """
    SELECT position FROM unread
     WHERE ledger_id = $1 AND position = ANY ($2) AND ($3::text IS NULL OR starts_with(reason, $3))
"""
READ_COLUMNS = """
    SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1
"""


class Mismatch(NamedTuple):
    """One stored value that differs from the folded or derived one. Without a column, the whole row or fact differs."""

    ledger: str
    projection: str  # or "facts"
    subject: str
    table: str
    key: Mapping[str, Any]
    column: str | None
    stored: Any
    folded: Any
    positions: Sequence[int]


class RowCheck(NamedTuple):
    """Result of a check: the numbers of checked subjects, facts and events, and the mismatches."""

    subjects: int
    facts: int
    events: int
    wrong: Sequence[Mismatch]


async def check_rows(
    connection: Connection, ledger: Ledger, *, sample: int | None = None, seed: int = 0, plan: bool = False
) -> RowCheck:
    """Check a ledger's facts and rows in the generation of the connection.

    `sample` is the number of subjects of each kind, and of events; None means all. Projections that wait for a rebuild
    are left out, unless `plan` is set. Raises RebuildDue.
    """
    outdated = frozenset[str]() if plan else await outdated_projections(connection)
    mismatches: list[Mismatch] = []
    subjects = facts = 0
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        last = await store.read_checkpoint(connection, ledger.ledger_id)
        events = await _check_facts(connection, ledger, last, sample, mismatches, plan=plan)
        for projection in PROJECTIONS:
            if projection.name not in outdated:
                mismatches += await _orphan_rows(connection, ledger, projection)
                async for some in _subjects(connection, ledger, projection, sample, seed):
                    subjects += len(some)
                    facts += await _check_subjects(connection, ledger, projection, some, mismatches)
    distinct = {
        (mismatch.table, mismatch.subject, repr(mismatch.key), mismatch.column): mismatch for mismatch in mismatches
    }
    return RowCheck(subjects, facts, events, list(distinct.values()))


async def _subjects(
    connection: Connection, ledger: Ledger, projection: Projection, sample: int | None, seed: int
) -> AsyncIterator[list[str]]:
    """Yield the subjects to check, in lists of limited length."""
    if sample is not None:
        rows = await connection.fetch(SAMPLE_SUBJECTS, ledger.ledger_id, projection.subject, seed, sample)
        names = [row["subject"] for row in rows]
        for start in range(0, len(names), SUBJECTS_PER_READ):
            yield names[start : start + SUBJECTS_PER_READ]
        return
    after = ""
    while rows := await connection.fetch(READ_SUBJECTS, ledger.ledger_id, projection.subject, after, SUBJECTS_PER_READ):
        yield [row["subject"] for row in rows]
        after = rows[-1]["subject"]


async def _check_subjects(
    connection: Connection, ledger: Ledger, projection: Projection, subjects: Sequence[str], mismatches: list[Mismatch]
) -> int:
    """Fold some subjects from their facts, and compare with the stored rows. Return the number of facts."""
    groups = await groups_of(connection, ledger.ledger_id, projection, subjects)
    root_of = groups.root_of()
    terms = await read_terms(connection, ledger.ledger_id) if projection.under is not None else NO_TERMS
    facts_by_subject = {root: await read_group(connection, ledger.ledger_id, projection, members)
             for root, members in groups.members.items()}  # fmt: skip
    alone = [subject for subject in subjects if subject not in root_of]
    async for subject, facts in store.read_facts(connection, ledger.ledger_id, projection.subject, alone):
        facts_by_subject[subject] = facts
    folded = {root: fold_from_start(projection, root, facts, {}, terms) for root, facts in facts_by_subject.items()}
    members = sorted({*facts_by_subject, *root_of})
    for table in projection.tables:
        stored = await _read_stored_rows(connection, ledger.ledger_id, table, members)
        folded_rows: dict[Any, dict[str, Any]] = {}
        for root, change in folded.items():
            for row in change.after.get(table.name, ()):
                values = dict(zip(table.columns, row, strict=True))
                folded_rows[root, *(_comparable(values[name]) for name in table.key)] = values
        for key in sorted(stored.keys() | folded_rows.keys(), key=repr):
            key_fields = dict(zip(("subject", *table.key), key, strict=True))
            positions = [recorded.occurrence.position for recorded in facts_by_subject.get(key[0], ())][-20:]
            for column, stored_value, folded_value in _differing_columns(stored.get(key), folded_rows.get(key), table):
                mismatches.append(
                    Mismatch(
                        ledger.name,
                        projection.name,
                        key[0],
                        table.name,
                        key_fields,
                        column,
                        stored_value,
                        folded_value,
                        positions,
                    )
                )
    return sum(len(facts) for facts in facts_by_subject.values())


def _differing_columns(
    stored: Mapping[str, Any] | None, folded: Mapping[str, Any] | None, table: Table
) -> list[tuple[str | None, Any, Any]]:
    if stored is None or folded is None:
        return [(None, stored and dict(stored), folded)]
    return [
        (name, stored.get(name), folded[name])
        for name in table.columns
        if not is_position_column(name)
        and (name not in stored or _comparable(stored[name]) != _comparable(folded[name]))
    ]


def _comparable(value: Any) -> Any:
    """Convert a value so that it compares as in the database: 10000 and 1E+4 are the same number, 10 and 10.0 are not.

    Lists and tuples compare equal.
    """
    if isinstance(value, Decimal):
        return format(value + 0, "f")  # + 0: a negative zero is stored as zero
    return [_comparable(item) for item in value] if isinstance(value, list | tuple) else value


async def _read_stored_rows(
    connection: Connection, ledger_id: int, table: Table, subjects: Sequence[str]
) -> dict[Any, dict[str, Any]]:
    existing = {row[0] for row in await connection.fetch(READ_COLUMNS, table.name)}
    columns = [name for name in table.columns if name in existing]
    if not columns:
        return {}  # with `plan`: the table is new
    query = (
        f"SELECT subject, {', '.join(columns)} FROM {table.name} "  # noqa: S608
        "WHERE ledger_id = $1 AND subject = ANY ($2::text[])"
    )
    rows = await connection.fetch(query, ledger_id, subjects)
    return {
        (row["subject"], *(_comparable(row[name]) for name in table.key if name in existing)): {
            name: row[name] for name in columns
        }
        for row in rows
    }


async def _orphan_rows(connection: Connection, ledger: Ledger, projection: Projection) -> list[Mismatch]:
    """Find the rows of subjects without facts."""
    mismatches = []
    for table in projection.tables:
        if not await connection.fetch(READ_COLUMNS, table.name):
            continue
        query = (
            f"SELECT DISTINCT subject FROM {table.name} t WHERE ledger_id = $1 "  # noqa: S608
            "AND NOT EXISTS (SELECT FROM facts f WHERE f.ledger_id = $1 AND f.subject_kind = $2 "
            "AND f.subject = t.subject) "
            "AND NOT EXISTS (SELECT FROM links l WHERE l.ledger_id = $1 AND l.subject_kind = $2 AND l.root = t.subject)"
        )
        for row in await connection.fetch(query, ledger.ledger_id, projection.subject):
            subject = row["subject"]
            mismatches.append(
                Mismatch(
                    ledger.name, projection.name, subject, table.name, {"subject": subject}, None, "there", None, ()
                )
            )
    return mismatches


async def _check_facts(
    connection: Connection, ledger: Ledger, last: int, sample: int | None, mismatches: list[Mismatch], *, plan: bool
) -> int:
    """Derive the facts of events again, and compare with the stored ones. Return the number of events.

    Each derived fact is looked up by its key. A block that holds more facts than were found is read completely.
    """
    folded = await folded_positions_by_key(connection, ledger, last)
    found: Counter[int] = Counter()
    checked = 0
    for after, upto in _sample_ranges(last, sample):
        async for events in events_between(connection, ledger.ledger_id, after, upto, EVENTS_PER_READ):
            folded_events = [event for event in events if is_folded(event, folded)]
            derived = await _derive_facts(connection, ledger, folded_events, REJECTED_REASON if plan else None)
            found.update(await _compare_with_stored(connection, ledger, derived, mismatches))
            checked += len(events)
    if sample is None:
        for block, count in await connection.fetch(COUNT_FACTS_BY_BLOCK, ledger.ledger_id, EVENTS_PER_READ):
            if count > found[block]:
                after = block * EVENTS_PER_READ
                async for events in events_between(connection, ledger.ledger_id, after, after + EVENTS_PER_READ):
                    derived = await _derive_facts(
                        connection, ledger, [event for event in events if is_folded(event, folded)]
                    )
                    mismatches += await _facts_without_event(connection, ledger, events, derived)
    return checked


async def folded_positions_by_key(connection: Connection, ledger: Ledger, last: int) -> dict[bytes, set[int]]:
    """Return, for each event key in conflict, the positions of the events that are folded."""
    policies = await policies_of_generation(connection, ledger.ledger_id)
    folded = {}
    for key in await conflicting_keys(connection, ledger.ledger_id, last):
        group = [event for event in await events_with_key(connection, ledger.ledger_id, key) if event.position <= last]
        folded[key] = {event.position for event in select_by_policy(group, policies)}
    return folded


def is_folded(event: Event, folded: Mapping[bytes, set[int]]) -> bool:
    """Return True if an event is folded: it is in no conflict, or the policy selects it."""
    key = event.event_key[:KEY_BYTES]
    return key not in folded or event.position in folded[key]


def _sample_ranges(last: int, sample: int | None) -> list[tuple[int, int]]:
    """Return the ranges of positions to read: spread evenly over the ledger, or all of it."""
    if sample is None or sample >= last:
        return [(0, last)] if last else []
    length = -(-sample // RANGES_PER_SAMPLE)
    starts = {round(number * (last - length) / (RANGES_PER_SAMPLE - 1)) for number in range(RANGES_PER_SAMPLE)}
    return [(start, start + length) for start in sorted(starts)]


async def _derive_facts(
    connection: Connection, ledger: Ledger, events: Sequence[Event], reason: str | None = None
) -> list[RecordedFact]:
    """Derive the facts of some events, without events recorded as unread. With `reason`, only without those that were
    recorded with that reason.
    """
    positions = [event.position for event in events]
    unread = {row[0] for row in await connection.fetch(READ_UNREAD, ledger.ledger_id, positions, reason)}
    return [
        recorded
        for event, interpretation in zip(events, interpret_all(events), strict=True)
        if event.position not in unread
        for recorded in interpretation.facts
    ]


async def _compare_with_stored(
    connection: Connection, ledger: Ledger, derived: Sequence[RecordedFact], mismatches: list[Mismatch]
) -> list[int]:
    """Look up derived facts by their keys. Return the block number of each stored one."""
    rows = [store.fact_row(ledger.ledger_id, recorded) for recorded in derived]
    columns = [[row[index] for row in rows] for index in range(1, 7)]
    stored = {row["n"]: row for row in await connection.fetch(READ_FACTS_BY_KEY, ledger.ledger_id, *columns)}
    for n, row in enumerate(rows, 1):
        derived_fact = {"kind": row[9], "body": row[10].decode(), "position": row[7]}
        is_stored = n in stored
        stored_fact = (
            {"kind": stored[n]["kind"], "body": stored[n]["body"].decode(), "position": stored[n]["position"]}
            if is_stored
            else None
        )
        if stored_fact != derived_fact and not (stored_fact is not None and _is_same_fact(stored_fact, derived_fact)):
            mismatches.append(_fact_mismatch(ledger, row[1], row[2], row[7], row[6], stored_fact, derived_fact))
    return [(row["position"] - 1) // EVENTS_PER_READ for row in stored.values()]


def _is_same_fact(stored: Mapping[str, Any], derived: Mapping[str, Any]) -> bool:
    """Compare two facts by their decoded values, because an earlier version may have written a number differently."""
    if (stored["kind"], stored["position"]) != (derived["kind"], derived["position"]):
        return False
    return store.decode_fact(stored["kind"], stored["body"].encode()) == store.decode_fact(
        derived["kind"], derived["body"].encode()
    )


async def _facts_without_event(
    connection: Connection, ledger: Ledger, events: Sequence[Event], derived: Sequence[RecordedFact]
) -> list[Mismatch]:
    """Find the stored facts of a block of events that no event of the block gives."""
    derived_keys = {
        (recorded.fact.subject_kind, recorded.fact.subject, recorded.occurrence.event_tag, recorded.occurrence.ordinal)
        for recorded in derived
    }
    rows = await connection.fetch(READ_FACTS_BETWEEN, ledger.ledger_id, events[0].position - 1, events[-1].position)
    return [
        _fact_mismatch(
            ledger, row["subject_kind"], row["subject"], row["position"], row["ordinal"],
            {"kind": row["kind"], "body": row["body"].decode(), "position": row["position"]}, None,
        )
        for row in rows
        if (row["subject_kind"], row["subject"], row["tag"], row["ordinal"]) not in derived_keys
    ]  # fmt: skip


def _fact_mismatch(
    ledger: Ledger, subject_kind: str, subject: str, position: int, ordinal: int, stored_fact: Any, derived_fact: Any
) -> Mismatch:
    key = {"position": position, "subject_kind": subject_kind, "ordinal": ordinal}
    return Mismatch(ledger.name, "facts", subject, "facts", key, None, stored_fact, derived_fact, (position,))
