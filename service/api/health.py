"""Health: the process is alive, it can append, and the position that projections have reached."""

import asyncio
from importlib.metadata import version

from aiohttp import web

import migrations
from ledger import clock
from ledger.database import CONNECTION_LOST
from ledger.errors import LedgerUnavailable
from ledger.store.api_keys import SCOPES
from projections.engine import generations
from service.api.answers.system import Info, Live, Projections, Ready
from service.api.requests.admission import get, keyless
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import admit_caller, open_query
from service.api.responses import json_response
from service.queries.context import QueryContext
from service.queries.freshness import freshness
from service.queries.generations import generation_json_for_ledger
from service.startup_checks import SCHEMA_VERSION

READY_SECONDS_MAX = 2.0

# A commit that changes nothing. It waits for the disk, and for replicas where replication is synchronous.
COMMIT = "SELECT pg_logical_emit_message(true, 'loyalty', 'ready')"
PROGRESS = """
    SELECT e.tail, coalesce(c.position, 0) AS position, e.recorded_at AS tail_recorded_at,
           coalesce(extract(epoch FROM clock_timestamp() - next.recorded_at), 0)::float8 AS seconds_behind
      FROM (SELECT max(position) AS tail, max(recorded_at) AS recorded_at FROM
              (SELECT position, recorded_at FROM ledger.events WHERE ledger_id = $1
                ORDER BY position DESC LIMIT 1) last) e
      LEFT JOIN checkpoints c ON c.ledger_id = $1
      LEFT JOIN ledger.events next ON next.ledger_id = $1 AND next.position = coalesce(c.position, 0) + 1
"""


async def live(_request: web.Request) -> web.Response:
    """Answer if the process lives.

    The database is not asked, so an outage there is not reported twice.
    """
    return json_response({"status": "live"})


async def ready(request: web.Request) -> web.Response:
    """Answer if the database can be written to, and has the schema of this version.

    Otherwise the status is 503. If the last delivery could not be stored, readiness is proven by a commit.
    """
    context = request.app[APP_CONTEXT]
    try:
        async with asyncio.timeout(READY_SECONDS_MAX), context.service_pool.acquire() as connection:
            version = await connection.fetchval(SCHEMA_VERSION)
            if context.appender.is_in_doubt:
                await connection.execute(COMMIT)
                context.appender.is_in_doubt = False
            unreachable = await context.reachable_ledgers.list_unreachable(connection)
    except CONNECTION_LOST as error:
        raise LedgerUnavailable(type(error).__name__) from None
    if not migrations.is_usable(version):
        raise LedgerUnavailable("the database has the schema of an older version")
    clock_problem = clock.CLOCK.problem()
    return json_response(
        {
            "status": "ready",
            "schema": version,
            **({} if clock_problem is None else {"clock": clock_problem}),
            **({"unreachable_ledgers": unreachable} if unreachable else {}),
        }
    )


async def get_projections(request: web.Request) -> web.Response:
    """List the projections with their delay in events and seconds, and the generations."""
    async with open_query(request) as query:
        row = await query.connection.fetchrow(PROGRESS, query.ledger.ledger_id)
        assert row is not None
        listed = await generations.list_generations(query.connection)
        due = await generations.rebuild_due(query.connection)
        tail = row["tail"] or 0
        progress = {
            "position": row["position"],
            "events_behind": tail - row["position"],
            "seconds_behind": round(max(0.0, row["seconds_behind"]), 3),
        }
        return json_response(
            {
                "as_of_position": row["position"],
                "ledger_position": tail,
                "items": [
                    {"name": name, "version": version, "rebuild_due": name in due, **progress}
                    for name, version in generations.projection_versions().items()
                ],
                "next": None,
                "generations": [generation_json_for_ledger(generation, query.ledger.name) for generation in listed],
            }
        )


async def get_info(request: web.Request) -> web.Response:
    """Return the ledger and the scopes of the key, the versions, and the positions.

    It is the first call of a client: any key may ask.
    """
    access = await admit_caller(request, *SCOPES)
    async with request.app[APP_CONTEXT].reader_pool.acquire() as connection:
        await connection.confine(access.ledger.ledger_id)
        reached = await freshness(QueryContext(connection, access.ledger, access.key_id))
    return json_response(
        {
            "ledger": access.ledger.name,
            "scopes": sorted(access.scopes),
            "version": version("loyalty-ledger"),
            "schema": migrations.head(),
            "ledger_position": reached["as_of_position"] + reached["events_behind"],
            "as_of_position": reached["as_of_position"],
        }
    )


OPERATIONS = (
    keyless("/live", live, tag="service", answer=Live),
    keyless("/ready", ready, tag="service", answer=Ready, errors=(LedgerUnavailable,)),
    get("/v1/info", get_info, tag="service", answer=Info, scopes=SCOPES),
    get("/v1/projections", get_projections, tag="service", answer=Projections),
)
