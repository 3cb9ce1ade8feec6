"""Generations over HTTP, for keys of scope operator: list, rebuild, promote, roll back, drop; and retry what is parked.

Generations hold all ledgers of a database, so what is done here holds for all: the scope `admin` of one ledger does not
open it. The scope `operator` does, which is granted explicitly. Its answers name no other ledger either.
"""

import asyncio
import logging
from typing import Any, get_args

from aiohttp import web

from ledger.errors import LedgerError, RebuildRuns, RequestInvalid
from ledger.store.registry import OPERATOR
from projections import rebuild as replay
from projections.engine import generations, promotion, retry
from projections.engine.generations import Generation
from projections.rebuild.pipeline import Source
from projections.rebuild.scope import EVERYTHING, RebuildScope, check_scope
from service.api.requests.admission import change, get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.json_bodies import read_json_body
from service.api.requests.open_query import open_query
from service.api.responses import json_response
from service.queries.freshness import freshness
from service.queries.generations import generation_json_for_operator

SEEN_SECONDS_MAX = 5.0
BEGIN_SECONDS_MAX = 5.0
WORKERS_MIN = 2  # so that the work is done in other processes than the one that answers
GENERATION = r"{generation:[0-9]{1,9}}"

_log = logging.getLogger(__name__)


async def list_generations(request: web.Request) -> web.Response:
    """GET /v1/generations: the built copies of the views, oldest first."""
    async with open_query(request, OPERATOR) as query:
        listed = await generations.list_generations(query.connection)
        return json_response(
            {
                "items": [generation_json_for_operator(one, query.ledger.name) for one in listed],
                "next": None,
                **await freshness(query),
            }
        )


async def rebuild(request: web.Request) -> web.Response:
    """POST /v1/generations {"from": "ledger", "projections": [], "expect": [], "promote": false}: begin a rebuild.

    202 with the number of the generation as soon as it is known; GET /v1/generations says how it ends. It stays "ready"
    and waits to be promoted unless that is asked for.
    """
    context = request.app[APP_CONTEXT]
    body = await read_json_body(request)
    async with open_query(request, OPERATOR) as query:
        source: Source = body.get("from", "ledger")
        if source not in get_args(Source):
            raise RequestInvalid('from is "ledger" or "facts"')
        scope = RebuildScope(tuple(_names(body, "projections"))) if body.get("projections") else EVERYTHING
        await check_scope(query.connection, scope)
        if context.rebuild_task is not None and not context.rebuild_task.done():
            raise RebuildRuns
        begun: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        to_promote = body.get("promote") is True
        work = replay.rebuild(
            context.dsn, source=source, scope=scope, workers=WORKERS_MIN, expect=_names(body, "expect"),
            force=body.get("force") is True, to_promote=to_promote, begun=begun.set_result,
        )  # fmt: skip
        context.rebuild_task = asyncio.create_task(_supervised(work))
        await asyncio.wait(
            (begun, context.rebuild_task), timeout=BEGIN_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
        )
        if context.rebuild_task.done() and not begun.done():
            raise context.rebuild_task.result() or RebuildRuns()
        number = begun.result() if begun.done() else None
        told = {"generation": number, "state": "filling", "from": source, "promote": to_promote}
        return json_response(told, status=202)


async def _supervised(work: Any) -> LedgerError | None:
    """Run a rebuild to its end; log what goes wrong, and return it if it is one of our errors."""
    try:
        await work
    except LedgerError as error:
        _log.error("a rebuild ended: %s", error)
        return error
    except Exception as error:
        _log.error("a rebuild ended: %s", type(error).__name__)
    return None


def _names(body: dict[str, Any], field: str) -> list[str]:
    names = body.get(field, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestInvalid(f"{field} is a list of names")
    return names


async def promote(request: web.Request) -> web.Response:
    """POST /v1/generations/{n}/promote {"force": false, "expect": []}: let readers see it."""
    context = request.app[APP_CONTEXT]
    number = int(request.match_info["generation"])
    body = await read_json_body(request)
    async with open_query(request, OPERATOR) as query:
        expect = _names(body, "expect")
        candidate = await generations.find_generation(query.connection, number)
        if expect and candidate.state == "ready":
            await replay.compare_with_active(context.dsn, candidate, expect)
        promoted = await promotion.promote(context.dsn, number, force=body.get("force") is True)
        await _seen(request, promoted)
        return json_response(generation_json_for_operator(promoted, query.ledger.name))


async def roll_back(request: web.Request) -> web.Response:
    """POST /v1/generations/rollback: let readers see the one before, which has been following the ledger."""
    async with open_query(request, OPERATOR) as query:
        back = await promotion.roll_back(request.app[APP_CONTEXT].dsn)
        await _seen(request, back)
        return json_response(generation_json_for_operator(back, query.ledger.name))


async def drop(request: web.Request) -> web.Response:
    """DELETE /v1/generations/{n}: remove one that is not active; it goes when nobody reads it."""
    number = int(request.match_info["generation"])
    async with open_query(request, OPERATOR) as query:
        gone = await promotion.drop_generation(query.connection, number)
        return json_response({"generation": number, "dropped": gone})


async def _seen(request: web.Request, active: Generation) -> None:
    """Wait until the readers of this process see a generation, so that who promoted it sees it with the next answer."""
    context = request.app[APP_CONTEXT]
    try:
        async with asyncio.timeout(SEEN_SECONDS_MAX):
            await context.reader_pool.entered(active.generation)
    except TimeoutError:
        _log.warning("readers do not see generation %s yet", active.generation)


async def retry_parked(request: web.Request) -> web.Response:
    """POST /v1/reconciliation/parked/retry {"subject_kind": "...", "subject": "..."}: fold parked subjects again."""
    body = await read_json_body(request)
    async with open_query(request, "admin") as query:
        kind, subject = body.get("subject_kind"), body.get("subject")
        if not all(one is None or isinstance(one, str) for one in (kind, subject)):
            raise RequestInvalid("subject_kind and subject are texts")
        done = await retry.retry_parked(query.connection, query.ledger.ledger_id, subject_kind=kind, subject=subject)
        return json_response({**done._asdict(), **await freshness(query)})


ROUTES = [
    get("/v1/generations", list_generations, scopes=(OPERATOR,)),
    change("POST", "/v1/generations", rebuild, scope=OPERATOR),
    change("POST", "/v1/generations/rollback", roll_back, scope=OPERATOR),
    change("POST", f"/v1/generations/{GENERATION}/promote", promote, scope=OPERATOR),
    change("DELETE", f"/v1/generations/{GENERATION}", drop, scope=OPERATOR),
    change("POST", "/v1/reconciliation/parked/retry", retry_parked),
]
