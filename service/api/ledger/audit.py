"""The list of looks at personal values, for auditors. A look at the list is recorded too."""

from aiohttp import web

from ledger.privacy.access_log import accesses_after
from service.api.answers.ledger import AccessPage
from service.api.requests.admission import get
from service.api.requests.open_query import open_query
from service.api.requests.parameters import LIMIT, PAGE, REASON
from service.api.responses import page_response
from service.formatting import cut_page, decode_cursor


async def list_accesses(request: web.Request) -> web.Response:
    """List the recorded looks at personal values and at the log, oldest first. This look is one of them."""
    after = decode_cursor(request.query.get("cursor"), int) or [0]
    limit = LIMIT.of(request)
    async with open_query(request, "audit") as query:
        accesses = await accesses_after(query.connection, query.ledger.ledger_id, after[0], limit + 1)
        shown, cursor = cut_page(accesses, limit, lambda access: (access.number,))
        return page_response(request, [access._asdict() for access in shown], cursor)


OPERATIONS = (get("/v1/audit/access", list_accesses, REASON, *PAGE, tag="audit", answer=AccessPage, scopes=("audit",)),)
