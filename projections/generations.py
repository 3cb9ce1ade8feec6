"""Generations: built copies of all projection tables, each a schema of its own, facts and checkpoints included.

The schema named "live" is the one that readers see; their SQL names tables without a schema and their search_path is
"live". A rebuild fills another schema and then swaps the names in one transaction, so readers always see one whole
generation. A generation's checkpoint lives in it, so it cannot disagree with its rows.
"""

import re
from collections.abc import Iterable

import msgspec

from ledger.database import Connection
from projections.catalogue import PROJECTIONS
from projections.conflicts import CREATE_POLICIES, TAKE_POLICIES
from projections.withdrawn import CREATE_WITHDRAWN, INDEX_WITHDRAWN

LIVE = "live"
SCHEMA_NAME = re.compile(r"live|generation_[0-9]{1,9}")

# In the order of the fold, which does not mention arrival; see projection.Key.
CREATE_FACTS = """
    CREATE TABLE facts (
        ledger_id int NOT NULL, subject_kind text COLLATE "C" NOT NULL, subject text COLLATE "C" NOT NULL,
        occurred_at timestamptz NOT NULL, rank smallint NOT NULL, tag bytea NOT NULL, ordinal smallint NOT NULL,
        position bigint NOT NULL, untimed boolean NOT NULL, kind text NOT NULL, body bytea NOT NULL)
"""
INDEX_FACTS = ("ALTER TABLE facts ADD PRIMARY KEY (ledger_id, subject_kind, subject, occurred_at, rank, tag, ordinal)",)

# What each fold remembers of a subject, and the last fact it has folded; `parked` says why it stopped, `untimed` that
# some fact of it stands where it was recorded, so that its rows depend on arrival (law 5 exempts it).
CREATE_SUBJECTS = """
    CREATE TABLE subjects (
        ledger_id int NOT NULL, subject_kind text COLLATE "C" NOT NULL, subject text COLLATE "C" NOT NULL,
        occurred_at timestamptz, rank smallint, tag bytea, ordinal smallint,
        state bytea NOT NULL, untimed boolean NOT NULL, parked text, parked_position bigint)
"""
INDEX_SUBJECTS = (
    "ALTER TABLE subjects ADD PRIMARY KEY (ledger_id, subject_kind, subject)",
    "CREATE INDEX subjects_parked ON subjects (ledger_id, subject_kind, subject) WHERE parked IS NOT NULL",
    "CREATE INDEX subjects_untimed ON subjects (ledger_id, subject_kind, subject) WHERE untimed",
)

# Subjects that are folded together; see joined.py.
CREATE_LINKS = """
    CREATE TABLE links (
        ledger_id int NOT NULL, subject_kind text COLLATE "C" NOT NULL, subject text COLLATE "C" NOT NULL,
        root text COLLATE "C" NOT NULL, PRIMARY KEY (ledger_id, subject_kind, subject))
"""
INDEX_LINKS = ("CREATE INDEX links_root ON links (ledger_id, subject_kind, root)",)

# Events that gave no facts, and why.
CREATE_UNREAD = """
    CREATE TABLE unread (
        ledger_id int NOT NULL, position bigint NOT NULL, source text NOT NULL, kind text NOT NULL,
        unread text NOT NULL, reason text NOT NULL)
"""
INDEX_UNREAD = (
    "ALTER TABLE unread ADD PRIMARY KEY (ledger_id, position)",
    "CREATE INDEX unread_by_kind ON unread (ledger_id, unread, kind, position)",
)

# Whose events a ledger has seen, so that a bare vendor id can be found without naming source and organisation.
CREATE_ORGS = """
    CREATE TABLE orgs (ledger_id int NOT NULL, source text NOT NULL, org text NOT NULL,
                       PRIMARY KEY (ledger_id, source, org))
"""

CREATE_CHECKPOINTS = "CREATE TABLE checkpoints (ledger_id int PRIMARY KEY, position bigint NOT NULL)"

CREATE = (
    CREATE_FACTS,
    CREATE_SUBJECTS,
    CREATE_LINKS,
    CREATE_UNREAD,
    CREATE_ORGS,
    CREATE_CHECKPOINTS,
    CREATE_WITHDRAWN,
    INDEX_WITHDRAWN,
    CREATE_POLICIES,
)

