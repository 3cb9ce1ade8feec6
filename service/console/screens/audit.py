"""The audit screen: who looked at personal values, and why. A look at this screen is recorded too."""

from aiohttp import web

from ledger.errors import ScopeMissing
from ledger.privacy.access_log import accesses_after
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import STATED_REASON, open_query
from service.console.admission import action, page
from service.console.authors import parse_look
from service.console.pages import Page, file_response
from service.console.tables import FORMATS, PageColumn, PageTable
from service.console.visitors import VISITOR
from service.parameters import parse_int

LOOKS_PER_PAGE = 100
LOOKS_PER_FILE = 10_000
COLUMNS = (
    PageColumn("number", "Number", "number"),
    PageColumn("at", "When", "time"),
    PageColumn("key_id", "Key", "code"),
    PageColumn("label", "Label of the key"),
    PageColumn("object", "What was shown or done", "code"),
    PageColumn("reason", "Reason and person", "prose"),
)


async def ask_for_reason(request: web.Request) -> Page:
    """Return the form that asks for the reason of the look."""
    if not request[VISITOR].access.scopes & {"audit", "admin"}:
        raise ScopeMissing("audit")
    return Page(
        "audit.html",
        "Audit",
        values={"reason": None, "following": None, "after": 0, "author": "", "signs": _signs(request)},
    )


async def show_looks(request: web.Request, fields: dict[str, str]) -> Page | web.Response:
    """Return the recorded looks, oldest first. This look is recorded before, with its reason."""
    reason = parse_look(request, fields)
    after = parse_int(fields.get("after") or None, "after", least=0, most=2**62) or 0
    limit = LOOKS_PER_FILE if fields.get("format") in FORMATS else LOOKS_PER_PAGE
    request[STATED_REASON] = reason  # with it, the look is recorded before the list is read
    async with open_query(request, "audit") as query:
        looks = await accesses_after(query.connection, query.ledger.ledger_id, after, limit + 1)
    shown = looks[:limit]
    rows = [look._asdict() for look in shown]
    following = shown[-1].number if len(looks) > limit else None
    table = PageTable("looks", "Looks and actions", COLUMNS, rows, "Nobody has looked yet.")
    if fields.get("format") in FORMATS:
        return file_response(request, table, fields["format"])
    return Page(
        "audit.html",
        "Audit",
        (table,),
        {"reason": reason, "following": following, "after": after, "author": fields.get("author", ""), "signs": False},
    )


def _signs(request: web.Request) -> bool:
    """Return True if this process may sign, so that it can make a bundle."""
    return request.app[APP_CONTEXT].signer is not None


ROUTES = [
    page("/audit", ask_for_reason),
    action("/audit", show_looks, "audit"),
]
