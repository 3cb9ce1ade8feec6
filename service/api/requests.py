"""What every answer from a projection shares: who asks, how far the rows reach, and how a thing is named."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from ledger import clock
from ledger.database import Connection
from ledger.errors import NotAwaited, RequestInvalid, SubjectUnknown
from ledger.facts.fact import unquote_id
from ledger.intake.identify import pseudonym
from ledger.privacy.access_log import record_access
from ledger.store.registry import ApiAccess, Ledger
from ledger.vendors.personal_values import identifier_kind_of_value
from projections.queries.as_of import AsOf, position_at
from service.api.admission import ACCESS
from service.api.bodies import read_body
from service.api.context import APP_CONTEXT, AppContext, check_scopes
from service.formatting import read_int, read_time

LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000
WHY_CHARACTERS_MAX = 500
READING_SCOPES = ("read", "audit")  # such requests are answered as loyalty_reader, which sees one ledger at a time

REACH = """
    SELECT coalesce((SELECT position FROM checkpoints WHERE ledger_id = $1), 0) AS as_of_position,
           (SELECT coalesce(max(position), 0) FROM ledger.events WHERE ledger_id = $1) AS tail
"""
ORGS = "SELECT source, org FROM orgs WHERE ledger_id = $1 ORDER BY source, org LIMIT 1000"


class QueryContext(NamedTuple):
    """One caller's view of one ledger while one request is answered."""

    connection: Connection
    ledger: Ledger
    key_id: str
    mask: bytes | None = None  # with which an address that serves as an id is found; None: it is not looked for


class AsOfQuery(NamedTuple):
    """Both times of a question: `at`, when it happened (now unless it is given), and `position`, up to which it was
    told (None: all that was)."""

    at: datetime
    position: int | None
    at_given: bool

    @property
    def as_of(self) -> AsOf:
        return AsOf(self.at if self.at_given else None, self.position)

    @property
    def given(self) -> bool:
        return self.at_given or self.position is not None


async def caller(request: web.Request, scope: str = "read", *or_scopes: str) -> ApiAccess:
    """Check that the caller's key carries one of the scopes, and wait for ?min_position=.

    Raises ScopeMissing, NotAwaited, or RequestInvalid for a position beyond the ledger.
    """
    access = request[ACCESS]
    check_scopes(access, scope, *or_scopes)
    await request.app[APP_CONTEXT].await_position(request, access.ledger.ledger_id)
    return access


@asynccontextmanager
async def open_query(
    request: web.Request, scope: str = "read", *or_scopes: str, heavy: bool = False
) -> AsyncIterator[QueryContext]:
    """Check the caller's key, which must carry one of the scopes, wait for ?min_position=, and lend a connection; who
    only reads gets one that PostgreSQL confines to the ledger of the key, whatever the statements say.
    A look with scope audit is written down first, with the reason in ?why=: any at what only that scope opens, and with
    a key that carries it at what `read` opens, too.

    Each ledger has a share of the connections. Answers that are `heavy`, which add up a whole ledger, are made one at a
    time for each ledger.

    Raises BadCredentials, ScopeMissing, NotAwaited or LedgerReadsTooMany.
    """
    house = request.app[APP_CONTEXT]
    access = await caller(request, scope, *or_scopes)
    async with AsyncExitStack() as places:
        if heavy:
            await places.enter_async_context(house.heavy_reads.take(access.ledger.ledger_id))
        await places.enter_async_context(house.reads.take(access.ledger.ledger_id))
        yield await places.enter_async_context(_reader(house, request, access, scope, *or_scopes))


@asynccontextmanager
async def _reader(
    house: AppContext, request: web.Request, access: ApiAccess, scope: str, *or_scopes: str
) -> AsyncIterator[QueryContext]:
    if scope not in READING_SCOPES:
        async with house.pool.acquire() as connection:
            yield QueryContext(connection, access.ledger, access.key_id, house.vault.mask(access.ledger.ledger_id))
        return
    async with house.reading.acquire() as connection:
        await connection.confine(access.ledger.ledger_id)
        if scope == "audit" or ("audit" in or_scopes and "audit" in access.scopes):
            await log_access(connection, access, request, f"{request.method} {request.path}")
        yield QueryContext(connection, access.ledger, access.key_id, house.vault.mask(access.ledger.ledger_id))


async def log_access(connection: Connection, access: ApiAccess, request: web.Request, what: str) -> None:
    """Write down who is about to see what, and why they say that they do."""
    why = request.query.get("why", "").strip()[:WHY_CHARACTERS_MAX]
    await record_access(connection, access.ledger.ledger_id, access.key_id, what, why)


