"""Generations: built copies of all projection tables. Each has a schema of its own, with facts and checkpoints.

Exactly one generation is active: readers see it (ledger/database.py). A rebuild fills another one, which then follows
the ledger as the active one does. A promotion changes two states in one transaction. It copies and renames nothing. The
checkpoints of a generation are in its schema, so they cannot disagree with its rows.

    filling -> ready -> active <-> retired -> dropping, and gone
"""

import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from ledger.database import Connection, enter_generation
from ledger.errors import GenerationUnknown, NotPromoted, RebuildDue
from ledger.locks import GENERATIONS
from projections.definition import Projection
from projections.engine.shared_tables import CREATE_SHARED_TABLES, INDEX_FACTS, INDEXES_OF_SHARED_TABLES
from projections.registry import PROJECTIONS
from projections.reports.publish import are_published, grant_report_access, publish_views

SCHEMA_NAME = re.compile(r"generation_[0-9]{1,9}")
FOLLOWING_STATES = ("active", "ready", "retired")  # states in which a generation follows the ledger
SHARED_SHAPE = "facts and states"  # the key of the shared tables in `shapes`

INSERT_GENERATION = """
    INSERT INTO projections.generations (generation, schema_name, state, basis, versions, shapes, scope)
    SELECT coalesce(max(generation), 0) + 1, 'generation_' || coalesce(max(generation), 0) + 1, $1, $2, $3, $4, $5
      FROM projections.generations
    RETURNING generation
"""
COLUMNS = """
    generation, schema_name, state, basis, versions, shapes, scope, comparison,
    created_at, ready_at, promoted_at, retired_at
"""
READ_GENERATIONS = f"SELECT {COLUMNS} FROM projections.generations ORDER BY generation"  # noqa: S608
READ_GENERATION = f"SELECT {COLUMNS} FROM projections.generations WHERE generation = $1"  # noqa: S608
READ_ACTIVE = f"SELECT {COLUMNS} FROM projections.generations WHERE state = 'active'"  # noqa: S608
READ_CURRENT_SHAPES = "SELECT versions, shapes FROM projections.generations WHERE schema_name = current_schema()"
SET_READY = """
    UPDATE projections.generations SET state = 'ready', ready_at = now() WHERE generation = $1 AND state = 'filling'
    RETURNING true
"""
SET_FIRST_ACTIVE = """
    UPDATE projections.generations SET state = 'active', ready_at = now(), promoted_at = now() WHERE generation = $1
"""
HAS_PROJECTOR_ROLE = "SELECT pg_has_role(current_user, 'loyalty_projector', 'MEMBER')"
GRANT_ACCESS = "SELECT ledger.grant_generation_access($1)"
HAS_ACCESS = """
    SELECT has_schema_privilege('loyalty_reader', $1, 'USAGE') AND has_schema_privilege('loyalty_backup', $1, 'USAGE')
       AND bool_and(relrowsecurity) FROM pg_class
     WHERE relnamespace = $1::text::regnamespace AND relkind = 'r'
"""
SET_SEARCH_PATH = "SELECT set_config('search_path', $1, true)"
LOCK_GENERATIONS = "SELECT pg_advisory_xact_lock($1)"


class Generation(NamedTuple):
    """One row of the table of generations."""

    generation: int
    schema_name: str
    state: str
    basis: str
    versions: Mapping[str, int]
    shapes: Mapping[str, str] | None
    scope: Mapping[str, Any]  # "projections" and "ledgers" of the rebuild; a missing name means all
    comparison: Mapping[str, Any] | None
    created_at: datetime
    ready_at: datetime | None
    promoted_at: datetime | None
    retired_at: datetime | None


async def ensure_active_generation(connection: Connection) -> None:
    """Create an empty active generation if none is active, and let the connection use the active one."""
    async with connection.transaction():
        await connection.execute(LOCK_GENERATIONS, GENERATIONS)
        row = await connection.fetchrow(READ_ACTIVE)
        is_new = row is None
        if row is not None and not await connection.fetchval(HAS_ACCESS, row["schema_name"]):
            await connection.execute(GRANT_ACCESS, row["schema_name"])  # created before these guards existed
        if is_new:
            first = await create_generation(connection)
            await index_facts(connection, first.schema_name)
            await index_rows(connection, first.schema_name)
            await connection.execute(SET_FIRST_ACTIVE, first.generation)
        await _publish_if_due(connection, await active_schema(connection))
    if is_new or await connection.fetchval("SELECT current_schema() = 'pg_catalog'"):
        await enter_generation(connection)


