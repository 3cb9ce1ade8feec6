"""Generations: list, rebuild, promote, roll back, drop; and retry parked subjects.

A generation holds all ledgers of a database, so a change affects all of them. The scope `admin` of one ledger is not
enough. The scope `operator` is needed, which is granted explicitly. Answers name no other ledger.
"""

import asyncio
import logging
from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import Meta, Struct

from ledger.database import Connection
from ledger.errors import GenerationUnknown, LedgerError, NotPromoted, RebuildRuns
from ledger.store.api_keys import OPERATOR
from projections import rebuild as replay
from projections.engine import generations, promotion, retry
from projections.engine.generations import Generation
from projections.rebuild.pipeline import Source
from projections.rebuild.scope import EVERYTHING, RebuildScope, check_scope
from service.api.answers import system as answers
from service.api.answers.reconciliation import ParkedRetried
from service.api.requests.admission import change, get
from service.api.requests.app_context import APP_CONTEXT, AppContext, RebuildProgress
from service.api.requests.json_bodies import read_json_body
from service.api.requests.open_query import open_query
from service.api.responses import json_response
from service.queries.freshness import freshness
from service.queries.generations import generation_json_for_operator

SEEN_SECONDS_MAX = 5.0
BEGIN_SECONDS_MAX = 5.0
WORKERS_MIN = 2  # so that other processes than this one do the work
GENERATION = r"{generation:[0-9]{1,9}}"

_log = logging.getLogger(__name__)


async def list_generations(request: web.Request) -> web.Response:
    """List all generations, oldest first."""
    async with open_query(request, OPERATOR) as query:
        listed = await generations.list_generations(query.connection)
        return json_response(
            {
                "items": [generation_json_for_operator(generation, query.ledger.name) for generation in listed],
                "next": None,
                **await freshness(query),
            }
        )


class RebuildBody(Struct, forbid_unknown_fields=True):
    """The rebuild to start."""

    basis: Literal["ledger", "facts"] = "ledger"
    projections: Annotated[list[str], Meta(description="Only these projections. Empty: all.")] = []
    expect: Annotated[
        list[str], Meta(description="Differences that are expected, as `loyalty rebuild` takes them.")
    ] = []
    promote: Annotated[bool, Meta(description="Promote the generation when it is ready.")] = False
    force: Annotated[bool, Meta(description="Promote it in spite of unexpected differences.")] = False


class PromotionBody(Struct, forbid_unknown_fields=True):
    """The promotion of a generation."""

    expect: Annotated[list[str], Meta(description="Differences that are expected.")] = []
    force: Annotated[bool, Meta(description="Promote it in spite of unexpected differences.")] = False


class RetryBody(Struct, forbid_unknown_fields=True):
    """The parked subjects to fold again."""

    subject_kind: str | None = None
    subject: str | None = None


async def start_rebuild(request: web.Request) -> web.Response:
    """Start a rebuild.

    The answer names the generation as soon as it is known. `GET /v1/generations` shows the result. The generation
    becomes `ready` and waits to be promoted, unless `promote` is true.
    """
    context = request.app[APP_CONTEXT]
    body = await read_json_body(request, RebuildBody)
    async with open_query(request, OPERATOR) as query:
        number = await begin_rebuild(context, query.connection, body)
        answer = {"generation": number, "status": "filling", "basis": body.basis, "promote": body.promote}
        return json_response(answer, status=202)


