"""Dry runs: the parameter `dry_run`, and the answer that shows the effects of an operation that is not recorded."""

from collections.abc import Awaitable
from typing import Any

from aiohttp import web

from service.api.requests.parameters import flag
from service.api.responses import json_response
from service.operations.preview import preview_json, preview_operation
from service.operations.record import Planned
from service.queries.context import QueryContext

DRY_RUN = flag("dry_run", "Makes all checks and shows the effects in `preview`, but records nothing.")


async def dry_run_response(
    query: QueryContext, plan: Awaitable[Planned[Any]], *, with_liability: bool = False
) -> web.Response:
    """Answer as the operation would, with position null and the effects in `preview`. Nothing is recorded."""
    result, preview = await preview_operation(
        query.connection, query.ledger.ledger_id, plan, with_liability=with_liability
    )
    return json_response({**result._asdict(), "preview": preview_json(preview)})
