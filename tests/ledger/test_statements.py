"""Each statement is about one ledger, which a parameter names for every table. So a database of many servers can run it
on the server that holds the ledger, and a plan never reads rows of other ledgers.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from ledger.placement import DISTRIBUTED_TABLES, LOCAL_TABLES, REFERENCE_TABLES

ROOT = Path(__file__).parents[2]
PROGRAM = [path for folder in ("ledger", "projections", "service") for path in (ROOT / folder).rglob("*.py")]

BORROWED_ID = re.compile(r"ledger_id = \w+\.ledger_id|USING \(ledger_id")
# Statements over all ledgers, report views, and look-ups in reference tables by an id that names no ledger.
MAY_BORROW = {
    "ledger/store/api_keys.py": 1,
    "ledger/store/registry.py": 2,
    "ledger/transparency/public_logs.py": 1,
    "projections/engine/followed_generations.py": 3,
    "projections/rebuild/copy_facts.py": 2,
    "projections/reports/computed_views.py": 4,
    "service/monitoring/outgoing_gauges.py": 3,
    "service/monitoring/position_gauges.py": 10,
    "service/outgoing/endpoints.py": 1,
    "service/reporting/report_roles.py": 1,
}
LOCK_OF_LEDGER = re.compile(r"advisory\w*\(1819239276|\bAPPENDS\b")
COPIED_ROWS = re.compile(r"INSERT INTO ledger\.[^;]*?\bSELECT\b[^;]*?\bFROM ledger\.", re.DOTALL)
VOLATILE_DEFAULT = re.compile(r"coalesce\([^()]*, (?:now|clock_timestamp)\(\)\)")
UNTYPED = re.compile(r"INSERT INTO[^;]*?SELECT[^;]*?\$\d+(?![\d:])[^;]*?FROM unnest")  # another server cannot infer it
CONFLICT_WITH_PARAMETER = re.compile(r"FROM unnest[^;]*?ON CONFLICT[^;]*?\$\d")  # runs apart from the SELECT
CONFINED_HERE = re.compile(r"\bSET (?:LOCAL )?app\.ledger")  # with several servers, only SET LOCAL reaches them
SETTING_HERE = re.compile(r"set_config\('app\.")  # a trigger on another server does not see it
VOLATILE_CASE = re.compile(
    r"UPDATE (?:ledger|outgoing)\.[^;]*?\bCASE\b[^;]*?\b(?:now|clock_timestamp)\(\)[^;]*?\bEND\b"
)
KEYS = """
    SELECT n.nspname || '.' || c.relname AS table, i.relname AS index, a.attname AS first
      FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]
     WHERE x.indisunique AND n.nspname IN ('ledger', 'outgoing', 'generation_1') ORDER BY 1, 2
"""
TABLES = """
    SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND n.nspname IN ('ledger', 'outgoing', 'projections', 'public') ORDER BY 1
"""
POLICIES_WITH_SUB_SELECT = """
    SELECT polname, polrelid::regclass FROM pg_policy
     WHERE polrelid = ANY ($1::text[]::regclass[])
       AND coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '') ~* 'select'
"""


def texts_of(path: Path) -> Iterator[str]:
    """Yield the strings of a module, and the constant parts of its f-strings."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def found_in_program(pattern: re.Pattern[str]) -> dict[str, int]:
    counts = Counter[str]()
    for path in PROGRAM:
        counts[str(path.relative_to(ROOT))] += sum(len(pattern.findall(text)) for text in texts_of(path))
    return {name: count for name, count in counts.items() if count}


def test_each_table_of_a_statement_is_asked_for_the_ledger_of_a_parameter() -> None:
    assert found_in_program(BORROWED_ID) == MAY_BORROW


def test_the_lock_of_a_ledger_is_taken_by_functions_only() -> None:
    named = {str(path.relative_to(ROOT)) for path in PROGRAM if LOCK_OF_LEDGER.search(path.read_text())}

    assert named == {"ledger/locks.py"}


def test_no_statement_copies_rows_between_tables_of_the_ledger() -> None:
    assert found_in_program(COPIED_ROWS) == {}


def test_no_default_of_a_stored_value_is_volatile() -> None:
    assert found_in_program(VOLATILE_DEFAULT) == {}
    assert found_in_program(VOLATILE_CASE) == {}


def test_parameters_beside_unnested_arrays_have_types() -> None:
    assert found_in_program(UNTYPED) == {}
    assert found_in_program(CONFLICT_WITH_PARAMETER) == {}


def test_settings_that_triggers_read_reach_every_server() -> None:
    assert found_in_program(SETTING_HERE) == {}
    assert set(found_in_program(CONFINED_HERE)) == {"ledger/confined_sessions.py"}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (BORROWED_ID, "SELECT FROM lots l JOIN accounts a ON a.ledger_id = l.ledger_id"),
        (BORROWED_ID, "SELECT FROM links a JOIN links b USING (ledger_id, root)"),
        (COPIED_ROWS, "INSERT INTO ledger.access (n) SELECT max(n) + 1 FROM ledger.access"),
        (VOLATILE_DEFAULT, "UPDATE t SET revoked_at = coalesce(revoked_at, now())"),
        (VOLATILE_CASE, "UPDATE ledger.connections SET disabled_at = CASE WHEN $3 THEN least(disabled_at, now()) END"),
        (UNTYPED, "INSERT INTO subjects SELECT $1, subject FROM unnest($2::text[]) AS s (subject)"),
        (CONFLICT_WITH_PARAMETER, "SELECT n FROM unnest($1) ON CONFLICT DO UPDATE SET a = 1 WHERE $2"),
        (SETTING_HERE, "SELECT set_config('app.erasing', $1, true)"),
        (LOCK_OF_LEDGER, "SELECT pg_advisory_xact_lock(1819239276, $1)"),
    ],
)
def test_these_patterns_find_what_they_are_for(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)


async def test_every_table_is_placed_once(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    tables = [row[0] for row in await connection.fetch(TABLES)]

    assert sorted([*DISTRIBUTED_TABLES, *REFERENCE_TABLES, *LOCAL_TABLES]) == tables


async def test_every_key_begins_with_the_ledger(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    other = {(row["table"], row["index"]) for row in await connection.fetch(KEYS) if row["first"] != "ledger_id"}

    assert {table for table, _ in other} <= set(REFERENCE_TABLES)


async def test_no_policy_of_a_distributed_table_has_a_sub_select(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    assert await connection.fetch(POLICIES_WITH_SUB_SELECT, [*DISTRIBUTED_TABLES, *REFERENCE_TABLES]) == []