async def begin_rebuild(context: AppContext, connection: Connection, body: RebuildBody) -> int | None:
    """Start a rebuild in this process, and return its generation; None if it is not known yet.

    Raises RebuildRuns if one runs here, and what the rebuild raises at its start.
    """
    source: Source = body.basis
    scope = RebuildScope(tuple(body.projections)) if body.projections else EVERYTHING
    await check_scope(connection, scope)
    if context.rebuild_task is not None and not context.rebuild_task.done():
        raise RebuildRuns
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def report(stage: str, done: int, of: int) -> None:
        context.rebuild_progress = RebuildProgress(stage, done, of)

    rebuild_work = replay.rebuild(
        context.dsn, source=source, scope=scope, workers=WORKERS_MIN, expect=body.expect, force=body.force,
        to_promote=body.promote, on_generation_known=started.set_result, progress=report,
    )  # fmt: skip
    context.rebuild_progress = None
    context.rebuild_task = asyncio.create_task(_supervise(rebuild_work))
    await asyncio.wait((started, context.rebuild_task), timeout=BEGIN_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
    if context.rebuild_task.done() and not started.done():
        raise context.rebuild_task.result() or RebuildRuns()
    return started.result() if started.done() else None


async def _supervise(rebuild_work: Any) -> LedgerError | None:
    """Run a rebuild to its end. Log a failure, and return it if it is a LedgerError."""
    try:
        await rebuild_work
    except LedgerError as error:
        _log.error("a rebuild ended: %s", error)
        return error
    except Exception as error:
        _log.error("a rebuild ended: %s", type(error).__name__)
    return None


async def promote_generation(request: web.Request) -> web.Response:
    """Make a generation the active one."""
    context = request.app[APP_CONTEXT]
    number = int(request.match_info["generation"])
    body = await read_json_body(request, PromotionBody)
    async with open_query(request, OPERATOR) as query:
        candidate = await generations.find_generation(query.connection, number)
        if body.expect and candidate.state == "ready":
            await replay.compare_with_active(context.dsn, candidate, body.expect)
        promoted = await promotion.promote(context.dsn, number, force=body.force)
        await wait_until_readers_see(context, promoted)
        return json_response(generation_json_for_operator(promoted, query.ledger.name))


async def roll_back_generation(request: web.Request) -> web.Response:
    """Make the previous generation the active one again. It has followed the ledger."""
    context = request.app[APP_CONTEXT]
    async with open_query(request, OPERATOR) as query:
        previous = await promotion.roll_back(context.dsn)
        await wait_until_readers_see(context, previous)
        return json_response(generation_json_for_operator(previous, query.ledger.name))


async def drop_generation(request: web.Request) -> web.Response:
    """Remove a generation that is not active, once no connection reads it."""
    number = int(request.match_info["generation"])
    async with open_query(request, OPERATOR) as query:
        dropped = await promotion.drop_generation(query.connection, number)
        return json_response({"generation": number, "dropped": dropped})


async def wait_until_readers_see(context: AppContext, active: Generation) -> None:
    """Wait until this process reads from a generation, so that the caller's next request sees it."""
    try:
        async with asyncio.timeout(SEEN_SECONDS_MAX):
            await context.reader_pool.wait_until_entered(active.generation)
    except TimeoutError:
        _log.warning("readers do not see generation %s yet", active.generation)


async def retry_parked(request: web.Request) -> web.Response:
    """Fold parked subjects again: all of them, those of a kind, or one subject."""
    body = await read_json_body(request, RetryBody)
    async with open_query(request, "admin") as query:
        retried = await retry.retry_parked(
            query.connection, query.ledger.ledger_id, subject_kind=body.subject_kind, subject=body.subject
        )
        return json_response({**retried._asdict(), **await freshness(query)})


OF_OPERATOR: dict[str, Any] = {
    "tag": "generations",
    "scope": OPERATOR,
    "answer": answers.GenerationDetails,
    "errors": (NotPromoted, GenerationUnknown, RebuildRuns),
}

OPERATIONS = (
    get("/v1/generations", list_generations, tag="generations", answer=answers.Generations, scopes=(OPERATOR,)),
    change(
        "POST",
        "/v1/generations",
        start_rebuild,
        body=RebuildBody,
        status=202,
        **{**OF_OPERATOR, "answer": answers.RebuildStarted},
    ),
    change("POST", "/v1/generations/rollback", roll_back_generation, **OF_OPERATOR),
    change("POST", f"/v1/generations/{GENERATION}/promote", promote_generation, body=PromotionBody, **OF_OPERATOR),
    change(
        "DELETE",
        f"/v1/generations/{GENERATION}",
        drop_generation,
        **{**OF_OPERATOR, "answer": answers.GenerationDropped},
    ),
    change(
        "POST",
        "/v1/reconciliation/parked/retry",
        retry_parked,
        tag="reconciliation",
        body=RetryBody,
        answer=ParkedRetried,
    ),
)
