"""The console as an application below /console: its pages, their admission, and their headers."""

from aiohttp import web

from ledger.privacy.encryption import MasterKey
from service.console import login
from service.console.admission import KEYLESS, action, add_headers, admit, show_errors
from service.console.assets import get_asset
from service.console.screens import (
    account_shares,
    accounts,
    adjustments,
    audit,
    breakage,
    bundles,
    connections,
    customer_changes,
    customer_statements,
    customers,
    endpoints,
    events,
    explanations,
    finance,
    generations,
    home,
    lapses,
    lists,
    losses,
    operations,
    periods,
    reconciliation,
    tree_heads,
)
from service.console.sessions import SessionKeeper
from service.console.visitors import SESSIONS

FORM_BYTES_MAX = 64 * 1024


def make_console(master_key: MasterKey) -> web.Application:
    """Return the application of the console. The caller sets APP_CONTEXT."""
    console = web.Application(middlewares=[show_errors, admit], client_max_size=FORM_BYTES_MAX)
    console[SESSIONS] = SessionKeeper(master_key)
    console[KEYLESS] = {login.show_login, login.sign_in, get_asset}
    console.router.add_routes(
        [
            web.get("/login", login.show_login),
            web.post("/login", login.sign_in),
            action("/logout", login.sign_out),
            web.get("/static/{asset}", get_asset),
            *home.ROUTES,
            *customers.ROUTES,
            *customer_changes.ROUTES,
            *lists.ROUTES,
            *lapses.ROUTES,
            *accounts.ROUTES,
            *customer_statements.ROUTES,
            *losses.ROUTES,
            *explanations.ROUTES,
            *events.ROUTES,
            *adjustments.ROUTES,
            *reconciliation.ROUTES,
            *finance.ROUTES,
            *breakage.ROUTES,
            *periods.ROUTES,
            *account_shares.ROUTES,
            *operations.ROUTES,
            *generations.ROUTES,
            *tree_heads.ROUTES,
            *connections.ROUTES,
            *endpoints.ROUTES,
            *audit.ROUTES,
            *bundles.ROUTES,
        ]
    )
    console.on_response_prepare.append(add_headers)
    return console
