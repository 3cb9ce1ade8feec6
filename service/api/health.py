"""How we are: alive, able to append, and how far the projections reach."""

import asyncio

from aiohttp import web

import migrations
from ledger import clock
from ledger.database import CONNECTION_LOST
from ledger.errors import LedgerUnavailable
from projections.engine import generations
from service.api.requests.admission import get, keyless
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import open_query
from service.api.responses import json_response
from service.queries.generations import generation_json_for_ledger

READY_SECONDS_MAX = 2.0

SCHEMA_VERSION = "SELECT version_num FROM public.alembic_version"
REACH = """
    SELECT e.tail, coalesce(c.position, 0) AS position, e.recorded_at AS tail_recorded_at,
           coalesce(extract(epoch FROM clock_timestamp() - next.recorded_at), 0)::float8 AS seconds_behind
      FROM (SELECT max(position) AS tail, max(recorded_at) AS recorded_at FROM
              (SELECT position, recorded_at FROM ledger.events WHERE ledger_id = $1
                ORDER BY position DESC LIMIT 1) last) e
      LEFT JOIN checkpoints c ON c.ledger_id = $1
      LEFT JOIN ledger.events next ON next.ledger_id = $1 AND next.position = coalesce(c.position, 0) + 1
"""


async def live(_request: web.Request) -> web.Response:
    """GET /live: the process answers. Never asks the database, so that its outage is not made two."""
    return json_response({"status": "live"})


async def ready(request: web.Request) -> web.Response:
    """GET /ready: the database answers and is at our schema. 503 otherwise."""
    context = request.app[APP_CONTEXT]
    try:
        async with asyncio.timeout(READY_SECONDS_MAX), context.service_pool.acquire() as connection:
            version = await connection.fetchval(SCHEMA_VERSION)
    except CONNECTION_LOST as error:
        raise LedgerUnavailable(type(error).__name__) from None
    if version != migrations.head():
        raise LedgerUnavailable("another schema")
    told = clock.CLOCK.problem()
    return json_response({"status": "ready", "schema": version, **({} if told is None else {"clock": told})})


async def projections_of(request: web.Request) -> web.Response:
    """GET /v1/projections: how far each projection reaches, in events and seconds, and the generations there are."""
    async with open_query(request) as query:
        row = await query.connection.fetchrow(REACH, query.ledger.ledger_id)
        assert row is not None
        listed = await generations.list_generations(query.connection)
        due = await generations.rebuild_due(query.connection)
        tail = row["tail"] or 0
        reached = {
            "position": row["position"],
            "events_behind": tail - row["position"],
            "seconds_behind": round(max(0.0, row["seconds_behind"]), 3),
        }
        return json_response(
            {
                "as_of_position": row["position"],
                "ledger_position": tail,
                "items": [
                    {"name": name, "version": version, "rebuild_due": name in due, **reached}
                    for name, version in generations.projection_versions().items()
                ],
                "next": None,
                "generations": [generation_json_for_ledger(one, query.ledger.name) for one in listed],
            }
        )


ROUTES = [
    keyless("/live", live),
    keyless("/ready", ready),
    get("/v1/projections", projections_of),
]
