"""Bytes on disk for each event, by table: the table with its large values, and its indexes."""

from benchmarks.environment import append_history, build_history, create_bench_ledger, open_database
from benchmarks.figures import Figure
from projections.engine.worker import catch_up

BYTES_MIN = 20.0  # an event; smaller tables are one figure
SIZES = """
    SELECT c.relname AS name, pg_table_size(c.oid)::float8 AS table_bytes, pg_indexes_size(c.oid)::float8 AS index_bytes
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
     ORDER BY pg_total_relation_size(c.oid) DESC
"""


async def disk(events: int, _runs: int) -> list[Figure]:
    """Append and project a history, and measure all tables."""
    async with open_database() as database:
        bench_ledger = await create_bench_ledger(database, "bench")
        history = build_history(events)
        stored = await append_history(database, bench_ledger, history)
        await catch_up(database.connection, bench_ledger.ledger.ledger_id)
        await database.connection.execute("VACUUM")
        rows = await database.connection.fetch(SIZES)
    figures = [
        _figure("body as delivered, mean", sum(len(body) for _, body in history), stored),
        _figure("all tables with their indexes", sum(row["table_bytes"] + row["index_bytes"] for row in rows), stored),
    ]
    small = 0.0
    for row in rows:
        if row["table_bytes"] + row["index_bytes"] < BYTES_MIN * stored:
            small += row["table_bytes"] + row["index_bytes"]
            continue
        figures.append(_figure(row["name"], row["table_bytes"], stored))
        figures.append(_figure(f"{row['name']}, indexes", row["index_bytes"], stored))
    return [*figures, _figure("smaller tables together", small, stored)]


def _figure(name: str, size: float, events: int) -> Figure:
    return Figure(name, "events", events, [size / events], per=" bytes")
