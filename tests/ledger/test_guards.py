"""The guards in PostgreSQL: every grant, trigger and policy is the one that was committed, and does what it is for."""

import difflib
from pathlib import Path

import asyncpg
import pytest

from ledger.confined_sessions import open_pool
from ledger.database import connect
from ledger.privacy.encryption import MasterKey
from ledger.privacy.vault import Vault
from ledger.store import api_keys, registry
from ledger.store.append import append
from ledger.store.registry import Ledger
from projections.engine import generations
from projections.engine.worker import catch_up
from service.database_roles import ROLE_PURPOSES
from service.startup_checks import MAY_CHANGE
from tests.support import citus
from tests.support.payloads import VAULT, delivery, issued

MASTER_KEY = MasterKey(bytes(range(32)))
COMMITTED = Path(__file__).with_name("guards.txt")
CHANGED_BY_OWNER = {"report_roles"}  # who reads reports now; no other role may write it
NOT_ISOLATED = {"api_keys", "public_logs"}  # looked up before it is known whose they are

LIST = Path(__file__).with_name("guards.sql").read_text()
LARGEST_LOOK = """
    INSERT INTO ledger.access (ledger_id, access, key_id, what, why) VALUES (1, 9223372036854775807, '', '', '')
"""
SHOWS_COPIES = citus.needs_one_server("the list also shows the copies of reference tables on this server")
TABLES = """
    SELECT c.relname, c.relrowsecurity,
           (SELECT array_agg(DISTINCT what) FROM pg_trigger t,
                   unnest(ARRAY[CASE WHEN tgtype::int & 8 > 0 THEN 'DELETE' END,
                                CASE WHEN tgtype::int & 16 > 0 THEN 'UPDATE' END,
                                CASE WHEN tgtype::int & 32 > 0 THEN 'TRUNCATE' END]) what
             WHERE t.tgrelid = c.oid AND tgenabled = 'A' AND what IS NOT NULL) AS guarded
      FROM pg_class c WHERE relnamespace = 'ledger'::regnamespace AND relkind IN ('r', 'p')
"""


