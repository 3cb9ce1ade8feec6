"""Advance from the ledger to rows, live. The limit reads the same input and writes the same rows without
interpretation.
"""

from typing import Any, NamedTuple

from benchmarks.environment import (
    Stopwatch,
    append_history,
    build_history,
    create_bench_ledger,
    open_database,
    postgres_pid,
)
from benchmarks.figures import Figure
from benchmarks.processes import CpuTime
from ledger.database import Connection
from ledger.store.read import events_between, tail
from projections.engine.worker import catch_up
from projections.registry import PROJECTIONS

ROWS_PER_COPY = 2_000
OWN_TABLES = ("facts", "subjects")
PRIMARY_KEY = """
    SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'p'
"""


class TableRows(NamedTuple):
    """All rows of one table, to be written again."""

    name: str
    columns: list[str]
    records: list[Any]


async def advance(events: int, runs: int) -> list[Figure]:
    """Advance an empty generation to the end of a ledger.

    The limit reads the events and writes the same rows with their keys, without interpretation.
    """
    ours, bare, done = list[float](), list[float](), 0
    spent: list[tuple[float, float]] = []
    async with open_database() as database:
        for run in range(runs):
            bench_ledger = await create_bench_ledger(database, f"advance-{run}")
            done = await append_history(database, bench_ledger, build_history(events, seed=run + 1))
            with CpuTime(postgres=postgres_pid(database)) as cpu, Stopwatch() as watch:
                await catch_up(database.connection, bench_ledger.ledger.ledger_id)
            ours.append(done / watch.seconds)
            spent.append(cpu.per_unit(done))
            seconds = await _read_events(database.connection, bench_ledger.ledger.ledger_id)
            for table in await _tables(database.connection, bench_ledger.ledger.ledger_id):
                seconds += await _write(database.connection, table)
            bare.append(done / seconds)
    limit = "events read, the same rows written"
    return [Figure(limit, "events", done, bare), Figure("advance", "events", done, ours, limit, cpu_us=spent)]


async def _read_events(connection: Connection, ledger_id: int) -> float:
    last = await tail(connection, ledger_id)
    with Stopwatch() as watch:
        async for _ in events_between(connection, ledger_id, 0, last):
            pass
    return watch.seconds


async def _tables(connection: Connection, ledger_id: int) -> list[TableRows]:
    """Read all rows of a ledger's projections."""
    names = [*OWN_TABLES, *(table.name for projection in PROJECTIONS for table in projection.tables)]
    tables = []
    for name in names:
        rows = await connection.fetch(f"SELECT * FROM {name} WHERE ledger_id = $1", ledger_id)  # noqa: S608
        if rows:
            tables.append(TableRows(name, list(rows[0].keys()), [tuple(row) for row in rows]))
    return tables


async def _write(connection: Connection, table: TableRows) -> float:
    """COPY a table's rows into a table of the same form, with its primary key."""
    await connection.execute(f"CREATE TABLE bare (LIKE {table.name})")
    key = await connection.fetchval(PRIMARY_KEY, table.name)
    try:
        with Stopwatch() as watch:
            await connection.execute(f"ALTER TABLE bare ADD {key}")
            for start in range(0, len(table.records), ROWS_PER_COPY):
                records = table.records[start : start + ROWS_PER_COPY]
                await connection.copy_records_to_table("bare", records=records, columns=table.columns)
    finally:
        await connection.execute("DROP TABLE bare")
        await connection.reload_schema_state()
    return watch.seconds
