"""The screens of outgoing webhooks: the endpoints of a ledger, and one endpoint with its attempts. Scope `admin`."""

from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid, ScopeMissing
from service.api.requests.app_context import APP_CONTEXT, AppContext
from service.api.requests.open_query import open_query
from service.console.admission import action, page, see_other
from service.console.authors import parse_author, parse_reason, record_action
from service.console.confirmation import Action, Effects, confirmation_page, is_confirmed
from service.console.headlines import Figure
from service.console.pages import Page, console_href
from service.console.tables import PageColumn, PageTable
from service.console.visitors import VISITOR
from service.outgoing import administration, delivery_state, endpoints
from service.outgoing.endpoints import Endpoint
from service.queries.context import QueryContext

ATTEMPTS_SHOWN = 50
ADDRESS = console_href("operations", "endpoints")
COLUMNS = (
    PageColumn("url", "Address", "code", lambda row: console_href("operations", "endpoints", row["endpoint_id"])),
    PageColumn("label", "Label"),
    PageColumn("status", "Status", "state"),
    PageColumn("events_behind", "Events behind", "number"),
    PageColumn("failures", "Failures in a row", "number"),
    PageColumn("failing_since", "Failing since", "time"),
    PageColumn("retry_at", "Next try", "time"),
    PageColumn("disabled_at", "Disabled", "time"),
)
ATTEMPT_COLUMNS = (
    PageColumn("at", "When", "time"),
    PageColumn("message_id", "Message", "short"),
    PageColumn("outcome", "Outcome", "state"),
    PageColumn("status", "Status", "number"),
    PageColumn("milliseconds", "Milliseconds", "number"),
    PageColumn("detail", "Detail", "prose"),
)
EFFECTS = {
    "rotate": "A further secret signs each request, and is shown once. The previous one signs too until it is dropped.",
    "settle": "Requests are signed by the newest secret only.",
    "disable": "Nothing is sent until the endpoint is enabled again. Its position stays.",
    "enable": "Messages are sent again, from the position on. Earlier failures are forgotten.",
    "test": "A test message is sent now, also to a disabled endpoint. The position stays.",
}
TITLES = {
    "rotate": "Rotate the secret",
    "settle": "Drop the earlier secret",
    "disable": "Disable the endpoint",
    "enable": "Enable the endpoint",
    "test": "Send a test",
}


async def show_endpoints(request: web.Request) -> Page:
    """Return the endpoints of the ledger with their states."""
    if "admin" not in request[VISITOR].access.scopes:
        raise ScopeMissing("admin")
    async with open_query(request, "admin") as query:
        listed = await endpoints.list_endpoints(query.connection, _context(request).master_key, query.ledger)
        rows = await administration.describe(query.connection, listed)
    empty = "No endpoint receives the events of this ledger. `loyalty endpoint create` makes one."
    return Page("endpoints.html", "Outgoing endpoints", (PageTable("endpoints", "Endpoints", COLUMNS, rows, empty),))


async def show_endpoint(request: web.Request) -> Page:
    """Return one endpoint with its latest attempts, and its forms."""
    return await _endpoint_page(request)


async def _endpoint_page(request: web.Request, **more: Any) -> Page:
    if "admin" not in request[VISITOR].access.scopes:
        raise ScopeMissing("admin")
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
        [described] = await administration.describe(query.connection, [endpoint])
        rows = await delivery_state.list_attempts(query.connection, endpoint, before=None, limit=ATTEMPTS_SHOWN)
    table = PageTable("attempts", "Latest attempts", ATTEMPT_COLUMNS, rows, "Nothing was sent yet.")
    values = {"endpoint": described, "titles": TITLES, "about": EFFECTS, "secret": None, "tested": None, **more}
    return Page("endpoint.html", f"Endpoint {endpoint.label or endpoint.endpoint_id[:8]}", (table,), values)


async def change_endpoint(request: web.Request, fields: dict[str, str]) -> web.StreamResponse | Page:
    """Show the effects of a change, or make it if the form confirms them."""
    what = fields.get("do", "")
    if what not in EFFECTS:
        raise RequestInvalid(f"choose one of {', '.join(EFFECTS)}")
    parse_author(request, fields)
    reason = parse_reason(fields)
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query)
        address = console_href("operations", "endpoints", endpoint.endpoint_id)
        effects = Effects((EFFECTS[what],), (Figure("Address", endpoint.url, "code"),))
        if not is_confirmed(fields, effects):
            return confirmation_page(Action(TITLES[what], TITLES[what], address, address), effects, fields)
        await record_action(request, query, f"{what} of endpoint {endpoint.endpoint_id}", reason=reason)
        secret = await _change(request, query, what, endpoint)
    if what == "test":
        return await _endpoint_page(request, tested=await _test(request, endpoint))
    if secret is not None:
        return await _endpoint_page(request, secret=secret)
    return see_other(address)


async def _change(request: web.Request, query: QueryContext, what: str, endpoint: Endpoint) -> str | None:
    """Make a change. Return the new secret of a rotation. A test changes nothing."""
    master_key = _context(request).master_key
    if what == "rotate":
        return await endpoints.rotate_secret(query.connection, master_key, endpoint)
    if what == "settle":
        await endpoints.settle_secret(query.connection, master_key, endpoint)
    elif what == "disable":
        await endpoints.disable_endpoint(query.connection, master_key, endpoint)
    elif what == "enable":
        await endpoints.enable_endpoint(query.connection, master_key, endpoint)
    return None


async def _test(request: web.Request, endpoint: Endpoint) -> dict[str, Any]:
    """Send a test while no connection is held, because the receiver may be slow. Return its result."""
    attempt = await administration.post_test(endpoint, _context(request).settings.allowed_destinations())
    async with open_query(request, "admin") as query:
        await delivery_state.log_test(query.connection, endpoint, attempt)
    return administration.attempt_json(attempt)


async def _find(request: web.Request, query: QueryContext) -> Endpoint:
    """Return the endpoint of the address. Raises EndpointUnknown, also for one of another ledger."""
    name = request.match_info["endpoint"]
    return await endpoints.find_endpoint_of(query.connection, _context(request).master_key, query.ledger, name)


def _context(request: web.Request) -> AppContext:
    return request.app[APP_CONTEXT]


ROUTES = [
    page("/operations/endpoints", show_endpoints),
    page("/operations/endpoints/{endpoint}", show_endpoint),
    action("/operations/endpoints/{endpoint}", change_endpoint, "admin"),
]