async def parse_as_of(read: QueryContext, request: web.Request) -> AsOfQuery:
    """Read ?at= and, one of them, ?as_of_position= and ?known_at=: the last position recorded by that time.

    Rows that do not reach the position yet are awaited, so that an answer for it is the same for ever. Raises
    RequestInvalid for what the ledger has not come to, NotAwaited.
    """
    times = await parse_as_of_params(read, request.query)
    if times.position is not None:
        await await_rows(read, request, times.position)
    return times


async def parse_as_of_params(read: QueryContext, query: Mapping[str, str]) -> AsOfQuery:
    """Read both times, without waiting for rows. Raises RequestInvalid."""
    position = read_int(query.get("as_of_position"), "as_of_position", least=0, most=2**62)
    known_at = read_time(query.get("known_at"), "known_at")
    if known_at is not None:
        if position is not None:
            raise RequestInvalid("as_of_position or known_at, not both")
        position = await position_at(read.connection, read.ledger.ledger_id, known_at)
        if position is None:
            raise RequestInvalid("known_at is still to come")
    return parse_at(query)._replace(position=position)


def parse_at(query: Mapping[str, str]) -> AsOfQuery:
    """Read ?at= alone. Raises RequestInvalid."""
    at = read_time(query.get("at"), "at")
    return AsOfQuery(at or clock.now(), None, at is not None)


def asks_known(request: web.Request) -> bool:
    """Say whether a question is about what was known at a position or a time."""
    return "as_of_position" in request.query or "known_at" in request.query


async def await_rows(read: QueryContext, request: web.Request, position: int) -> None:
    """Wait until the rows reflect a position. Raises RequestInvalid where the ledger does not, NotAwaited."""
    row = await read.connection.fetchrow(REACH, read.ledger.ledger_id)
    assert row is not None
    if position > row["tail"]:
        raise RequestInvalid(f"the ledger has come to position {row['tail']}, not {position}")
    house = request.app[APP_CONTEXT]
    seconds = house.settings.wait_seconds_max
    if position > row["as_of_position"] and not await house.projector.wait_for(
        read.ledger.ledger_id, position, seconds
    ):
        raise NotAwaited(f"position {position} within {seconds:g} s")


async def freshness(read: QueryContext, times: AsOfQuery | None = None) -> dict[str, int]:
    """Say which position an answer reflects, the rows' or the one that was asked for, and how many events behind the
    ledger that is."""
    row = await read.connection.fetchrow(REACH, read.ledger.ledger_id)
    assert row is not None
    return freshness_of(row["as_of_position"], row["tail"], times)


def freshness_of(rows: int, tail: int, times: AsOfQuery | None) -> dict[str, int]:
    """Word how far an answer reaches; `known_position` is there when a position or ?known_at= was asked for."""
    if times is None or times.position is None:
        return {"as_of_position": rows, "events_behind": tail - rows}
    return {
        "as_of_position": times.position,
        "events_behind": tail - times.position,
        "known_position": times.position,
    }


async def expand_reference(read: QueryContext, name: str) -> list[str]:
    """Give the refs that a name may stand for: itself, or a bare vendor id of any source and organisation.

    Voucherify's ids name no project, so whatever organisation is given with one is taken as none. An e-mail address or
    telephone number that a vendor uses as an id is stored as a pseudonym, and found by it.
    """
    if read.mask is not None:
        name = ":".join(_as_stored(read.mask, part) for part in name.split(":"))
    source, _, rest = name.partition(":")
    if rest and source == "voucherify":
        name = f"voucherify:-:{rest.partition(':')[2]}"
    orgs = await read.connection.fetch(ORGS, read.ledger.ledger_id)
    return [name, *(f"{row['source']}:{row['org']}:{name}" for row in orgs)]


def _as_stored(mask: bytes, part: str) -> str:
    kind = identifier_kind_of_value(unquote_id(part))
    return part if kind is None else pseudonym(mask, kind, unquote_id(part))


def require_single(found: list[str], name: str) -> str:
    """Give the one ref found. Raises SubjectUnknown for none, RequestInvalid for several."""
    if not found:
        raise SubjectUnknown(name)
    if len(found) > 1:
        raise RequestInvalid(f"{name} stands for several: {', '.join(found[:5])}")
    return found[0]


async def body_of(request: web.Request) -> dict[str, Any]:
    """Read the JSON object of a request; {} when there is no body. Raises RequestInvalid."""
    text = await read_body(request, request.app[APP_CONTEXT].bodies)
    if not text:
        return {}
    try:
        body = orjson.loads(text)
    except ValueError:
        raise RequestInvalid("the body is not JSON") from None
    if not isinstance(body, dict):
        raise RequestInvalid("the body is not a JSON object")
    return body


def limit_of(request: web.Request) -> int:
    """Read ?limit=, LIMIT_DEFAULT if it is not given."""
    return read_int(request.query.get("limit"), "limit", least=1, most=LIMIT_MAX) or LIMIT_DEFAULT
