"""The author of an action: the person, the key and the reason. Each action is recorded before it happens."""

from collections.abc import Mapping

from aiohttp import web

from ledger.errors import RequestInvalid
from ledger.privacy.access_log import record_access
from ledger.vendors.personal_values import is_personal_value
from service.api.requests.open_query import REASON_CHARACTERS_MAX
from service.console.visitors import VISITOR
from service.operations.adjust import Author
from service.queries.context import QueryContext

PERSONAL_REASON = "the reason must not hold personal data, because it is stored in the clear: name a ticket"


def parse_author(request: web.Request, fields: Mapping[str, str]) -> Author:
    """Return the author: the name that the proxy states, otherwise the name in the form. Raises RequestInvalid."""
    visitor = request[VISITOR]
    author = Author(f"key {visitor.access.key_id}", visitor.name or fields.get("author", ""), fields.get("reason", ""))
    author.check()
    return author


def parse_reason(fields: Mapping[str, str]) -> str:
    """Return the reason of a look or an action that is stored in the clear. Raises RequestInvalid."""
    reason = fields.get("reason", "").strip()[:REASON_CHARACTERS_MAX]
    if not reason:
        raise RequestInvalid("the reason is missing")
    if is_personal_value(reason):
        raise RequestInvalid(PERSONAL_REASON)
    return reason


async def record_action(request: web.Request, query: QueryContext, action: str, *, reason: str = "") -> None:
    """Record an action or a look, with the person's name and the reason, before it happens.

    The name is that of the proxy. A name in a form is not proven, so it is stored with the action only.
    """
    recorded = f"{reason} {request[VISITOR].called_by}".strip()
    await record_access(query.connection, query.ledger.ledger_id, query.key_id, action, recorded)
