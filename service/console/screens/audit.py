"""The audit screen: who looked at personal values, and why. A look at this screen is recorded too."""

from aiohttp import web

from ledger.errors import RequestInvalid, ScopeMissing
from ledger.privacy.access_log import accesses_after, record_access
from ledger.vendors.personal_values import is_personal_value
from service.api.requests.open_query import REASON_CHARACTERS_MAX, open_query
from service.console.admission import action, page
from service.console.pages import Page
from service.console.tables import PageColumn, PageTable
from service.console.visitors import VISITOR
from service.parameters import parse_int

LOOKS_PER_PAGE = 100
COLUMNS = (
    PageColumn("number", "Number", "number"),
    PageColumn("at", "When", "time"),
    PageColumn("key_id", "Key", "code"),
    PageColumn("label", "Label of the key"),
    PageColumn("object", "What was shown", "code"),
    PageColumn("reason", "Reason"),
)


async def ask_for_reason(request: web.Request) -> Page:
    """Return the form that asks for the reason of the look."""
    if not request[VISITOR].access.scopes & {"audit", "admin"}:
        raise ScopeMissing("audit")
    return Page("audit.html", "Audit", values={"why": None, "following": None})


async def show_looks(request: web.Request, fields: dict[str, str]) -> Page:
    """Return the recorded looks, oldest first, after this look was recorded with its reason."""
    why = fields.get("why", "").strip()[:REASON_CHARACTERS_MAX]
    if not why:
        raise RequestInvalid("the reason for this look is missing")
    if is_personal_value(why):
        raise RequestInvalid("the reason must not hold personal data, because it is stored in the clear: name a ticket")
    after = parse_int(fields.get("after") or None, "after", least=0, most=2**62) or 0
    visitor = request[VISITOR]
    reason = f"{why} (console, {visitor.name})" if visitor.name else f"{why} (console)"
    async with open_query(request, "read", "admin", "audit") as query:
        ledger_id = query.ledger.ledger_id
        if not after:  # further pages belong to the same look
            await record_access(query.connection, ledger_id, query.key_id, "console: audit", reason)
        looks = await accesses_after(query.connection, ledger_id, after, LOOKS_PER_PAGE + 1)
    shown = looks[:LOOKS_PER_PAGE]
    rows = [look._asdict() for look in shown]
    following = shown[-1].number if len(looks) > LOOKS_PER_PAGE else None
    table = PageTable("looks", "Looks at personal values and at the log", COLUMNS, rows, "Nobody has looked yet.")
    return Page("audit.html", "Audit", (table,), {"why": why, "following": following})


ROUTES = [
    page("/audit", ask_for_reason),
    action("/audit", show_looks, "audit"),
]
