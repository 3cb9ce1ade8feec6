"""Compare two generations at the same positions: first digests of ranges of subjects, then row by row where they
differ.

- Compared columns are those of digest.py: all columns but positions.
- A digest here is two 64-bit hashes that PostgreSQL computes, independent of the order of rows. They find accidents.
  `loyalty digest` gives proof.
- A difference is expected if it has a known reason: in the older generation the subject waited to be folded, or
  the difference follows from an upgrade alone (newly_read.py).
- A table or column that did not exist before cannot differ.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from ledger.database import Connection, connect
from ledger.errors import Unavailable
from ledger.store.registry import Ledger, list_ledgers
from projections.engine import promotion, store
from projections.engine.digest import FACTS_TABLE, is_position_column
from projections.engine.generations import Generation, is_incompatible
from projections.engine.parked import WAITING_REASONS
from projections.rebuild import partition
from projections.rebuild.comparison import Comparison, Difference
from projections.rebuild.newly_read import find_newly_read
from projections.rebuild.row_differences import diff_rows, read_columns, read_rows, rows_by_key
from projections.registry import PROJECTIONS
from projections.tables import Table

POSITIONS_LISTED_MAX = 20
ALIGNMENT_ATTEMPTS_MAX = 200

READ_WAITING = """
    SELECT subject FROM subjects WHERE ledger_id = $1 AND subject_kind = $2 AND subject = ANY ($3) AND parked = ANY ($4)
"""
READ_FACTS_OF_SUBJECT = """
    SELECT position, kind, occurred_at FROM facts WHERE ledger_id = $1 AND subject_kind = $2 AND subject = $3
     ORDER BY position