@SHOWS_COPIES
async def test_every_grant_trigger_and_policy_is_the_one_that_was_committed(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    found = sorted(row[0] for row in await connection.fetch(LIST, list(ROLE_PURPOSES)))

    committed = COMMITTED.read_text().splitlines()
    difference = "\n".join(difflib.unified_diff(committed, found, str(COMMITTED), "the database", lineterm="", n=0))
    assert not difference, f"Is this meant? Then make {COMMITTED.name} say so, by `patch` with:\n{difference}"


@SHOWS_COPIES
async def test_every_table_of_the_ledger_refuses_update_delete_and_truncate_and_isolates_ledgers(
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    for row in await connection.fetch(TABLES):
        guarded = {"UPDATE", "DELETE", "TRUNCATE"} if row["relname"] not in CHANGED_BY_OWNER else set[str]()
        assert set(row["guarded"] or ()) == guarded, f"{row['relname']}: SELECT ledger.make_append_only(...)"
        assert row["relrowsecurity"] or row["relname"] in NOT_ISOLATED, (
            f"{row['relname']}: SELECT ledger.enable_tenant_isolation(...)"
        )


NOTE = "INSERT INTO subjects VALUES ($1, 'account', 'capillary:9001:2', true)"


async def two_ledgers(connection: "asyncpg.Connection[asyncpg.Record]") -> tuple[Ledger, Ledger]:
    ours = await registry.create_ledger(connection, "ours")
    theirs = await registry.create_ledger(connection, "theirs")
    for ledger in (ours, theirs):
        await append(connection, VAULT, ledger.ledger_id, [delivery(issued("E1", 0, 1, 100), ledger=ledger.name)])
        await catch_up(connection, ledger.ledger_id)
        await connection.execute(NOTE, ledger.ledger_id)
    return ours, theirs


@pytest.mark.parametrize(
    "table", ["ledger.ledgers", "ledger.events", "facts", "accounts", "statement", "subjects", "checkpoints"]
)
async def test_a_reader_sees_one_ledger_even_where_a_statement_forgets_to_ask_for_it(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", table: str
) -> None:
    ours, theirs = await two_ledgers(connection)
    everything = f"SELECT DISTINCT ledger_id FROM {table}"  # noqa: S608

    generation = (await generations.active_generation(connection)).generation
    pool = await open_pool(dsn, size=1, generation=generation, role="loyalty_reader")
    async with pool.acquire() as reader:
        unconfined = await reader.fetch(everything)
        await reader.confine(ours.ledger_id)
        confined = await reader.fetch(everything)
        foreign = await reader.fetch(f"{everything} WHERE ledger_id = $1", theirs.ledger_id)
        await reader.confine(theirs.ledger_id)
        moved = await reader.fetch(everything)
    await pool.close()

    assert unconfined == []
    assert [row[0] for row in confined] == [ours.ledger_id]
    assert foreign == []
    assert [row[0] for row in moved] == [theirs.ledger_id]


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("loyalty_ingest", "SELECT FROM ledger.events"),
        ("loyalty_ingest", "SELECT FROM ledger.personal_keys"),
        ("loyalty_ingest", "SELECT ledger.erase_person(1, 'x')"),
        ("loyalty_reader", "SELECT FROM ledger.personal_keys"),
        ("loyalty_reader", "SELECT FROM ledger.personal"),
        ("loyalty_reader", "SELECT FROM ledger.api_keys"),
        ("loyalty_reader", "DELETE FROM accounts"),
        ("loyalty_reader", "INSERT INTO ledger.events (ledger_id, position) VALUES (1, 1)"),
        ("loyalty_auditor", "SELECT FROM ledger.personal_keys"),
        ("loyalty_auditor", "SELECT FROM ledger.connections"),
        (
            "loyalty_auditor",
            "INSERT INTO ledger.access (ledger_id, access, key_id, what, why) VALUES (1, 1, '', '', '')",
        ),
        ("loyalty_reader", LARGEST_LOOK),
        ("loyalty_service", LARGEST_LOOK),
        ("loyalty_auditor", "UPDATE accounts SET available = 1"),
        (
            "loyalty_projector",
            "INSERT INTO ledger.access (ledger_id, access, key_id, what, why) VALUES (1, 1, '', '', '')",
        ),
        ("loyalty_projector", "SELECT FROM ledger.personal_keys"),
        ("loyalty_eraser", "DELETE FROM ledger.personal_keys"),
        ("loyalty_eraser", "SELECT FROM ledger.events"),
        ("loyalty_service", "DELETE FROM ledger.checkpoints"),
        ("loyalty_service", "ALTER TABLE ledger.events DISABLE ROW LEVEL SECURITY"),
    ],
)
async def test_a_role_may_do_its_own_work_and_no_other(dsn: str, role: str, statement: str) -> None:
    limited = await connect(dsn, role=role)

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await limited.execute(statement)

    await limited.close()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM ledger.personal_keys",
        "DELETE FROM ledger.personal_index",
        "UPDATE ledger.personal_keys SET wrapped = ''",
        "TRUNCATE ledger.personal_keys",
        "DELETE FROM ledger.personal",
        "DELETE FROM ledger.connections",
        "UPDATE ledger.connections SET source = 'fabric'",
        "UPDATE ledger.api_keys SET scopes = '{admin}'",
        "TRUNCATE ledger.api_keys",
        "UPDATE ledger.access SET why = ''",
        "DELETE FROM ledger.access",
    ],
)
async def test_not_even_the_owner_removes_keys_parts_or_looks_but_by_forgetting(
    dsn: str, connection: "asyncpg.Connection[asyncpg.Record]", ledger: Ledger, statement: str
) -> None:
    body = b'{"eventName":"x","eventId":"1","data":{"email":"a@b.cd"}}'
    await append(connection, Vault(MASTER_KEY), ledger.ledger_id, [delivery(body)])
    await api_keys.create_key(connection, MASTER_KEY, ledger, ["read"])
    await registry.create_connection(connection, MASTER_KEY, ledger, source="capillary")
    await connection.execute(
        "INSERT INTO ledger.access (ledger_id, access, key_id, what, why) VALUES (1, 1, 'k', 'w', '')"
    )

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await connection.execute(statement)

    subject = await connection.fetchval("SELECT subject FROM ledger.personal_keys")
    assert await connection.fetchval("SELECT ledger.erase_person($1, $2)", ledger.ledger_id, subject)


def test_only_what_is_configured_may_be_updated_by_the_service() -> None:
    granted = {
        line.split()[1].rstrip(":").removeprefix("ledger.")
        for line in COMMITTED.read_text().splitlines()
        if line.startswith("table ledger.") and "loyalty_service may" in line and "UPDATE" in line
    }

    assert granted == set(MAY_CHANGE)
