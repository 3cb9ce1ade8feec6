"""The report views show the active generation, describe themselves, and open one ledger to each report role."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ledger.database import Connection, connect
from ledger.errors import NotPromoted
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine import promotion
from projections.engine.digest import compute_digest
from projections.engine.worker import catch_up
from projections.rebuild import rebuild
from projections.registry import PROJECTIONS
from projections.reports.publish import publish_views
from projections.reports.views import REPORT_VIEWS, TABLE_VIEWS, ReportView
from tests.support.payloads import VAULT, delivery, issued, redeemed

COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, NULL) AS type, obj_description(c.oid, 'pg_class') AS view,
           col_description(c.oid, a.attnum) AS comment
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
     WHERE c.relnamespace = 'report'::regnamespace AND c.relkind = 'v' ORDER BY c.relname, a.attnum
"""
TYPES = {"int": "integer", "timestamptz": "timestamp with time zone"}

SHOWN = "EXPLAIN (VERBOSE, FORMAT TEXT) SELECT position FROM report.position"


async def shown_schema(analyst: Connection) -> str:
    """Return the generation that the views show: also to a snapshot from before a promotion."""
    plan = "".join(row[0] for row in await analyst.fetch(SHOWN))
    [schema] = set(re.findall(r"generation_[0-9]+", plan))
    return str(schema)


@asynccontextmanager
async def reading(dsn: str) -> AsyncIterator[Connection]:
    fresh = await connect(dsn)
    try:
        yield fresh
    finally:
        await fresh.close()


async def test_every_view_and_column_has_the_published_name_and_type_and_a_comment(connection: Connection) -> None:
    found = await connection.fetch(COLUMNS)

    shown = {(row["relname"], row["attname"]): row["type"] for row in found}
    declared = {
        (view.name, column.name): TYPES.get(column.sql_type, column.sql_type)
        for view in REPORT_VIEWS
        for column in view.columns
    }
    assert shown == declared
    assert all(row["view"] and row["comment"] for row in found)


async def test_the_views_hold_the_rows_of_the_tables(connection: Connection, ledger: Ledger) -> None:
    await append(
        connection, VAULT, ledger.ledger_id, [delivery(issued("e1", 0, 1, 10)), delivery(issued("e2", 1, 2, 5))]
    )
    await catch_up(connection, ledger.ledger_id)
    tables = await compute_digest(connection, ledger.ledger_id, untimed=True)

    schema = await connection.fetchval("SELECT current_schema()")
    await connection.execute(f"SET search_path = report, {schema}")
    views = await compute_digest(connection, ledger.ledger_id, untimed=True)

    assert views == tables
    assert await connection.fetchval("SELECT sum(available) FROM report.balances") == 15
    assert [tuple(row) for row in await connection.fetch("SELECT * FROM report.position")] == [(ledger.ledger_id, 2)]


