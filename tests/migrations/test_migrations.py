"""The schema: made in an empty database, migrated twice without a change, and refused where it cannot be migrated."""

import re
import secrets
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

import migrations
from ledger import locks
from ledger.database import connect
from ledger.errors import SchemaOutdated, SchemaUnsupported
from service.embedded.server import EmbeddedPostgres
from service.environment import Environment
from service.settings import Settings
from service.startup_checks import check_schema

FOLDER = Path(migrations.__file__).parent
OBJECTS = """
    SELECT c.oid, c.relname AS name FROM pg_class c
     WHERE relnamespace IN ('ledger'::regnamespace, 'projections'::regnamespace, 'outgoing'::regnamespace)
    UNION ALL
    SELECT p.oid, proname FROM pg_proc p WHERE pronamespace = 'ledger'::regnamespace
    UNION ALL
    SELECT t.oid, tgname FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
     WHERE relnamespace = 'ledger'::regnamespace
"""


@pytest.fixture
async def empty(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """A database without a schema."""
    name = f"t_{secrets.token_hex(8)}"
    creator = await connect(postgres.dsn())
    await creator.execute(f"CREATE DATABASE {name}")
    yield postgres.dsn(name)
    await creator.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await creator.close()


async def objects_of(dsn: str) -> Mapping[int, str]:
    connection = await connect(dsn)
    try:
        return {row["oid"]: row["name"] for row in await connection.fetch(OBJECTS)}
    finally:
        await connection.close()


async def set_revision(dsn: str, revision: str) -> None:
    """Make a database look as if another version had migrated it."""
    connection = await connect(dsn)
    await connection.execute("CREATE TABLE IF NOT EXISTS public.alembic_version (version_num varchar(32) NOT NULL)")
    await connection.execute("DELETE FROM public.alembic_version")
    await connection.execute("INSERT INTO public.alembic_version VALUES ($1)", revision)
    await connection.close()


async def test_an_empty_database_gets_the_whole_schema(empty: str) -> None:
    with pytest.raises(SchemaOutdated, match=f"it is at None, this version needs {migrations.head()}"):
        await check_schema(empty)

    revision = await migrations.upgrade(empty)

    assert revision == migrations.head()
    assert {"events", "generations", "append", "append_only"} <= set((await objects_of(empty)).values())
    await check_schema(empty)


async def test_a_second_migration_changes_nothing(empty: str) -> None:
    await migrations.upgrade(empty)
    before = await objects_of(empty)

    assert await migrations.upgrade(empty) == migrations.head()

    assert await objects_of(empty) == before


def test_the_revisions_form_one_line_in_the_order_of_their_files() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))

    newest_first = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]

    assert newest_first == list(reversed(migrations.revisions()))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.head()]


@pytest.mark.parametrize(
    ("revision", "remedy"),
    [
        ("0001", "move each ledger by `loyalty export --with-keys`"),
        ("0012", "move each ledger by `loyalty export --with-keys`"),
        ("r9999", "made by a newer version; run that version"),
    ],
)
async def test_a_database_of_another_version_is_refused_and_left_as_it_is(
    empty: str, revision: str, remedy: str
) -> None:
    await set_revision(empty, revision)

    for refused in (Environment(empty, Settings(), embedded=True), Environment(empty, Settings(), embedded=False)):
        with pytest.raises(SchemaUnsupported, match=f"it is at {revision}, .*{remedy}"):
            await refused.migrate()
        with pytest.raises(SchemaUnsupported, match=f"it is at {revision}, .*{remedy}"):
            await refused.prepare()

    assert await objects_of_whole_database(empty) == {"alembic_version"}


async def objects_of_whole_database(dsn: str) -> set[str]:
    connection = await connect(dsn)
    rows = await connection.fetch(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"
    )
    await connection.close()
    return {row["relname"] for row in rows}


def test_the_table_of_lock_ids_in_sql_is_that_of_the_program() -> None:
    ids = {value for name, value in vars(locks).items() if name.isupper()}
    table = (FOLDER / "versions/r0001/protection.sql").read_text()
    code = "\n".join(path.read_text() for path in FOLDER.rglob("*") if path.suffix in (".py", ".sql"))

    assert {int(found) for found in re.findall(r"^--   (\d{10}) ", table, re.MULTILINE)} == ids
    assert {int(found) for found in re.findall(r"\b18192\d{5}\b", code)} == ids