REGISTER = """
    INSERT INTO projections.generations (generation, schema_name, versions, promoted_at)
    SELECT coalesce(max(generation), 0) + 1, coalesce($1, 'generation_' || coalesce(max(generation), 0) + 1), $2,
           CASE WHEN $1 IS NOT NULL THEN now() END
      FROM projections.generations
    RETURNING generation, schema_name
"""
MAY_BE_PROJECTOR = "SELECT pg_has_role(current_user, 'loyalty_projector', 'MEMBER')"
OPEN = "SELECT ledger.open_generation($1)"
IS_OPEN = """
    SELECT has_schema_privilege('loyalty_reader', 'live', 'USAGE') AND bool_and(relrowsecurity) FROM pg_class
     WHERE relnamespace = 'live'::regnamespace AND relkind = 'r'
"""
LIVE_VERSIONS = "SELECT versions FROM projections.generations WHERE schema_name = 'live'"
LACKS_POLICIES = "SELECT to_regclass('live.policies') IS NULL"
LOCK_GENERATIONS = "SELECT pg_advisory_xact_lock(1819239278)"


async def ensure_live(connection: Connection) -> None:
    """Make the first generation, empty, unless there is a live one."""
    async with connection.transaction():
        await connection.execute(LOCK_GENERATIONS)
        if await connection.fetchval(LIVE_VERSIONS) is None:
            await create(connection, LIVE)
            await index_facts(connection, LIVE)
            await index_rows(connection, LIVE)
            return
        if await connection.fetchval(LACKS_POLICIES):  # made by a version that knew of none
            await connection.execute("SET LOCAL search_path = live")
            await connection.execute(CREATE_WITHDRAWN)
            await connection.execute(INDEX_WITHDRAWN)
            await connection.execute(CREATE_POLICIES)
            await connection.execute(TAKE_POLICIES)
        if not await connection.fetchval(IS_OPEN):  # made before there were guards
            await connection.execute(OPEN, LIVE)


async def create(connection: Connection, schema: str | None = None) -> str:
    """Make the tables of a new generation, without their indexes; name its schema. Call inside a transaction."""
    if await connection.fetchval(MAY_BE_PROJECTOR):
        await connection.execute("SET LOCAL ROLE loyalty_projector")  # whose the tables are, whoever makes them
    row = await connection.fetchrow(REGISTER, schema, msgspec.json.encode(versions()).decode())
    assert row is not None
    name = checked(row["schema_name"])
    await connection.execute(f"CREATE SCHEMA {name}")
    await connection.execute(f"SET LOCAL search_path = {name}")
    for statement in CREATE:
        await connection.execute(statement)
    for projection in PROJECTIONS:
        for table in projection.tables:
            await connection.execute(table.create)
    await connection.execute(OPEN, name)
    return name


async def active_schema(_connection: Connection) -> str:
    """Name the schema of the generation that readers see."""
    return LIVE


async def index_facts(connection: Connection, schema: str) -> None:
    """Give the facts of a generation the key that puts them in the order of the fold."""
    await _execute(connection, schema, INDEX_FACTS)


async def index_rows(connection: Connection, schema: str) -> None:
    """Give all other tables of a generation their keys and indexes."""
    await _execute(connection, schema, (statement for table in index_statements() for statement in table))


def index_statements() -> list[tuple[str, ...]]:
    """Give what makes the keys and indexes of all tables but the facts, table by table."""
    of_projections = [table.index for projection in PROJECTIONS for table in projection.tables]
    return [INDEX_SUBJECTS, INDEX_LINKS, INDEX_UNREAD, *of_projections]


async def _execute(connection: Connection, schema: str, statements: Iterable[str]) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL search_path = {checked(schema)}")
        for statement in statements:
            await connection.execute(statement)


async def due(connection: Connection) -> list[str]:
    """Name the projections whose live rows were made by another version of their rules, so that a rebuild is due."""
    text = await connection.fetchval(LIVE_VERSIONS)
    built: dict[str, int] = msgspec.json.decode(text) if text else {}
    return [name for name, version in versions().items() if built.get(name) != version]


def versions() -> dict[str, int]:
    """Give the version of every projection in this software."""
    return {projection.name: projection.version for projection in PROJECTIONS}


def checked(schema: str) -> str:
    """Give the name back if it is one of a generation's schemas, so that it may stand in SQL."""
    assert SCHEMA_NAME.fullmatch(schema), schema
    return schema
