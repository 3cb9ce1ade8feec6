"""What every answer from a projection shares: who asks, how far the rows reach, and how a thing is named."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from ledger.database import Connection
from ledger.errors import RequestInvalid, SubjectUnknown
from ledger.registry import Ledger
from service.answers import read_int
from service.house import HOUSE

LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000

REACH = """
    SELECT coalesce((SELECT position FROM checkpoints WHERE ledger_id = $1), 0) AS as_of_position,
           (SELECT coalesce(max(position), 0) FROM ledger.events WHERE ledger_id = $1) AS tail
"""
ORGS = "SELECT source, org FROM orgs WHERE ledger_id = $1 ORDER BY source, org LIMIT 1000"


class Reader(NamedTuple):
    """One caller's view of one ledger while one request is answered."""

    connection: Connection
    ledger: Ledger
    key_id: str


@asynccontextmanager
async def reader(request: web.Request, scope: str = "read") -> AsyncIterator[Reader]:
    """Check the caller's key, wait for ?min_position=, and lend a connection.

    Raises BadCredentials, ScopeMissing or NotAwaited.
    """
    house = request.app[HOUSE]
    access = await house.caller(request, scope)
    await house.await_position(request, access.ledger.ledger_id)
    async with house.pool.acquire() as connection:
        yield Reader(connection, access.ledger, access.key_id)


async def reach(read: Reader) -> dict[str, int]:
    """Say which position the rows reflect, and how many events behind the ledger that is."""
    row = await read.connection.fetchrow(REACH, read.ledger.ledger_id)
    assert row is not None
    return {"as_of_position": row["as_of_position"], "events_behind": row["tail"] - row["as_of_position"]}


async def candidates(read: Reader, name: str) -> list[str]:
    """Give the refs that a name may stand for: itself, or a bare vendor id of any source and organisation.

    Voucherify's ids name no project, so whatever organisation is given with one is taken as none.
    """
    source, _, rest = name.partition(":")
    if rest and source == "voucherify":
        name = f"voucherify:-:{rest.partition(':')[2]}"
    orgs = await read.connection.fetch(ORGS, read.ledger.ledger_id)
    return [name, *(f"{row['source']}:{row['org']}:{name}" for row in orgs)]


def only(found: list[str], name: str) -> str:
    """Give the one ref found. Raises SubjectUnknown for none, RequestInvalid for several."""
    if not found:
        raise SubjectUnknown(name)
    if len(found) > 1:
        raise RequestInvalid(f"{name} stands for several: {', '.join(found[:5])}")
    return found[0]


async def body_of(request: web.Request) -> dict[str, Any]:
    """Read the JSON object of a request; {} when there is no body. Raises RequestInvalid."""
    text = await request.read()
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
