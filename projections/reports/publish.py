"""Create the report views of a generation. A promotion replaces them in its transaction.

1. A view keeps its identity: grants, comments and views of others on top of it stay. CREATE OR REPLACE accepts new
   columns only at the end, so columns that exist keep their places.
2. A transaction that has read one view holds a lock on it. All views are replaced or none, so no transaction reads two
   generations.
3. A reader must not wait long, and must not deadlock. So each try gives up after LOCK_MILLISECONDS, which is below
   PostgreSQL's deadlock_timeout, and is repeated later.
4. A view whose table another version of this software made stays as it is until a rebuild is promoted.
"""

import asyncio
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping

import asyncpg

from ledger.database import Connection, has_several_servers
from ledger.errors import NotPromoted
from projections.reports.views import REPORT_VIEWS, REPORTED_TABLES, SCHEMA, TABLE_COLUMNS, ReportView

LOCK_MILLISECONDS = 400
TRY_SECONDS_MAX = 30.0  # for all tries
RETRY_SECONDS = 0.5
MARKED_VIEW = "position"  # its comment names the generation and the shape of all views

HAS_SCHEMA = "SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = 'report'"
PUBLISHED = "SELECT obj_description(to_regclass('report.position'), 'pg_class')"
COLUMNS = """
    SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) AS names,
           array_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum) AS types
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE c.relnamespace = $1::text::regnamespace AND c.relkind IN ('r', 'v') GROUP BY c.relname
"""
HAS_PROJECTOR_ROLE = "SELECT pg_has_role(current_user, 'loyalty_projector', 'MEMBER')"
SETTINGS = "SELECT current_setting('role') AS role, current_setting('lock_timeout') AS lock_timeout"
SET = "SELECT set_config($1, $2, true)"
READERS = "loyalty_report, loyalty_reader, loyalty_service, loyalty_auditor, loyalty_backup"
IN_USE_BY = """
    SELECT string_agg(DISTINCT l.pid::text, ', ') FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
     WHERE c.relnamespace = 'report'::regnamespace AND l.granted AND l.pid <> pg_backend_pid()
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
TYPE_NAMES = {"int": "integer", "timestamptz": "timestamp with time zone"}  # as PostgreSQL writes them

Columns = Mapping[str, Mapping[str, str]]  # relation -> column -> type


async def are_published(connection: Connection, schema: str) -> bool:
    """Return True if the views show a generation with the columns of this software, or cannot be created here."""
    if not await connection.fetchval(HAS_SCHEMA):
        return True  # a role that does not publish, or a schema before the migration
    comment = await connection.fetchval(PUBLISHED)
    return comment is not None and comment.endswith(_mark(schema))


async def publish_views(connection: Connection, schema: str, seconds_max: float = TRY_SECONDS_MAX) -> None:
    """Let the views show a generation. Call it inside a transaction, with the generation's schema as search_path.

    Raises NotPromoted if other sessions read the views for `seconds_max`, or if a view of others prevents a change.
    """
    if not await connection.fetchval(HAS_SCHEMA):
        return
    before = await connection.fetchrow(SETTINGS)
    if await connection.fetchval(HAS_PROJECTOR_ROLE):
        await connection.execute("SET LOCAL ROLE loyalty_projector")  # the owner of the tables and the views
    tables, views = await _read_columns(connection, schema), await _read_columns(connection, SCHEMA)
    comment = await connection.fetchval(PUBLISHED) or ""
    statements = [grant_report_access(schema)]  # of a generation that an older version made
    statements += list(_statements(schema, tables, views, described=shape_of_views() in comment))
    if await has_several_servers(connection):
        await connection.execute("SET LOCAL citus.enable_ddl_propagation = off")  # servers of ledgers need no views
    await connection.fetchval(SET, "lock_timeout", f"{LOCK_MILLISECONDS}ms")
    try:
        await _execute_all(connection, ";\n".join(statements), seconds_max)
    except asyncpg.DependentObjectsStillExistError as error:
        raise NotPromoted(f"a report view changes, and others depend on it: {error.detail}") from None
    await connection.fetchval(SET, "lock_timeout", before["lock_timeout"])
    await connection.fetchval(SET, "role", before["role"])


def grant_report_access(schema: str) -> str:
    """Return the statement that lets report roles read the tables of a generation, each its own ledger."""
    tables = ", ".join(_literal(table) for table in REPORTED_TABLES)
    return f"SELECT ledger.grant_report_access({_literal(schema)}, ARRAY[{tables}])"


async def _execute_all(connection: Connection, script: str, seconds_max: float) -> None:
    deadline = time.monotonic() + seconds_max
    while True:
        try:
            async with connection.transaction():
                await connection.execute(script)
            return
        except asyncpg.LockNotAvailableError:
            if time.monotonic() >= deadline:
                processes = await connection.fetchval(IN_USE_BY)
                raise NotPromoted(f"transactions read the report views: end the processes {processes}") from None
        await asyncio.sleep(RETRY_SECONDS)


async def _read_columns(connection: Connection, schema: str) -> Columns:
    rows = await connection.fetch(COLUMNS, schema)
    return {row["relname"]: dict(zip(row["names"], row["types"], strict=True)) for row in rows}


def _statements(schema: str, tables: Columns, views: Columns, *, described: bool) -> Iterator[str]:
    """Yield the statements that create or replace the views. `described`: comments of existing views are right."""
    for view in REPORT_VIEWS:
        if not all(names <= set(tables.get(table, ())) for table, names in _needed_columns(view)):
            continue
        name = f'{SCHEMA}."{view.name}"'
        before = views.get(view.name)
        declared = {column.name: TYPE_NAMES.get(column.sql_type, column.sql_type) for column in view.columns}
        if before is not None and not before.items() <= declared.items():
            yield f"DROP VIEW {name}"
            before = None
        yield f"CREATE OR REPLACE VIEW {name} WITH (security_invoker = true) AS {_select(view, before or ())}"
        if before is None:
            yield f"GRANT SELECT ON {name} TO {READERS}"
        if before is None or not described:
            yield f"COMMENT ON VIEW {name} IS {_literal(view.description)}"
            for column in view.columns:
                yield f'COMMENT ON COLUMN {name}."{column.name}" IS {_literal(column.description)}'
    text = next(view.description for view in REPORT_VIEWS if view.name == MARKED_VIEW)
    yield f"COMMENT ON VIEW {SCHEMA}.{MARKED_VIEW} IS {_literal(f'{text} {_mark(schema)}')}"


def _needed_columns(view: ReportView) -> Iterator[tuple[str, set[str]]]:
    """Yield the tables that a view reads, with the columns of this software."""
    for table in view.tables:
        yield table, TABLE_COLUMNS.get(table, set())


def _select(view: ReportView, before: Iterable[str]) -> str:
    """Return the query of a view, with the columns that it has already in their places."""
    kept = list(before)
    if not kept or kept == view.column_names:
        return view.select
    columns = [*kept, *(name for name in view.column_names if name not in kept)]
    names = ", ".join(f'"{name}"' for name in columns)
    return f"SELECT {names} FROM ({view.select}) AS shown"  # noqa: S608 - names of our own columns


def shape_of_views() -> str:
    """Return a hash of names, columns and comments of all views."""
    return hashlib.sha256(repr(REPORT_VIEWS).encode()).hexdigest()[:16]


def _mark(schema: str) -> str:
    return f"It shows {schema}, shape {shape_of_views()}."


def _literal(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
