"""The screen of one connection: its last arrivals, and the rotation of its secret. Scope `admin`."""

from typing import Any

from aiohttp import web

from ledger.errors import ConnectionUnknown, RequestInvalid, ScopeMissing
from ledger.store import registry
from ledger.store.registry import InboundConnection
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import open_query
from service.console.admission import action, page, see_other
from service.console.authors import parse_author, parse_reason, record_action
from service.console.confirmation import Action, Effects, confirmation_page, is_confirmed
from service.console.headlines import Figure
from service.console.pages import Page, console_href
from service.console.tables import PageColumn, PageTable
from service.console.visitors import VISITOR
from service.queries.connection_activity import read_activity
from service.queries.context import QueryContext

KIND_COLUMNS = (
    PageColumn("kind", "Kind", "code"),
    PageColumn("last_at", "Last arrival", "time"),
)
EFFECTS = {
    "rotate": "A further secret becomes valid, and is shown once. Earlier secrets stay valid until they are dropped.",
    "settle": "Only the newest secret stays valid. Deliveries with an earlier secret are refused.",
    "disable": "No further delivery is accepted over this connection. Its stored events stay.",
    "enable": "Deliveries are accepted again, with the same secrets.",
}
TITLES = {
    "rotate": "Rotate the secret",
    "settle": "Drop the earlier secrets",
    "disable": "Disable the connection",
    "enable": "Enable the connection",
}


async def show_connection(request: web.Request) -> Page:
    """Return one connection, its last arrivals, and its forms."""
    return await _connection_page(request, None)


async def _connection_page(request: web.Request, secret: str | None) -> Page:
    if "admin" not in request[VISITOR].access.scopes:
        raise ScopeMissing("admin")
    async with open_query(request, "admin") as query:
        inbound = await _find(request, query)
        activity = await read_activity(query)
    rows = [one._asdict() for one in activity if one.connection_id == inbound.connection_id]
    table = PageTable("kinds", "Last arrival of each kind", KIND_COLUMNS, rows, "No event has arrived over it yet.")
    values = {"inbound": inbound, "secret": secret, "titles": TITLES, "about": EFFECTS}
    return Page("connection.html", f"Connection of {inbound.source}", (table,), values)


async def _find(request: web.Request, query: QueryContext) -> InboundConnection:
    """Return the connection of the address. Raises ConnectionUnknown, also for one of another ledger."""
    context = request.app[APP_CONTEXT]
    name = request.match_info["connection"]
    listed = await registry.list_connections(query.connection, context.master_key, query.ledger)
    found = next((one for one in listed if one.connection_id == name), None)
    if found is None:
        raise ConnectionUnknown(name)
    return found


async def change_connection(request: web.Request, fields: dict[str, str]) -> web.StreamResponse | Page:
    """Show the effects of a change, or make it if the form confirms them."""
    what = fields.get("do", "")
    if what not in EFFECTS:
        raise RequestInvalid(f"choose one of {', '.join(EFFECTS)}")
    author = parse_author(request, fields)
    reason = parse_reason(fields)
    secret: str | None = None
    async with open_query(request, "admin") as query:
        inbound = await _find(request, query)
        address = console_href("operations", "connections", inbound.connection_id)
        effects = Effects(
            (EFFECTS[what],),
            (
                Figure("Source", inbound.source),
                Figure("Valid secrets now", len(inbound.secrets), "number"),
                Figure("State", "disabled" if inbound.disabled_at else "enabled"),
            ),
        )
        if not is_confirmed(fields, effects):
            return confirmation_page(Action(TITLES[what], TITLES[what], address, address), effects, fields)
        await record_action(
            request, query, f"{what} of connection {inbound.connection_id}", author.author, reason=reason
        )
        secret = await _change(request, query, what, inbound, fields.get("secret") or None)
    if secret is None:
        return see_other(address)
    return await _connection_page(request, secret)


async def _change(
    request: web.Request, query: QueryContext, what: str, inbound: InboundConnection, given: str | None
) -> str | None:
    """Make a change. Return the new secret of a rotation."""
    master_key: Any = request.app[APP_CONTEXT].master_key
    if what == "rotate":
        return await registry.add_secret(query.connection, master_key, inbound, given)
    if what == "settle":
        await registry.drop_old_secrets(query.connection, master_key, inbound)
    elif what == "disable":
        await registry.disable_connection(query.connection, master_key, query.ledger, inbound.connection_id)
    else:
        await registry.enable_connection(query.connection, master_key, inbound.connection_id)
    return None


ROUTES = [
    page("/operations/connections/{connection}", show_connection),
    action("/operations/connections/{connection}", change_connection, "admin"),
]