async def test_a_promotion_switches_the_views_and_waits_for_transactions_that_read_them(
    connection: Connection, dsn: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(connection, VAULT, ledger.ledger_id, [delivery(issued("e1", 0, 1, 10))])
    await catch_up(connection, ledger.ledger_id)
    await connection.execute("CREATE SCHEMA analysts; CREATE VIEW analysts.mine AS SELECT * FROM report.accounts")
    report = await rebuild(dsn, to_promote=False)
    await connection.execute("UPDATE generation_2.accounts SET available = 11")  # tells the two generations apart
    monkeypatch.setattr(publish_views, "__defaults__", (0,))

    async with reading(dsn) as analyst:
        async with analyst.transaction():
            assert await analyst.fetchval("SELECT available::int FROM report.accounts") == 10
            with pytest.raises(NotPromoted, match=f"end the processes {analyst.get_server_pid()}"):
                await promotion.promote(dsn, report.generation, force=True)
            assert await analyst.fetchval("SELECT sum(points)::int FROM report.lots") == 10
        await promotion.promote(dsn, report.generation, force=True)

        assert await analyst.fetchval("SELECT available::int FROM report.accounts") == 11
        assert await analyst.fetchval("SELECT available::int FROM analysts.mine") == 11
        await promotion.roll_back(dsn)
        assert await analyst.fetchval("SELECT available::int FROM report.accounts") == 10


async def test_across_a_promotion_under_load_the_views_have_the_digest_of_the_tables(
    connection: Connection, dsn: str, ledger: Ledger
) -> None:
    for number in range(20):
        await append(connection, VAULT, ledger.ledger_id, [delivery(issued(f"e{number}", number, number % 5, 10))])
    await catch_up(connection, ledger.ledger_id)
    report = await rebuild(dsn, to_promote=False)
    ends = asyncio.Event()

    async def load() -> None:
        async with reading(dsn) as writer:
            number = 20
            while not ends.is_set():
                body = redeemed(f"r{number}", number, number % 5, 1)
                await append(writer, VAULT, ledger.ledger_id, [delivery(body)])
                await catch_up(writer, ledger.ledger_id)
                number += 1

    async def compare() -> set[str]:
        """Compare the views with the tables of the generation that they show, in one snapshot each time."""
        shown = set()
        async with reading(dsn) as analyst:
            while not ends.is_set():
                async with analyst.transaction(isolation="repeatable_read"):
                    await analyst.execute("SET LOCAL search_path = report, projections")
                    await analyst.fetchval("SELECT count(*) FROM accounts")  # from now on nothing is switched
                    schema = await shown_schema(analyst)
                    await analyst.execute(f"SET LOCAL search_path = report, {schema}")
                    views = await compute_digest(analyst, ledger.ledger_id, untimed=True)
                    await analyst.execute(f"SET LOCAL search_path = {schema}")
                    assert views == await compute_digest(analyst, ledger.ledger_id, untimed=True)
                    shown.add(schema)
        return shown

    async def promote() -> None:
        await promotion.promote(dsn, report.generation, force=True)
        await asyncio.sleep(0)
        ends.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load())
        compared = tasks.create_task(compare())
        tasks.create_task(promote())

    assert "generation_1" in compared.result()
    async with reading(dsn) as analyst:
        assert await shown_schema(analyst) == "generation_2"


async def test_a_view_of_an_older_table_stays_until_the_rebuild(connection: Connection) -> None:
    await connection.execute("ALTER TABLE coupons DROP COLUMN series CASCADE")

    async with connection.transaction():
        await publish_views(connection, await connection.fetchval("SELECT current_schema()"))

    names = {row[0] for row in await connection.fetch("SELECT viewname FROM pg_views WHERE schemaname = 'report'")}
    assert names == {view.name for view in REPORT_VIEWS} - {"coupons"}
    assert len(TABLE_VIEWS) == sum(len(projection.tables) for projection in PROJECTIONS)


async def test_new_columns_come_last_and_removed_ones_replace_the_view(connection: Connection) -> None:
    schema = await connection.fetchval("SELECT current_schema()")
    await connection.execute("SET ROLE loyalty_projector")
    await connection.execute("DROP VIEW report.badges; DROP VIEW report.cards")
    await connection.execute("CREATE VIEW report.badges AS SELECT subject, ledger_id FROM badges")
    await connection.execute("CREATE VIEW report.cards AS SELECT ledger_id, subject, 1 AS gone FROM cards")

    async with connection.transaction():
        await publish_views(connection, schema)

    found = await connection.fetch(COLUMNS)
    badges = [row["attname"] for row in found if row["relname"] == "badges"]
    cards = [row["attname"] for row in found if row["relname"] == "cards"]
    assert badges[:3] == ["subject", "ledger_id", "customer"]
    assert cards == next(view.column_names for view in REPORT_VIEWS if view.name == "cards")


@pytest.mark.parametrize("view", REPORT_VIEWS, ids=lambda view: view.name)
def test_a_distributed_postgresql_can_run_a_view_on_the_server_of_the_ledger(view: ReportView) -> None:
    parts = re.findall(r"(\w+) AS \(\s*SELECT", view.select)
    readers = {part: len(re.findall(rf"(?:FROM|JOIN) {part}\b", view.select)) for part in parts}

    assert all(count == 1 for count in readers.values()), "a part that is read twice is stored, and then joined"
    assert not re.search(r"LATERAL \(\s*SELECT[^()]*(?:\([^()]*\)[^()]*)*LIMIT", view.select)
