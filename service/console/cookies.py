"""The cookie of a session, and the checks that tell a form of the console from a form of another site.

Browsers keep a cookie named `__Host-…` only over HTTPS, for one host and the whole path. Over plain HTTP the console is
served on the loopback interface alone, with a cookie of another name.
"""

from ipaddress import ip_address

from aiohttp import web

from service.api.requests.app_context import APP_CONTEXT
from service.console.sessions import SESSION_DURATION

SECURE_COOKIE = "__Host-loyalty"
LOOPBACK_COOKIE = "loyalty-loopback"  # without the prefix, which needs HTTPS
PATH = "/console"


def is_https(request: web.Request) -> bool:
    """Return True if the browser reached the service over HTTPS: directly, or through a proxy that announces it."""
    public_url = request.app[APP_CONTEXT].settings.public_url or ""
    return request.secure or public_url.startswith("https://") or request.headers.get("X-Forwarded-Proto") == "https"


def is_on_loopback(request: web.Request) -> bool:
    """Return True if the browser used a loopback address. A name that only resolves to one does not count."""
    name = request.url.host or ""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def cookie_name(request: web.Request) -> str:
    return SECURE_COOKIE if is_https(request) else LOOPBACK_COOKIE


def read_cookie(request: web.Request) -> str:
    """Return the session's cookie value, or "" if there is none."""
    return request.cookies.get(cookie_name(request), "")


def set_cookie(request: web.Request, response: web.StreamResponse, value: str) -> None:
    """Set the session's cookie, or remove it if the value is empty."""
    secure = is_https(request)
    age = int(SESSION_DURATION.total_seconds()) if value else 0
    path = "/" if secure else PATH
    response.set_cookie(
        cookie_name(request), value, max_age=age, path=path, secure=secure, httponly=True, samesite="Strict"
    )


def is_same_origin(request: web.Request) -> bool:
    """Return True if a page of this origin sent the request. Browsers without Sec-Fetch-Site send Origin."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    return request.headers.get("Origin", "").partition("://")[2] == request.host


def is_from_another_site(request: web.Request) -> bool:
    """Return True for a link on another site. Then the browser has kept back the session's cookie."""
    return request.method == "GET" and request.headers.get("Sec-Fetch-Site") == "cross-site"
