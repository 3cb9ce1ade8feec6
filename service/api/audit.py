"""The list of looks at personal values, for auditors. A look at the list is recorded too."""

from aiohttp import web

from ledger.privacy.access_log import accesses_after
from service.api.requests.admission import PAGE, get
from service.api.requests.open_query import open_query, parse_limit
from service.api.responses import page_response
from service.formatting import cut_page, decode_cursor


async def list_accesses(request: web.Request) -> web.Response:
    """GET /v1/audit/access: recorded looks with key, subject and reason, oldest first. This look is one of them.

    Scope `audit`; `why` is the reason.
    """
    after = decode_cursor(request.query.get("cursor"), int) or [0]
    limit = parse_limit(request)
    async with open_query(request, "audit") as query:
        accesses = await accesses_after(query.connection, query.ledger.ledger_id, after[0], limit + 1)
        shown, cursor = cut_page(accesses, limit, lambda access: (access.number,))
        return page_response([access._asdict() for access in shown], cursor)


ROUTES = [get("/v1/audit/access", list_accesses, "why", *PAGE, scopes=("audit",))]