"""


class ParkedRow(NamedTuple):
    parked: str | None


PARKED_TABLE = Table("subjects", ParkedRow)
LEADING_COLUMNS = ("subject_kind", "subject")
IsExpected = Callable[[str, str, str | None], bool]  # (projection, table, column)


class ComparedTable(NamedTuple):
    """A table with its compared columns. `subject_kind` is "" if a column of the table names the kind."""

    subject_kind: str
    table: Table
    columns: Sequence[str]


class SnapshotPair(NamedTuple):
    """The same ledger in two generations, each in a repeatable-read snapshot at the same position."""

    ledger: Ledger
    old: Connection
    new: Connection
    new_kinds: Collection[str]  # subject kinds of projections that the old generation does not have


async def compare_generations(dsn: str, old: Generation, new: Generation, expect: Collection[str] = ()) -> Comparison:
    """Compare all rows of two generations.

    `expect` names the projections, tables or columns that may differ, such as "accounts" or "accounts.lifetime".
    """
    comparison = Comparison(old.generation, new.generation, frozen=is_incompatible(old.shapes))
    if comparison.frozen:
        return comparison
    connection = await connect(dsn)
    try:
        for ledger in await list_ledgers(connection):
            async with _open_snapshot_pair(dsn, old, new, ledger) as pair:
                comparison.positions[ledger.name] = await store.read_checkpoint(pair.old, ledger.ledger_id)
                await _compare_ledger(pair, comparison, build_expectation(expect))
    finally:
        await connection.close()
    return comparison


def build_expectation(expect: Collection[str]) -> IsExpected:
    """Return a function that is True for differences in the named projections, tables or columns."""
    expected_names = frozenset(expect)

    def is_expected(projection: str, table: str, column: str | None) -> bool:
        names = {projection, table}
        return bool(expected_names & (names | {f"{name}.{column}" for name in names}))

    return is_expected


@asynccontextmanager
async def _open_snapshot_pair(
    dsn: str, old: Generation, new: Generation, ledger: Ledger
) -> AsyncIterator[SnapshotPair]:
    """Open snapshots of two generations at the same position of a ledger. Both keep following it meanwhile."""
    old_connection = await connect(dsn, search_path=old.schema_name)
    new_connection = await connect(dsn, search_path=new.schema_name)
    try:
        for _ in range(ALIGNMENT_ATTEMPTS_MAX):
            async with old_connection.transaction(isolation="repeatable_read", readonly=True):
                position = await store.read_checkpoint(old_connection, ledger.ledger_id)
                await promotion.advance_to(new_connection, ledger.ledger_id, position)
                async with new_connection.transaction(isolation="repeatable_read", readonly=True):
                    reached = await store.read_checkpoint(new_connection, ledger.ledger_id)
                    if reached == position:
                        kinds = {
                            projection.subject for projection in PROJECTIONS if projection.name not in old.versions
                        }
                        yield SnapshotPair(ledger, old_connection, new_connection, kinds)
                        return
            await promotion.advance_to(old_connection, ledger.ledger_id, reached)
        raise Unavailable("the two generations were never found at the same position")
    finally:
        await old_connection.close()
        await new_connection.close()


async def _compare_ledger(pair: SnapshotPair, comparison: Comparison, is_expected: IsExpected) -> None:
    bounds = await partition.subject_bounds(pair.old, pair.ledger.ledger_id)
    for projection, projection_tables in groupby(compared_tables(), key=itemgetter(0)):
        compared = [
            ComparedTable(subject_kind, table, await _common_columns(pair, comparison, projection, table, is_expected))
            for _, subject_kind, table in projection_tables
        ]
        await _compare_projection(pair, comparison, projection, compared, bounds, is_expected)


async def _compare_projection(
    pair: SnapshotPair,
    comparison: Comparison,
    projection: str,
    compared: Sequence[ComparedTable],
    bounds: Sequence[str],
    is_expected: IsExpected,
) -> None:
    """Compare the tables of a projection by digests. Then compare row by row the ranges of subjects that differ.

    Ranges are read one after the other, so memory does not grow with the number of differences.
    """
    differing: dict[int, list[ComparedTable]] = defaultdict(list)
    for compared_table in compared:
        if len(compared_table.columns) > 1:  # else only one of them has the table, and its columns are counted
            old_digests, new_digests = [
                await _digest_ranges(side, pair.ledger.ledger_id, compared_table, bounds)
                for side in (pair.old, pair.new)
            ]
            comparison.rows[compared_table.table.name] += sum(row[0] for row in old_digests.values())
            for number in old_digests.keys() | new_digests.keys():
                if old_digests.get(number) != new_digests.get(number):
                    differing[number].append(compared_table)
    for number in sorted(differing):
        low, high = ("", *bounds)[number], (*bounds, None)[number]
        found: dict[tuple[str, str], list[Difference]] = defaultdict(list)
        for compared_table in differing[number]:
            name, columns = compared_table.table.name, compared_table.columns
            key = [*(column for column in columns if column in LEADING_COLUMNS or column in compared_table.table.key)]
            old, new = [
                rows_by_key(await _read_rows(side, pair.ledger.ledger_id, compared_table, low, high), key)
                for side in (pair.old, pair.new)
            ]
            for row_key, column, old_value, new_value in diff_rows(old, new, key, columns):
                kind, subject = row_key.get("subject_kind", compared_table.subject_kind), row_key["subject"]
                expected = is_expected(projection, name, column)
                difference = Difference(
                    pair.ledger.name, projection, name, kind, subject, row_key, column, old_value, new_value, expected
                )
                found[kind, subject].append(difference)
        await _count_differences(pair, comparison, found)


async def _count_differences(
    pair: SnapshotPair, comparison: Comparison, found: Mapping[tuple[str, str], Sequence[Difference]]
) -> None:
    """Count the differences of some subjects. Differences of subjects that waited for the rebuild are expected, and
    those that only newly read events cause.
    """
    waiting, newly_read = set[tuple[str, str]](), set[tuple[str, str]]()
    for kind, of_kind in groupby(sorted(found), key=itemgetter(0)):
        subjects = [subject for _, subject in of_kind]
        waiting_rows = await pair.old.fetch(READ_WAITING, pair.ledger.ledger_id, kind, subjects, WAITING_REASONS)
        waiting.update((kind, row["subject"]) for row in waiting_rows)
        newly = await find_newly_read(
            pair.old, pair.new, pair.ledger.ledger_id, kind, subjects, is_new_kind=kind in pair.new_kinds
        )
        newly_read.update((kind, subject) for subject in newly)
    for (kind, subject), differences in found.items():
        if (kind, subject) in waiting:
            differences = [difference._replace(expected=True) for difference in differences]
        elif (kind, subject) in newly_read:  # a fold that fails stays unexpected
            differences = [
                difference._replace(expected=difference.expected or difference.table != PARKED_TABLE.name)
                for difference in differences
            ]
        comparison.take(differences, await _explain_facts(pair, kind, subject) if comparison.has_room else {})


def compared_tables() -> list[tuple[str, str, Table]]:
    """List the compared tables as (projection, subject kind, table). The kind is "" if a column names it."""
    projection_tables = [
        (projection.name, projection.subject, table) for projection in PROJECTIONS for table in projection.tables
    ]
    return [("facts", "", FACTS_TABLE), ("parked", "", PARKED_TABLE), *projection_tables]


async def _common_columns(
    pair: SnapshotPair, comparison: Comparison, projection: str, table: Table, is_expected: IsExpected
) -> list[str]:
    """Return the columns that both generations have, without positions. A column of only one generation is a
    difference.
    """
    old, new = [await read_columns(side, table.name) for side in (pair.old, pair.new)]
    common = old & new
    leading = [name for name in LEADING_COLUMNS if name in common or name == "subject"]
    if table is PARKED_TABLE or table is FACTS_TABLE:
        return [*leading, *table.columns]
    if not old:
        if table.name not in comparison.new_tables:
            comparison.new_tables.append(table.name)
        return leading
    for column in sorted(old ^ new):
        old_value, new_value = ("there", None) if column in old else (None, "there")
        expected = column in new or is_expected(projection, table.name, column)
        difference = Difference(
            pair.ledger.name, projection, table.name, "", "", {}, column, old_value, new_value, expected
        )
        comparison.take([difference], {})
    return [*leading, *(name for name in table.columns if name in common and not is_position_column(name))]


async def _digest_ranges(
    connection: Connection, ledger_id: int, compared: ComparedTable, bounds: Sequence[str]
) -> dict[int, tuple[int, int, int]]:
    """Digest a table by ranges of subjects. Return for each range the number of rows and two hashes."""
    _, table, columns = compared
    row_text = f"ROW({', '.join(columns)})::text"
    query = (
        f'SELECT width_bucket(subject COLLATE "C", $2::text[]), count(*), '  # noqa: S608
        f"bit_xor(hashtextextended({row_text}, 1)), bit_xor(hashtextextended({row_text}, 2)) "
        f"FROM {table.name} WHERE ledger_id = $1{_row_filter(table)} GROUP BY 1"
    )
    if not bounds:
        query = query.replace('width_bucket(subject COLLATE "C", $2::text[])', "0 * cardinality($2::text[])")
    return {row[0]: tuple(row)[1:] for row in await connection.fetch(query, ledger_id, bounds)}


async def _read_rows(
    connection: Connection, ledger_id: int, compared: ComparedTable, low: str, high: str | None
) -> list[dict[str, Any]]:
    """Read the rows of a range of subjects."""
    condition = (
        f'subject COLLATE "C" >= $2 AND ($3::text IS NULL OR subject COLLATE "C" < $3){_row_filter(compared.table)}'
    )
    return await read_rows(connection, ledger_id, compared.table.name, compared.columns, condition, low, high)


def _row_filter(table: Table) -> str:
    return " AND parked IS NOT NULL" if table is PARKED_TABLE else ""


async def _explain_facts(pair: SnapshotPair, subject_kind: str, subject: str) -> dict[str, Any]:
    """Return the facts of a subject: their numbers, those that only one generation has, and the last ones."""
    old, new = [
        await side.fetch(READ_FACTS_OF_SUBJECT, pair.ledger.ledger_id, subject_kind, subject)
        for side in (pair.old, pair.new)
    ]
    old_facts, new_facts = ({(row["position"], row["kind"]) for row in rows} for rows in (old, new))
    last = [dict(row) for row in (new or old)[-POSITIONS_LISTED_MAX:]]
    return {
        "facts": {"old": len(old), "new": len(new)},
        "facts_only_in_old": [{"position": position, "kind": kind} for position, kind in sorted(old_facts - new_facts)][
            :POSITIONS_LISTED_MAX
        ],
        "facts_only_in_new": [{"position": position, "kind": kind} for position, kind in sorted(new_facts - old_facts)][
            :POSITIONS_LISTED_MAX
        ],
        "last_facts": last,
    }
