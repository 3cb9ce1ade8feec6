"""Read the rows that may match the filters of a list: in its order, a bounded number of rows for each read.

1. If few rows meet the indexed condition of one filter, they are all read. The other filters then choose among them.
2. Otherwise rows are walked in the order of an index: that of a filter if it has one in this order, else that of the
   list. After WALKED_MAX rows the read ends, although few of them may have matched. The next read goes on there.
3. Accounts with lapsing lots are found by walking the lots.
4. A filter with an index in another order, alone, leaves the choice to PostgreSQL: its rows are sorted.

The end of a walk is read before its rows. So rows that are written in between are neither skipped nor repeated.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from ledger.database import fetch_planned
from projections.tables import Table
from service.queries.context import QueryContext
from service.queries.listing.filters import Arguments, GivenFilter, Key, ListOrder, PartsOfRows, RowCondition

FEW_ROWS = 2_000
WALKED_MAX = 2_000

EQUALITY = re.compile(r"(\w+) = (?:\{\}::text|'\w+')")
EVERY_ROW = RowCondition("true")

# `{table}` is repeated as the name of the subquery, because conditions may name it. OFFSET 0 keeps conditions apart.
COUNT_FEW = "SELECT count(*) FROM ({found} LIMIT {limit}) found"
READ_FEW = """
    SELECT * FROM (SELECT * FROM {table} WHERE ledger_id = $1 AND ({indexed}) OFFSET 0) {table}
     WHERE {conditions}{range} ORDER BY {columns} LIMIT {limit}
"""
END_OF_WALK = """
    SELECT {columns} FROM {table} WHERE ledger_id = $1 AND ({indexed}){range} ORDER BY {columns} OFFSET {walked} LIMIT 1
"""
WALK = """
    SELECT * FROM (
        SELECT * FROM {table} WHERE ledger_id = $1 AND ({indexed}){range} ORDER BY {columns} OFFSET 0) {table}
     WHERE {conditions} ORDER BY {columns} LIMIT {limit}
