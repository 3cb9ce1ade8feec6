"""Read the JSON body of a request, and the texts in it."""

from typing import Any

import orjson
from aiohttp import web

from ledger.errors import RequestInvalid
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.bodies import read_body
from service.operations.adjust import Author
from service.queries.context import QueryContext


async def read_json_body(request: web.Request) -> dict[str, Any]:
    """Return the JSON object of a request, or {} if there is no body. Raises RequestInvalid."""
    text = await read_body(request, request.app[APP_CONTEXT].body_budget)
    if not text:
        return {}
    try:
        body = orjson.loads(text)
    except ValueError:
        raise RequestInvalid("the body must be JSON") from None
    if not isinstance(body, dict):
        raise RequestInvalid("the body must be a JSON object")
    return body


def read_author(query: QueryContext, body: dict[str, Any]) -> Author:
    """Return the author and the reason of a change, and the key that it was made with. Raises RequestInvalid."""
    return Author(f"key {query.key_id}", read_text(body, "author"), read_text(body, "reason"))


def read_text(body: dict[str, Any], name: str) -> str:
    """Return a text of a body, or "" if the body has none. Raises RequestInvalid."""
    text = body.get(name, "")
    if not isinstance(text, str):
        raise RequestInvalid(f"`{name}` must be a string")
    return text
