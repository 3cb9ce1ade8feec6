"""The screen that erases a customer's personal data, or undoes a merge. Scope `admin`."""

from aiohttp import web

from ledger.errors import ScopeMissing
from ledger.store.read import tail
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import await_rows, open_query
from service.console.admission import action, page, see_other
from service.console.authors import parse_author, parse_reason, record_action, signature
from service.console.confirmation import Action, Effects, changes_of, confirmation_page, is_confirmed
from service.console.headlines import Figure
from service.console.pages import Page, console_href
from service.console.visitors import VISITOR
from service.operations.erase import erase, is_known, plan_erasure
from service.operations.preview import preview_operation
from service.operations.unmerge import plan_unmerge, unmerge
from service.queries.context import QueryContext
from service.queries.references import expand_reference, require_single

MERGED_INTO = "SELECT merged_into FROM customers WHERE ledger_id = $1 AND subject = $2"


async def show_forms(request: web.Request) -> Page:
    """Return the forms that erase a customer or undo a merge."""
    if "admin" not in request[VISITOR].access.scopes:
        raise ScopeMissing("admin")
    async with open_query(request, "admin") as query:
        customer = await find_customer(query, request.match_info["id"])
        row = await query.connection.fetchrow(MERGED_INTO, query.ledger.ledger_id, customer)
    survivor = None if row is None else row["merged_into"]
    return Page("customer_changes.html", "Erase or unmerge", values={"customer": customer, "survivor": survivor})


async def find_customer(query: QueryContext, name: str) -> str:
    """Return the reference of a customer that the ledger knows anything of. Raises SubjectUnknown."""
    known = [one for one in await expand_reference(query, name) if await is_known(query.connection, query.ledger, one)]
    return require_single(known, name)


async def erase_customer(request: web.Request, fields: dict[str, str]) -> web.StreamResponse | Page:
    """Show the effects of an erasure, or erase if the form confirms them."""
    author = parse_author(request, fields)
    reason = parse_reason(fields)
    context = request.app[APP_CONTEXT]
    async with open_query(request, "admin") as query:
        customer = await find_customer(query, request.match_info["id"])
        of = (query.connection, context.vault, query.ledger, customer)
        by = signature(author)
        planned = (await plan_erasure(*of, by=by, reason=reason)).result
        sentences = ["The keys of the personal values are destroyed, so no copy can be decrypted. Balances stay."]
        if len(planned.customers) > 1:
            sentences.append(f"Merged customers are one person, so all are erased: {', '.join(planned.customers)}.")
        sentences.append("This cannot be undone." if planned.destroyed else "There is nothing left to erase.")
        effects = Effects(sentences, (Figure("Customers with personal values", planned.destroyed, "number"),))
        back = console_href("customers", customer)
        if not is_confirmed(fields, effects):
            address = console_href("customers", customer, "erasure")
            shown = Action(f"Erase {customer}", "Erase for ever", address, back)
            return confirmation_page(shown, effects, fields)
        await record_action(request, query, f"erasure of {customer}", author.author, reason=reason)
        erased = await erase(*of, by=by, reason=reason)
        context.progress.notify_appended()
    return see_other(console_href("customers", customer, min_position=erased.position))


async def unmerge_customer(request: web.Request, fields: dict[str, str]) -> web.StreamResponse | Page:
    """Show the effects of undoing a merge, or undo it if the form confirms them."""
    author = parse_author(request, fields)
    context = request.app[APP_CONTEXT]
    async with open_query(request, "admin") as query:
        await await_rows(query, request, await tail(query.connection, query.ledger.ledger_id))
        customer = await find_customer(query, request.match_info["id"])
        of = (query.connection, context.vault, query.ledger, customer, author)
        planned, preview = await preview_operation(query.connection, query.ledger.ledger_id, plan_unmerge(*of))
        effects = Effects(
            (f"The merge of {customer} into {planned.survivor} is undone. The rest of its points returns to it.",),
            (Figure("Accounts that change", preview.accounts_changed, "number"),),
            changes_of(preview),
        )
        back = console_href("customers", customer)
        if not is_confirmed(fields, effects):
            address = console_href("customers", customer, "unmerge")
            shown = Action(f"Undo the merge of {customer}", "Undo the merge", address, back)
            return confirmation_page(shown, effects, fields)
        await record_action(request, query, f"unmerge of {customer}", author.author)
        undone = await unmerge(*of)
        context.progress.notify_appended()
    return see_other(console_href("customers", customer, min_position=undone.position))


ROUTES = [
    page("/customers/{id}/changes", show_forms),
    action("/customers/{id}/erasure", erase_customer, "admin"),
    action("/customers/{id}/unmerge", unmerge_customer, "admin"),
]
