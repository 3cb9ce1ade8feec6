"""The screens of outgoing webhooks: the endpoints of a ledger, and one endpoint with its attempts. Scope `admin`.

Each change shows its effects first. A secret is shown once, on the page that answers its form.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid, ScopeMissing
from ledger.store.read import tail
from service.api.requests.app_context import APP_CONTEXT, AppContext
from service.api.requests.open_query import open_query
from service.console.admission import action, page, see_other
from service.console.authors import parse_author, parse_reason, record_action
from service.console.confirmation import Action, Effects, confirmation_page, is_confirmed
from service.console.endpoint_forms import TYPES, option_changes, parse_endpoint_form, parse_start
from service.console.headlines import Figure
from service.console.pages import Page, console_href
from service.console.tables import PageColumn, PageTable
from service.console.visitors import VISITOR
from service.outgoing import administration, delivery_state, endpoints
from service.outgoing.endpoint_options import EndpointOptions
from service.outgoing.endpoints import Endpoint
from service.parameters import parse_int
from service.queries.context import QueryContext

ATTEMPTS_PER_PAGE = 50
ATTEMPTS_PER_FILE = 1_000
NEW = {"url": "", **EndpointOptions()._asdict()}  # values of an empty form
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
    PageColumn("attempt", "Attempt", "number"),
    PageColumn("at", "When", "time"),
    PageColumn("events", "Messages", "number"),
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
    "replay": "Everything after the position or the time is sent again, with the same message ids.",
    "edit": "The address or the options change. The position and the secrets stay.",
    "delete": "The endpoint is removed with its position and its log. This cannot be undone.",
}
TITLES = {
    "rotate": "Rotate the secret",
    "settle": "Drop the earlier secret",
    "disable": "Disable the endpoint",
    "enable": "Enable the endpoint",
    "test": "Send a test",
    "replay": "Send again",
    "edit": "Change the endpoint",
    "delete": "Remove the endpoint",
}


async def show_endpoints(request: web.Request) -> Page:
    """Return the endpoints of the ledger with their states, and the form of a new one."""
    if "admin" not in request[VISITOR].access.scopes:
        raise ScopeMissing("admin")
    async with open_query(request, "admin") as query:
        listed = await endpoints.list_endpoints(query.connection, _context(request).master_key, query.ledger)
        rows = await administration.describe(query.connection, listed)
    empty = "No endpoint receives the messages of this ledger yet."
    table = PageTable("endpoints", "Endpoints", COLUMNS, rows, empty)
    return Page("endpoints.html", "Outgoing endpoints", (table,), {"types": TYPES, "endpoint": NEW})


async def create_endpoint(request: web.Request, fields: dict[str, str]) -> Page:
    """Show the dry run of a new endpoint, or create it if the form confirms it. Its secret is shown once."""
    author, reason, form = parse_author(request, fields), parse_reason(fields), parse_endpoint_form(fields)
    destinations = _context(request).settings.allowed_destinations()
    endpoints.check_endpoint(form.url, form.options, destinations)
    async with open_query(request, "admin") as query:
        connection, ledger, master_key = query.connection, query.ledger, _context(request).master_key
        begin = await administration.start_position(connection, ledger, after=form.after, since=form.since)
        number = len(await endpoints.list_endpoints(connection, master_key, ledger))
        start = "It gets what is recorded from now on." if begin is None else f"It gets what follows event #{begin}."
        effects = Effects(
            (f"A new endpoint is created. {start}",),
            (Figure("Endpoints now", number, "number"),),
            list(option_changes(None, form.url, form.options)),
        )
        if not is_confirmed(fields, effects):
            return confirmation_page(
                Action("Create an endpoint", "Create the endpoint", ADDRESS, ADDRESS), effects, fields
            )
        await record_action(request, query, "creation of an endpoint", author.author, reason=reason)
        made = await administration.create(
            connection, master_key, ledger, form.url, form.options, destinations=destinations, after=begin, since=None
        )
    return await _endpoint_page(request, made.endpoint_id, secret=made.newest_secret)


async def show_endpoint(request: web.Request) -> Page:
    """Return one endpoint with its latest attempts, and its forms."""
    return await _endpoint_page(request, request.match_info["endpoint"])


async def _endpoint_page(request: web.Request, endpoint_id: str, **more: Any) -> Page:
    if "admin" not in request[VISITOR].access.scopes:
        raise ScopeMissing("admin")
    before = parse_int(request.query.get("before") or None, "before", least=0, most=2**53)
    limit = ATTEMPTS_PER_FILE if "format" in request.query else ATTEMPTS_PER_PAGE
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query, endpoint_id)
        [described] = await administration.describe(query.connection, [endpoint])
        rows = await delivery_state.list_attempts(query.connection, endpoint, before=before, limit=limit + 1)
    shown = rows[:limit]
    older = str(shown[-1]["attempt"]) if len(rows) > limit else None
    table = PageTable(
        "attempts", "Attempts, newest first", ATTEMPT_COLUMNS, shown, "Nothing was sent yet.", older,
        cursor_name="before",
    )  # fmt: skip
    values = {
        "endpoint": described,
        "types": TYPES,
        "titles": TITLES,
        "about": EFFECTS,
        "secret": None,
        "tested": None,
        "older": older,
        "address": console_href("operations", "endpoints", endpoint_id),
        **more,
    }
    return Page("endpoint.html", f"Endpoint {endpoint.label or endpoint.endpoint_id[:11]}", (table,), values)


async def change_endpoint(request: web.Request, fields: dict[str, str]) -> web.StreamResponse | Page:
    """Show the effects of a change, or make it if the form confirms them."""
    what = fields.get("do", "")
    if what not in EFFECTS:
        raise RequestInvalid(f"choose one of {', '.join(EFFECTS)}")
    author = parse_author(request, fields)
    reason = parse_reason(fields)
    async with open_query(request, "admin") as query:
        endpoint = await _find(request, query, request.match_info["endpoint"])
        address = console_href("operations", "endpoints", endpoint.endpoint_id)
        effects = await _effects(request, query, what, endpoint, fields)
        if not is_confirmed(fields, effects):
            return confirmation_page(Action(TITLES[what], TITLES[what], address, address), effects, fields)
        await record_action(request, query, f"{what} of endpoint {endpoint.endpoint_id}", author.author, reason=reason)
        secret = await _change(request, query, what, endpoint, fields)
    if what == "test":
        return await _endpoint_page(request, endpoint.endpoint_id, tested=await _test(request, endpoint))
    if secret is not None:
        return await _endpoint_page(request, endpoint.endpoint_id, secret=secret)
    return see_other(ADDRESS if what == "delete" else address)


async def _effects(
    request: web.Request, query: QueryContext, what: str, endpoint: Endpoint, fields: Mapping[str, str]
) -> Effects:
    """Return the effects of a change, after its checks. Raises RequestInvalid."""
    figures = [Figure("Address", endpoint.url, "code"), Figure("Valid secrets now", len(endpoint.secrets), "number")]
    if what == "edit":
        form = parse_endpoint_form(fields)
        endpoints.check_endpoint(form.url, form.options, _context(request).settings.allowed_destinations())
        endpoints.check_same_place(endpoint, form.url)
        changes = list(option_changes(endpoint._asdict(), form.url, form.options))
        return Effects((EFFECTS[what] if changes else "Nothing changes.",), figures[:1], changes)
    if what == "replay":
        position = await _replay_start(query, endpoint, fields)
        last = await tail(query.connection, query.ledger.ledger_id)
        text = f"{EFFECTS[what]} That is what follows event #{position}: {last - position:,} events."
        return Effects((text,), figures[:1])
    return Effects((EFFECTS[what],), figures if what in ("rotate", "settle") else figures[:1])


async def _replay_start(query: QueryContext, endpoint: Endpoint, fields: Mapping[str, str]) -> int:
    after, since = parse_start(fields)
    position = await administration.start_position(query.connection, endpoint.ledger, after=after, since=since)
    if position is None:
        raise RequestInvalid("state a position or a time: from there on everything is sent again")
    return position


async def _change(
    request: web.Request, query: QueryContext, what: str, endpoint: Endpoint, fields: Mapping[str, str]
) -> str | None:
    """Make a change. Return the new secret of a rotation. A test changes nothing."""
    master_key = _context(request).master_key
    if what == "edit":
        form = parse_endpoint_form(fields)
        destinations = _context(request).settings.allowed_destinations()
        await endpoints.change_options(
            query.connection, master_key, endpoint, form.url, form.options, destinations=destinations
        )
    elif what == "replay":
        position = await _replay_start(query, endpoint, fields)
        await administration.replay(query.connection, endpoint, after=position, since=None)
    elif what == "delete":
        await endpoints.delete_endpoint(query.connection, endpoint)
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


async def _find(request: web.Request, query: QueryContext, name: str) -> Endpoint:
    """Return an endpoint by its id. Raises EndpointUnknown, also for one of another ledger."""
    return await endpoints.find_endpoint_of(query.connection, _context(request).master_key, query.ledger, name)


def _context(request: web.Request) -> AppContext:
    return request.app[APP_CONTEXT]


ROUTES = [
    page("/operations/endpoints", show_endpoints),
    action("/operations/endpoints", create_endpoint, "admin"),
    page("/operations/endpoints/{endpoint}", show_endpoint, "before"),
    action("/operations/endpoints/{endpoint}", change_endpoint, "admin"),
]
