"""The visitor behind a request of the console: the API key of the session, and the person's name.

The key is checked as the API checks it, on every request. So a revoked key ends its sessions.
"""

from ipaddress import ip_address
from typing import NamedTuple

from aiohttp import web

from ledger.errors import BadCredentials
from ledger.store.api_keys import ApiAccess
from service.api.requests.admission import ACCESS
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import CALLED_BY
from service.console.cookies import read_cookie
from service.console.sessions import SessionKeeper

NAME_CHARACTERS_MAX = 200
SESSIONS = web.AppKey("sessions", SessionKeeper)


class Visitor(NamedTuple):
    """The caller of a page."""

    access: ApiAccess
    cookie: str  # of the session; form tokens are bound to it. "" if the key came with the request
    name: str  # of the person, from the proxy's header; "" if it is not known

    @property
    def signature(self) -> str:
        """The name for records: the person and the key, or the key alone."""
        return f"{self.name} (key {self.access.key_id})" if self.name else f"key {self.access.key_id}"

    @property
    def called_by(self) -> str:
        """The words about the person that end the reason of each recorded look and action."""
        return f"(console, {self.name})" if self.name else "(console)"


VISITOR = web.RequestKey("visitor", Visitor)


async def admit_visitor(request: web.Request) -> Visitor:
    """Return the visitor of a request, and admit the request to queries. Raises BadCredentials.

    A request may carry its key in `Authorization` instead of a session, so that scripts can read tables.
    """
    context = request.app[APP_CONTEXT]
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    cookie = "" if scheme.lower() == "bearer" else read_cookie(request)
    if not cookie and scheme.lower() != "bearer":
        raise BadCredentials
    key = request.app[SESSIONS].read(cookie).key if cookie else given.strip()
    access = await context.find_key(key)
    context.memory_limit.check()
    request[ACCESS] = access
    visitor = Visitor(access, cookie, person_name(request))
    request[VISITOR] = visitor
    request[CALLED_BY] = visitor.called_by
    return visitor


def person_name(request: web.Request) -> str:
    """Return the name that a proxy states in the configured header. Only proxies of LOYALTY_PROXIES are believed."""
    settings = request.app[APP_CONTEXT].settings
    if settings.console_user_header is None or request.transport is None:
        return ""
    peer = request.transport.get_extra_info("peername")
    try:
        address = ip_address(peer[0])
    except (TypeError, ValueError):
        return ""
    if not any(address in network for network in settings.proxy_networks()):
        return ""
    name = request.headers.get(settings.console_user_header, "")
    return "".join(letter for letter in name if letter.isprintable()).strip()[:NAME_CHARACTERS_MAX]


def form_token(request: web.Request) -> str:
    """Return the token for a form on this page."""
    visitor = request.get(VISITOR)
    return request.app[SESSIONS].form_token(visitor.cookie if visitor else "login")