async def _publish_if_due(connection: Connection, schema: str) -> None:
    """Create the report views unless they are up to date. While a report is read, they are left for the next start."""
    if await are_published(connection, schema):
        return
    with suppress(NotPromoted):
        async with connection.transaction(), in_schema(connection, schema):
            await publish_views(connection, schema, seconds_max=0)


async def grant_access_to_all(connection: Connection) -> None:
    """Grant the reading roles access to generations that were created before these roles existed."""
    for generation in await list_generations(connection):
        if not await connection.fetchval(HAS_ACCESS, generation.schema_name):
            await connection.execute(GRANT_ACCESS, generation.schema_name)


async def create_generation(
    connection: Connection, *, basis: str = "ledger", scope: Mapping[str, Any] = {}
) -> Generation:
    """Create the tables of a new generation without their indexes, in state `filling`. Call inside a transaction."""
    if await connection.fetchval(HAS_PROJECTOR_ROLE):
        await connection.execute("SET LOCAL ROLE loyalty_projector")  # the owner of the tables
    await connection.execute(LOCK_GENERATIONS, GENERATIONS)
    number = await connection.fetchval(
        INSERT_GENERATION, "filling", basis, _json(projection_versions()), _json(dict(table_shapes())), _json(scope)
    )
    created = await find_generation(connection, number)
    await connection.execute(f"CREATE SCHEMA {created.schema_name}")
    async with in_schema(connection, created.schema_name):
        for statement in (
            *CREATE_SHARED_TABLES,
            *(table.create for projection in PROJECTIONS for table in projection.tables),
        ):
            await connection.execute(statement)
    await connection.execute(GRANT_ACCESS, created.schema_name)
    await connection.execute(grant_report_access(created.schema_name))
    return created


async def set_ready(connection: Connection, generation: int) -> None:
    """Mark a filled generation as ready. From now on every projector advances it."""
    await connection.fetchval(SET_READY, generation)


async def index_facts(connection: Connection, schema: str) -> None:
    """Create the indexes of a generation's facts that a fold needs. The primary key is the order of the fold."""
    await _execute(connection, schema, INDEX_FACTS)


async def index_rows(connection: Connection, schema: str) -> None:
    """Create the keys and indexes of all other tables of a generation."""
    await _execute(connection, schema, (statement for table in index_statements() for statement in table))


def index_statements() -> list[tuple[str, ...]]:
    """Return the statements that create keys and indexes, by table. Those of `index_facts` are left out."""
    projection_indexes = [table.index for projection in PROJECTIONS for table in projection.tables]
    return [*INDEXES_OF_SHARED_TABLES, *projection_indexes]


async def _execute(connection: Connection, schema: str, statements: Iterable[str]) -> None:
    async with connection.transaction(), in_schema(connection, schema):
        for statement in statements:
            await connection.execute(statement)


@asynccontextmanager
async def in_schema(connection: Connection, schema: str) -> AsyncIterator[None]:
    """Make unqualified names refer to a generation's tables for the body. Use it inside a transaction."""
    before = await connection.fetchval("SELECT current_setting('search_path')")
    await connection.execute(SET_SEARCH_PATH, checked_schema_name(schema))
    yield
    await connection.execute(SET_SEARCH_PATH, before)  # after an error the rollback restores it


async def list_generations(connection: Connection) -> list[Generation]:
    """List all generations, oldest first."""
    return [_generation_of_row(row) for row in await connection.fetch(READ_GENERATIONS)]


async def find_generation(connection: Connection, generation: int) -> Generation:
    """Return a generation by its number. Raises GenerationUnknown."""
    row = await connection.fetchrow(READ_GENERATION, generation)
    if row is None:
        raise GenerationUnknown(generation)
    return _generation_of_row(row)


