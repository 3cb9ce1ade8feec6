"""The author of an action: the person, the key and the reason. Each action is recorded before it happens."""

from collections.abc import Mapping

from aiohttp import web

from ledger.errors import RequestInvalid
from ledger.privacy.access_log import record_access
from ledger.vendors.personal_values import is_personal_value
from service.api.requests.open_query import CALLED_BY, REASON_CHARACTERS_MAX
from service.console.visitors import VISITOR
from service.operations.adjust import Author
from service.queries.context import QueryContext

PERSONAL_REASON = "the reason must not hold personal data, because it is stored in the clear: name a ticket"
PERSONAL_NAME = "the name must be a name, not an address or a number, because it is stored in the clear"
NAME_CHARACTERS_MAX = 200


def parse_author(request: web.Request, fields: Mapping[str, str]) -> Author:
    """Return the author: the name that the proxy states, otherwise the name in the form. Raises RequestInvalid."""
    visitor = request[VISITOR]
    author = Author(f"key {visitor.access.key_id}", parse_name(request, fields), fields.get("reason", ""))
    author.check()
    return author


def parse_name(request: web.Request, fields: Mapping[str, str]) -> str:
    """Return the person's name: from the proxy, otherwise from the form. Raises RequestInvalid."""
    name = request[VISITOR].name
    if name:
        return name
    typed = " ".join("".join(letter for letter in fields.get("author", "") if letter.isprintable()).split())
    if not typed or len(typed) > NAME_CHARACTERS_MAX:
        raise RequestInvalid(f"your name is required, with at most {NAME_CHARACTERS_MAX} characters")
    if is_personal_value(typed):
        raise RequestInvalid(PERSONAL_NAME)
    return typed


def parse_reason(fields: Mapping[str, str]) -> str:
    """Return the reason of a look or an action that is stored in the clear. Raises RequestInvalid."""
    reason = fields.get("reason", "").strip()[:REASON_CHARACTERS_MAX]
    if not reason:
        raise RequestInvalid("the reason is missing")
    if is_personal_value(reason):
        raise RequestInvalid(PERSONAL_REASON)
    return reason


def parse_look(request: web.Request, fields: Mapping[str, str]) -> str:
    """Return the reason of a look. The look is recorded with it and with the person's name. Raises RequestInvalid."""
    reason = parse_reason(fields)
    request[CALLED_BY] = called_by(request, parse_name(request, fields))
    return reason


def called_by(request: web.Request, name: str) -> str:
    """Return the words about the person that end each recorded reason. A name in a form is not proven."""
    return request[VISITOR].called_by if request[VISITOR].name else f"(console, {name}, as typed)"


def signature(author: Author) -> str:
    """Return the person and the key, for events that name their author in the clear."""
    return f"{author.author} ({author.by})"


async def record_action(request: web.Request, query: QueryContext, action: str, name: str, *, reason: str = "") -> None:
    """Record an action or a look, with the person's name and the reason, before it happens."""
    recorded = f"{reason} {called_by(request, name)}".strip()
    await record_access(query.connection, query.ledger.ledger_id, query.key_id, action, recorded)