"""
END_OF_PARTS = "SELECT {key} FROM {walked}{range} ORDER BY {key} OFFSET {count} LIMIT 1"
READ = "SELECT * FROM {table} WHERE ledger_id = $1 AND {conditions}{range} ORDER BY {columns} LIMIT {limit}"


class Candidates(NamedTuple):
    """Rows that may match, in order. All rows up to the key `following` were read; None if no row follows."""

    rows: Sequence[Mapping[str, Any]]
    following: Key | None


class Read(NamedTuple):
    """The parts of a read that are the same for all its statements."""

    query: QueryContext
    table: Table
    order: ListOrder
    after: Key | None
    limit: int

    @property
    def columns(self) -> str:
        return ", ".join(self.order.columns)

    def range(self, arguments: Arguments, last: Key | None = None) -> str:
        """Return the condition that rows follow the key `after`, up to the key `last`."""
        ends = ((">", self.after), ("<=", last))
        return "".join(
            f" AND ({self.columns}) {sign} ({', '.join(map(arguments.add, key))})"
            for sign, key in ends
            if key is not None
        )

    async def fetch(self, sql: str, arguments: Arguments, **parts: Any) -> Sequence[Mapping[str, Any]]:
        """Fetch rows by a statement. Its arguments were added in the order of its parts."""
        filled = sql.format(table=self.table.name, columns=self.columns, **parts)
        return await fetch_planned(self.query.connection, filled, *arguments.values)

    def candidates(self, rows: Sequence[Mapping[str, Any]], end: Key | None = None) -> Candidates:
        """Return candidates of a read that ended at a key, unless the limit ended it before."""
        full = len(rows) >= self.limit
        return Candidates(rows, self.order.key_of(rows[-1]) if full else end)


async def read_candidates(
    query: QueryContext, table: Table, given: Sequence[GivenFilter], order: ListOrder, after: Key | None, limit: int
) -> Candidates:
    """Return up to `limit` rows after a key that may match all given filters."""
    read = Read(query, table, order, after, limit)
    few = await _fewest(read, given)
    if few is not None:
        return await _read_few(read, few, given)
    walkable = [one for one in given if _is_walkable(read, one)]
    if walkable:
        return await _walk_alternatives(read, walkable[0], given)
    for one in given:
        parts = _parts_of(one)
        if parts is not None and order.columns == (parts.key,):
            return await _walk_parts(read, parts, one[1], given)
    if len(given) == 1 or any(one.kind in ("text", "reference") for one, _ in given):
        return await _read_sorted(read, given)
    return await _walk(read, EVERY_ROW, None, given)


async def _fewest(read: Read, given: Sequence[GivenFilter]) -> GivenFilter | None:
    """Return the filter with the fewest rows, or None if each has more than FEW_ROWS.

    A single filter with an index of its own needs no count.
    """
    counts = list[int]()
    for one in given if len(given) > 1 else [one for one in given if _parts_of(one)]:
        arguments, parts = Arguments(read.query.ledger.ledger_id), _parts_of(one)
        if parts is None:
            found = f"SELECT FROM {read.table.name} WHERE ledger_id = $1 AND ({_any_indexed(arguments, one)})"
        else:
            found = parts.select(arguments.fill(parts.condition, one[1]))
        [row] = await read.fetch(COUNT_FEW, arguments, found=found, limit=FEW_ROWS + 1)
        counts.append(int(row["count"]))
    fewest = min(counts, default=FEW_ROWS + 1)
    return given[counts.index(fewest)] if fewest <= FEW_ROWS else None


async def _read_few(read: Read, few: GivenFilter, given: Sequence[GivenFilter]) -> Candidates:
    parts = _parts_of(few)
    if parts is not None:
        return await _read_by_parts(read, parts, few[1], given)
    arguments = Arguments(read.query.ledger.ledger_id)
    rows = await read.fetch(
        READ_FEW,
        arguments,
        indexed=_any_indexed(arguments, few),
        conditions=" AND ".join(map(arguments.any_of, given)),
        range=read.range(arguments),
        limit=read.limit,
    )
    return read.candidates(rows)


async def _walk_parts(read: Read, parts: PartsOfRows, value: Any, given: Sequence[GivenFilter]) -> Candidates:
    """Walk parts of rows in the order of their rows. Return the rows that meet all filters."""
    arguments = Arguments(read.query.ledger.ledger_id)
    ends = await read.fetch(
        END_OF_PARTS,
        arguments,
        key=parts.key,
        walked=parts.walked,
        range=read.range(arguments),
        count=WALKED_MAX - 1,
    )
    return await _read_by_parts(read, parts, value, given, (ends[0][parts.key],) if ends else None)


async def _read_by_parts(
    read: Read, parts: PartsOfRows, value: Any, given: Sequence[GivenFilter], end: Key | None = None
) -> Candidates:
    """Read the rows of parts, up to a key. The parts must be few."""
    arguments = Arguments(read.query.ledger.ledger_id)
    found = parts.select(arguments.fill(parts.condition, value))
    if end is not None:
        found += read.range(arguments, end)
    rows = await read.fetch(
        READ_FEW,
        arguments,
        indexed=f"{parts.key} = ANY (ARRAY({found}))",
        conditions=" AND ".join(map(arguments.any_of, given)),
        range=read.range(arguments, end),
        limit=read.limit,
    )
    return read.candidates(rows, end)


async def _read_sorted(read: Read, given: Sequence[GivenFilter]) -> Candidates:
    arguments = Arguments(read.query.ledger.ledger_id)
    conditions = " AND ".join(map(arguments.any_of, given))
    rows = await read.fetch(READ, arguments, conditions=conditions, range=read.range(arguments), limit=read.limit)
    return read.candidates(rows)


async def _walk_alternatives(read: Read, driver: GivenFilter, given: Sequence[GivenFilter]) -> Candidates:
    """Walk the rows of each alternative of a filter, and merge them. All are read up to the first end of one."""
    others = [one for one in given if one is not driver]
    one, value = driver
    end: Key | None = None
    rows: dict[Key, Mapping[str, Any]] = {}
    for condition in one.conditions_for(value):
        found = await _walk(read, condition, value, others, end)
        rows |= {read.order.key_of(row): row for row in found.rows}
        end = found.following
    keys = sorted(key for key in rows if end is None or key <= end)[: read.limit]
    return read.candidates([rows[key] for key in keys], end)


async def _walk(
    read: Read, condition: RowCondition, value: Any, others: Sequence[GivenFilter], end: Key | None = None
) -> Candidates:
    """Walk the rows that meet the indexed part of a condition, up to a key. Return those that also meet the rest."""
    if others or condition.rest != "true":
        arguments = Arguments(read.query.ledger.ledger_id)
        indexed, range_walked = arguments.fill(condition.indexed, value), read.range(arguments, end)
        ends = await read.fetch(END_OF_WALK, arguments, indexed=indexed, range=range_walked, walked=WALKED_MAX - 1)
        end = read.order.key_of(ends[0]) if ends else end
    arguments = Arguments(read.query.ledger.ledger_id)
    rows = await read.fetch(
        WALK,
        arguments,
        indexed=arguments.fill(condition.indexed, value),
        range=read.range(arguments, end),
        conditions=" AND ".join([f"({arguments.fill(condition.rest, value)})", *map(arguments.any_of, others)]),
        limit=read.limit,
    )
    return read.candidates(rows, end)


def _parts_of(given: GivenFilter) -> PartsOfRows | None:
    one, value = given
    return one.conditions_for(value)[0].parts


def _any_indexed(arguments: Arguments, given: GivenFilter) -> str:
    one, value = given
    return arguments.fill(" OR ".join(condition.indexed for condition in one.conditions_for(value)), value)


def _is_walkable(read: Read, given: GivenFilter) -> bool:
    """Return True if an index has the rows of a filter in the order of the list."""
    one, value = given
    return one.order == read.order.name or all(
        _has_index(read.table, read.order.columns, condition.indexed) for condition in one.conditions_for(value)
    )


@cache
def _has_index(table: Table, columns: tuple[str, ...], condition: str) -> bool:
    equality = EQUALITY.fullmatch(condition)
    if equality is None:
        return f"(ledger_id, {', '.join(columns)}) WHERE {condition}" in table.indexes.values()
    ordered = f"(ledger_id, {equality[1]}, {', '.join(columns)})"
    return any(index.startswith(ordered) for index in table.indexes.values())