async def active_generation(connection: Connection) -> Generation:
    """Return the generation that readers see. Raises GenerationUnknown before the first start."""
    row = await connection.fetchrow(READ_ACTIVE)
    if row is None:
        raise GenerationUnknown("none is active")
    return _generation_of_row(row)


async def active_schema(connection: Connection) -> str:
    """Return the schema name of the active generation. Raises GenerationUnknown before the first start."""
    return (await active_generation(connection)).schema_name


def _generation_of_row(row: Any) -> Generation:
    documents = ("versions", "shapes", "scope", "comparison")
    texts = {name: row[name] and msgspec.json.decode(row[name]) for name in documents}
    return Generation(**{**dict(row), **texts})


async def outdated_projections(connection: Connection) -> frozenset[str]:
    """Return the names of projections whose rows this software must not write, because another version made them.

    It compares the generation of the connection's search_path with this software. Subjects of these projections wait
    for a rebuild; all others continue. Raises RebuildDue if another version made the shared tables: then nothing can be
    written.
    """
    row = await connection.fetchrow(READ_CURRENT_SHAPES)
    if row is None:
        return frozenset()  # a schema without a registered generation: a trial
    built = msgspec.json.decode(row["shapes"]) if row["shapes"] else {}
    if is_incompatible(built):
        raise RebuildDue
    return frozenset(mismatched(msgspec.json.decode(row["versions"]), built))


def is_incompatible(built_shapes: Mapping[str, str] | None) -> bool:
    """Return True if another software version made the shared tables, such as facts and states.

    Such a generation no longer follows the ledger. Nothing can be copied from it or compared with it.
    """
    return (built_shapes or {}).get(SHARED_SHAPE) != table_shapes()[SHARED_SHAPE]


def mismatched(built_versions: Mapping[str, int], built_shapes: Mapping[str, str]) -> list[str]:
    """Return the names of projections that another version of their rules or tables made."""
    return [
        projection.name
        for projection in PROJECTIONS
        if built_versions.get(projection.name) != projection.version
        or built_shapes.get(projection.name) != table_shapes()[projection.name]
    ]


async def rebuild_due(connection: Connection) -> list[str]:
    """Return the names of the active generation's projections that need a rebuild."""
    return due_projections(await active_generation(connection))


def due_projections(generation: Generation) -> list[str]:
    """Return the names of a generation's projections that another version of this software made."""
    if is_incompatible(generation.shapes):
        return list(projection_versions())
    return mismatched(generation.versions, generation.shapes or {})


def projection_versions() -> dict[str, int]:
    """Return the version of each projection in this software."""
    return {projection.name: projection.version for projection in PROJECTIONS}


@cache
def table_shapes() -> Mapping[str, str]:
    """Return a hash of the tables and the state of each projection, and of the shared tables.

    Two versions of this software that write the same tables have equal hashes. The hashes find a change even if nobody
    has raised the projection's version.
    """
    shared = _hash((*CREATE_SHARED_TABLES, *INDEX_FACTS, *chain.from_iterable(INDEXES_OF_SHARED_TABLES)))
    return {SHARED_SHAPE: shared, **{projection.name: projection_shape(projection) for projection in PROJECTIONS}}


def projection_shape(projection: Projection) -> str:
    """Hash the tables of a projection and the fields of its state."""
    tables = [(table.name, table.create, table.index, table.columns, table.key) for table in projection.tables]
    return _hash((tables, _without_descriptions(msgspec.json.schema(projection.start))))


def _without_descriptions(schema: Any) -> Any:
    """Remove titles and descriptions from a schema, because they do not change stored values."""
    if isinstance(schema, dict):
        return {
            key: _without_descriptions(value) for key, value in schema.items() if key not in ("title", "description")
        }
    return [_without_descriptions(one) for one in schema] if isinstance(schema, list) else schema


def _hash(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:16]


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def checked_schema_name(schema: str) -> str:
    """Return the name if it is a generation's schema name, so that it can be composed into SQL."""
    assert SCHEMA_NAME.fullmatch(schema), schema
    return schema
