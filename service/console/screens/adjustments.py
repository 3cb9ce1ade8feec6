"""The screen that adjusts a balance: a form, a dry run to confirm, and the adjustment itself. Scope `admin`."""

import secrets
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from aiohttp import web

from ledger import clock
from ledger.errors import RequestInvalid, ScopeMissing
from ledger.store.read import tail
from ledger.vendors.fields import as_points
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import await_rows, open_query
from service.console.admission import action, page, see_other
from service.console.authors import parse_author, record_action
from service.console.confirmation import Action, Effects, changes_of, confirmation_page, is_confirmed
from service.console.formats import format_signed
from service.console.pages import Page, console_href
from service.console.visitors import VISITOR
from service.operations.adjust import Author, adjust, plan_adjustment, plan_reversal, reverse
from service.operations.preview import account_after, preview_operation
from service.queries.account_overview import load_account_to_show
from service.queries.accounts import account_json, find_account
from service.queries.as_of_query import AsOfQuery

ADJUSTMENTS_MAX = 100
ADJUSTMENTS = """
    SELECT adjustment, points, adopted, made_at, made_by, reversed_at, position FROM adjustments
     WHERE ledger_id = $1 AND account_id = $2 ORDER BY made_at DESC NULLS LAST, adjustment LIMIT $3
"""


class Wish(NamedTuple):
    """The adjustment that a form asks for. `points` None adopts the claim."""

    points: Decimal | None
    expires_on: date | None
    author: Author


async def show_form(request: web.Request) -> Page:
    """Return the form, with the claim that may be adopted and the adjustments that may be reversed."""
    if "admin" not in request[VISITOR].access.scopes:
        raise ScopeMissing("admin")
    async with open_query(request) as query:
        row = await find_account(query, request.match_info["id"])
        made = await query.connection.fetch(ADJUSTMENTS, query.ledger.ledger_id, row["account_id"], ADJUSTMENTS_MAX)
    values = {"account": row, "made": [dict(one) for one in made], "preview": None, "fields": {}}
    return Page("adjust.html", "Adjust the balance", values=values)


async def adjust_account(request: web.Request, fields: dict[str, str]) -> web.StreamResponse | Page:
    """Show the dry run of an adjustment, or make it if the form confirms the dry run."""
    wish = _parse(request, fields)
    context = request.app[APP_CONTEXT]
    async with open_query(request, "admin") as query:
        await await_rows(query, request, await tail(query.connection, query.ledger.ledger_id))
        row = await find_account(query, request.match_info["id"])
        account_id = row["account_id"]
        of = (query.connection, context.vault, query.ledger, account_id, wish.points, wish.author)
        name = fields.get("adjustment")
        before = account_json(await load_account_to_show(query, account_id, AsOfQuery(clock.now(), None, False)))
        planned, previewed = await preview_operation(
            query.connection, query.ledger.ledger_id, plan_adjustment(*of, adjustment=name, expires_on=wish.expires_on)
        )
        after = account_after(previewed, account_id) or before
        shown = before["available"], after["available"]
        is_repeated = planned.position is not None  # the form was sent twice
        if not is_repeated and fields.get("confirmed") != f"{shown[0]} {shown[1]}":
            changed = "confirmed" in fields
            preview = {"before": shown[0], "after": shown[1], "changed": changed, "drift": after["drift"]}
            values = {
                "account": row,
                "made": [],
                "preview": preview,
                "fields": {**fields, "adjustment": fields.get("adjustment") or secrets.token_hex(16)},
            }
            return Page("adjust.html", "Confirm the adjustment", values=values)
        await record_action(request, query, f"adjustment of {account_id}", wish.author.author)
        adjusted = await adjust(*of, adjustment=name, expires_on=wish.expires_on)
        context.progress.notify_appended()
    return see_other(console_href("accounts", account_id, min_position=adjusted.position))


async def reverse_adjustment(request: web.Request, fields: dict[str, str]) -> web.StreamResponse | Page:
    """Show the dry run of a reversal, or reverse the adjustment if the form confirms the dry run."""
    context = request.app[APP_CONTEXT]
    author = parse_author(request, fields)
    async with open_query(request, "admin") as query:
        await await_rows(query, request, await tail(query.connection, query.ledger.ledger_id))
        account_id = (await find_account(query, request.match_info["id"]))["account_id"]
        of = (query.connection, context.vault, query.ledger, account_id, fields.get("adjustment", ""), author)
        planned, preview = await preview_operation(query.connection, query.ledger.ledger_id, plan_reversal(*of))
        is_repeated = planned.position is not None  # the form was sent twice
        effects = Effects(
            (f"The adjustment is reversed: {format_signed(planned.points)} points.",), (), changes_of(preview)
        )
        if not is_repeated and not is_confirmed(fields, effects):
            address = console_href("accounts", account_id, "reversal")
            back = console_href("accounts", account_id, "adjust")
            shown = Action("Reverse the adjustment", "Reverse the adjustment", address, back)
            return confirmation_page(shown, effects, fields)
        await record_action(request, query, f"reversal of an adjustment of {account_id}", author.author)
        reversed_ = await reverse(*of)
        context.progress.notify_appended()
    return see_other(console_href("accounts", account_id, min_position=reversed_.position))


def _parse(request: web.Request, fields: Mapping[str, str]) -> Wish:
    """Parse the form. Raises RequestInvalid."""
    points: Decimal | None = None
    if fields.get("how") == "points":
        try:
            points = as_points(fields.get("points", ""))
        except ValueError as error:
            raise RequestInvalid(f"the points must be a number, such as -12.5: {error}") from None
        if not points:
            raise RequestInvalid("the points must not be 0")
    elif fields.get("how") != "adopt":
        raise RequestInvalid("choose whether to adopt the claim, or to add or take points")
    return Wish(points, _parse_day(fields.get("expires_on", ""), points), parse_author(request, fields))


def _parse_day(text: str, points: Decimal | None) -> date | None:
    if not text:
        return None
    if points is None or points < 0:
        raise RequestInvalid("a last day is allowed only if points are added")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RequestInvalid("the last day must be a day, such as 2026-12-31") from None


ROUTES: list[Any] = [
    page("/accounts/{id}/adjust", show_form),
    action("/accounts/{id}/adjust", adjust_account, "admin"),
    action("/accounts/{id}/reversal", reverse_adjustment, "admin"),
]
