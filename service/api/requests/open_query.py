"""Open a query for a request: check the caller, wait for rows, take a share, lend a connection."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from ledger.database import Connection
from ledger.errors import NotAwaited, RequestInvalid
from ledger.privacy.access_log import record_access
from ledger.store.api_keys import ApiAccess
from ledger.vendors.personal_values import is_personal_value, refuse_personal_value
from service.api.requests.admission import ACCESS, IS_CHANGE
from service.api.requests.app_context import APP_CONTEXT, CHANGE_CONNECTION, AppContext, check_scopes
from service.api.requests.parameters import LIMIT, LIMIT_DEFAULT
from service.queries.as_of_query import AsOfQuery, parse_as_of_params
from service.queries.context import QueryContext
from service.queries.freshness import FRESHNESS

REASON_CHARACTERS_MAX = 500
READING_SCOPES = ("read", "audit")  # answered with the role loyalty_reader, which sees one ledger at a time


async def admit_caller(request: web.Request, scope: str = "read", *or_scopes: str) -> ApiAccess:
    """Check the scopes of the request's key, and wait for `min_position`.

    Raises ScopeMissing, NotAwaited, or RequestInvalid for a position beyond the ledger.
    """
    access = request[ACCESS]
    check_scopes(access, scope, *or_scopes)
    await request.app[APP_CONTEXT].await_position(request, access.ledger.ledger_id)
    return access


# The console states them: the reason from a form, and the person behind the request.
STATED_REASON = web.RequestKey("stated_reason", str)
CALLED_BY = web.RequestKey("called_by", str)


@asynccontextmanager
async def open_query(
    request: web.Request, scope: str = "read", *or_scopes: str, heavy: bool = False, apart: bool = False
) -> AsyncIterator[QueryContext]:
    """Check the scopes of the request's key, wait for `min_position`, and lend a connection.

    - A request that only reads gets a connection that PostgreSQL confines to the key's ledger, whatever SQL runs.
    - A change is recorded first, with the key and the path. A dry run is not.
    - A look with scope `audit` is recorded first, with the reason in `reason`. That covers paths which only `audit`
      opens, and paths which `read` opens too if the key has scope `audit`.
    - Each ledger has a share of the connections. `heavy` is for answers that add up a whole ledger. One such answer,
      or page of more than LIMIT_DEFAULT items, runs at a time for each ledger.
    - A change with an Idempotency-Key runs in the transaction that stores its answer. `apart` is for a change that
      reads a snapshot of its own.

    Raises BadCredentials, ScopeMissing, NotAwaited or LedgerReadsTooMany.
    """
    context = request.app[APP_CONTEXT]
    access = await admit_caller(request, scope, *or_scopes)
    async with AsyncExitStack() as stack:
        if heavy or LIMIT.of(request) > LIMIT_DEFAULT:
            await stack.enter_async_context(context.heavy_query_shares.take(access.ledger.ledger_id))
        await stack.enter_async_context(context.query_shares.take(access.ledger.ledger_id))
        connection = await stack.enter_async_context(
            _lend_connection(context, request, access, scope, *or_scopes, apart=apart)
        )
        body_hash_key = context.vault.body_hash_key(access.ledger.ledger_id)
        yield QueryContext(connection, access.ledger, access.key_id, body_hash_key)


@asynccontextmanager
async def _lend_connection(
    context: AppContext, request: web.Request, access: ApiAccess, scope: str, *or_scopes: str, apart: bool
) -> AsyncIterator[Connection]:
    if scope not in READING_SCOPES:
        if CHANGE_CONNECTION in request and not apart:
            await _log_change(request[CHANGE_CONNECTION], access, request)
            yield request[CHANGE_CONNECTION]
            return
        async with context.service_pool.acquire() as connection:
            await _log_change(connection, access, request)
            yield connection
        return
    async with context.reader_pool.acquire() as connection:
        await connection.confine(access.ledger.ledger_id)
        if scope == "audit" or ("audit" in or_scopes and "audit" in access.scopes):
            await log_access(connection, access, request, f"{request.method} {_path_without_personal_values(request)}")
        yield connection


async def _log_change(connection: Connection, access: ApiAccess, request: web.Request) -> None:
    """Record a request of the API that changes something, once. The console records its actions itself."""
    if request.get(IS_CHANGE, False) and request.query.get("dry_run", "false") == "false":
        request[IS_CHANGE] = False
        await log_access(connection, access, request, f"{request.method} {_path_without_personal_values(request)}")


async def log_access(connection: Connection, access: ApiAccess, request: web.Request, subject: str) -> None:
    """Record a look before it happens: the key, the subject, the reason, and the person if the console knows one."""
    reason = f"{request.get(STATED_REASON) or parse_reason(request)} {request.get(CALLED_BY, '')}".strip()
    await record_access(connection, access.ledger.ledger_id, access.key_id, subject, reason)


def parse_reason(request: web.Request) -> str:
    """Return the reason in `reason`, at most REASON_CHARACTERS_MAX characters; empty if it is missing.

    It is stored in the clear and for ever. Raises RequestInvalid if it holds a personal value.
    """
    return refuse_personal_value("reason", request.query.get("reason", "").strip()[:REASON_CHARACTERS_MAX])


def _path_without_personal_values(request: web.Request) -> str:
    """Return the path of the request, or its template if the path holds a personal value."""
    resource = request.match_info.route.resource
    if resource is not None and is_personal_value(request.path):
        return resource.canonical
    return request.path


async def parse_as_of(query: QueryContext, request: web.Request) -> AsOfQuery:
    """Parse `at`, and either `as_of_position` or `known_at`, which means the last position recorded by that time.

    Waits for rows up to the position, so that the answer for it stays the same for ever. Raises RequestInvalid for a
    position beyond the ledger, and NotAwaited.
    """
    times = await parse_as_of_params(query, request.query)
    if times.position is not None:
        await await_rows(query, request, times.position)
    return times


def has_known_parameter(request: web.Request) -> bool:
    """Return True if the request names a position or a recorded time."""
    return "as_of_position" in request.query or "known_at" in request.query


async def await_rows(query: QueryContext, request: web.Request, position: int) -> None:
    """Wait until the rows reach a position. Raises NotAwaited, or RequestInvalid for a position beyond the ledger."""
    row = await query.connection.fetchrow(FRESHNESS, query.ledger.ledger_id)
    assert row is not None
    if position > row["tail"]:
        raise RequestInvalid(f"position {position} does not exist yet; the last event has position {row['tail']}")
    context = request.app[APP_CONTEXT]
    seconds = context.settings.wait_seconds_max
    if position > row["as_of_position"] and not await context.progress.wait_for(
        query.ledger.ledger_id, position, seconds
    ):
        raise NotAwaited(f"position {position} within {seconds:g} s")
