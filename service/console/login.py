"""Sign in with an API key or a one-time link, and sign out."""

from aiohttp import web

from ledger.errors import BadCredentials, RequestInvalid
from service.api.requests.app_context import APP_CONTEXT
from service.console.admission import read_form, see_other
from service.console.cookies import PATH, is_https, is_on_loopback, set_cookie
from service.console.pages import Page, render
from service.console.visitors import SESSIONS

BEFORE_LOGIN = "login"  # form tokens before the login are bound to this word
NEEDS_HTTPS = "The console needs HTTPS. Over plain HTTP it works only on the machine of the service."
WRONG_KEY = "This key opens no ledger. It may have been revoked."
WRONG_LINK = "This link was used already, or is older than ten minutes. Sign in with an API key."


async def show_login(request: web.Request) -> web.Response:
    """Return the form that takes an API key, or the button of a one-time link."""
    return _login_page(request, once=request.query.get("once", ""), after=request.query.get("next", ""))


async def sign_in(request: web.Request) -> web.Response:
    """Check the key, and open a session."""
    if not _may_sign_in(request):
        raise RequestInvalid(NEEDS_HTTPS)
    fields = await read_form(request, BEFORE_LOGIN)
    sessions = request.app[SESSIONS]
    after, once = fields.get("next", ""), fields.get("once", "")
    try:
        key = sessions.use_one_time_token(once) if once else fields.get("key", "").strip()
        await request.app[APP_CONTEXT].find_key(key)
    except BadCredentials:
        return _login_page(request, after=after, problem=WRONG_LINK if once else WRONG_KEY, status=401)
    response = see_other(after if _is_ours(after) else PATH)
    set_cookie(request, response, sessions.open(key))
    return response


async def sign_out(request: web.Request, _fields: dict[str, str]) -> web.Response:
    """End the session in this browser."""
    response = see_other(f"{PATH}/login")
    set_cookie(request, response, "")
    return response


def _login_page(
    request: web.Request, *, once: str = "", after: str = "", problem: str = "", status: int = 200
) -> web.Response:
    if not _may_sign_in(request):
        problem = NEEDS_HTTPS
    values = {
        "once": once,
        "after": after if _is_ours(after) else "",
        "problem": problem,
        "may_sign_in": _may_sign_in(request),
    }
    text = render(request, Page("login.html", "Sign in", values=values))
    return web.Response(text=text, content_type="text/html", status=status)


def _may_sign_in(request: web.Request) -> bool:
    return is_https(request) or is_on_loopback(request)


def _is_ours(address: str) -> bool:
    """Return True for an address of the console, so that a login leads to no other site."""
    return address == PATH or (address.startswith(f"{PATH}/") and "\\" not in address and "//" not in address)
