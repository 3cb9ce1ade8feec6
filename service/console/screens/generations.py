"""The screen of generations: rebuild, promote, roll back, drop. Scope `operator`: a change affects all ledgers."""

from typing import Any

from aiohttp import web

from ledger.errors import RequestInvalid, ScopeMissing
from ledger.store.api_keys import OPERATOR
from projections.engine import generations, promotion
from projections.engine.generations import Generation
from service.api.generations import RebuildBody, begin_rebuild, wait_until_readers_see
from service.api.requests.app_context import APP_CONTEXT, AppContext
from service.api.requests.open_query import open_query
from service.console.admission import action, page, see_other
from service.console.authors import parse_author, parse_reason, record_action
from service.console.confirmation import Action, Effects, confirmation_page, is_confirmed
from service.console.headlines import Figure
from service.console.pages import Page, console_href
from service.console.tables import PageColumn, PageTable
from service.console.visitors import VISITOR
from service.parameters import parse_int
from service.queries.context import QueryContext
from service.queries.generations import generation_json_for_operator

ADDRESS = console_href("operations", "generations")
ACTIONS = ("rebuild", "promote", "rollback", "drop")
COLUMNS = (
    PageColumn("generation", "Generation", "number"),
    PageColumn("status", "Status", "state"),
    PageColumn("basis", "Made from"),
    PageColumn("created_at", "Begun", "time"),
    PageColumn("ready_at", "Ready", "time"),
    PageColumn("promoted_at", "Promoted", "time"),
    PageColumn("retired_at", "Retired", "time"),
    PageColumn("unexpected", "Unexpected differences", "number"),
    PageColumn("differing", "Tables that differ", "list"),
)


async def show_generations(request: web.Request) -> Page:
    """Return the generations, the progress of a rebuild, and the forms that change them."""
    if OPERATOR not in request[VISITOR].access.scopes:
        raise ScopeMissing(OPERATOR)
    context = request.app[APP_CONTEXT]
    async with open_query(request, OPERATOR) as query:
        listed = await generations.list_generations(query.connection)
        due = await generations.rebuild_due(query.connection)
        ledger = query.ledger.name
    table = PageTable(
        "generations", "Generations", COLUMNS, [_row(one, ledger) for one in listed], "There is no generation."
    )
    is_running = context.rebuild_task is not None and not context.rebuild_task.done()
    values = {
        "due": sorted(due),
        "ready": [one.generation for one in listed if one.state == "ready" and one.comparison is not None],
        "retired": [one.generation for one in listed if one.state == "retired"],
        "droppable": [one.generation for one in listed if one.state != "active"],
        "is_running": is_running or any(one.state == "filling" for one in listed),
        "progress": context.rebuild_progress if is_running else None,
        "failure": _failure(context),
    }
    return Page("generations.html", "Generations", (table,), values)


def _row(generation: Generation, ledger: str) -> dict[str, Any]:
    row = generation_json_for_operator(generation, ledger)
    compared = row["comparison"] or {}
    return {**row, "differing": compared.get("differing"), "unexpected": compared.get("unexpected")}


def _failure(context: AppContext) -> str | None:
    """Return the error that ended the last rebuild of this process."""
    task = context.rebuild_task
    if task is None or not task.done() or task.cancelled():
        return None
    error = task.result()
    return None if error is None else str(error)


async def change_generations(request: web.Request, fields: dict[str, str]) -> web.StreamResponse | Page:
    """Show the effects of an action, or do it if the form confirms them."""
    what = fields.get("do", "")
    if what not in ACTIONS:
        raise RequestInvalid(f"choose one of {', '.join(ACTIONS)}")
    author = parse_author(request, fields)
    reason = parse_reason(fields)
    number = parse_int(fields.get("generation") or None, "generation", least=1, most=10**9)
    async with open_query(request, OPERATOR) as query:
        effects, title = await _effects(query, what, number)
        if not is_confirmed(fields, effects):
            return confirmation_page(Action(title, title, ADDRESS, ADDRESS), effects, fields)
        subject = f"generation {number}" if number else "the generations"
        await record_action(request, query, f"{what} of {subject}", author.author, reason=reason)
        await _act(request.app[APP_CONTEXT], query, what, number)
    return see_other(ADDRESS)


async def _effects(query: QueryContext, what: str, number: int | None) -> tuple[Effects, str]:
    """Return the effects of an action, and its title. Raises RequestInvalid and GenerationUnknown."""
    listed = await generations.list_generations(query.connection)
    active = next(one for one in listed if one.state == "active")
    all_ledgers = "This affects all ledgers of the database."
    if what == "rebuild":
        text = "All rows are derived again from the events into a new generation. Readers see the active one meanwhile."
        return Effects((f"{text} {all_ledgers}",)), "Rebuild from the ledger"
    if what == "rollback":
        previous = max((one for one in listed if one.state == "retired"), key=lambda one: one.generation, default=None)
        if previous is None:
            raise RequestInvalid("no earlier generation is kept, so there is nothing to roll back to")
        text = f"An earlier generation becomes active again in place of generation {active.generation}."
        return Effects((f"{text} {all_ledgers}",)), "Roll back the promotion"
    if number is None:
        raise RequestInvalid("choose a generation")
    chosen = await generations.find_generation(query.connection, number)
    if what == "drop":
        if chosen.state == "active":
            raise RequestInvalid("the active generation cannot be dropped")
        text = f"Generation {number} ({chosen.state}) is removed with all its rows. No event is lost."
        return Effects((f"{text} {all_ledgers}",)), f"Drop generation {number}"
    if chosen.comparison is None:
        raise RequestInvalid("the generation was not compared with the active one yet: wait until the rebuild ends")
    row = _row(chosen, query.ledger.name)
    figures = [
        Figure("Unexpected differences", row["unexpected"], "number"),
        Figure("Tables that differ", ", ".join(row["differing"] or ()) or "none"),
    ]
    text = f"Generation {number} becomes active in place of generation {active.generation}, which is kept."
    return Effects((f"{text} {all_ledgers}",), figures), f"Promote generation {number}"


async def _act(context: AppContext, query: QueryContext, what: str, number: int | None) -> None:
    if what == "rebuild":
        await begin_rebuild(context, query.connection, RebuildBody())
    elif what == "rollback":
        await wait_until_readers_see(context, await promotion.roll_back(context.dsn))
    elif what == "drop":
        assert number is not None
        await promotion.drop_generation(query.connection, number)
    else:
        assert number is not None
        await wait_until_readers_see(context, await promotion.promote(context.dsn, number, force=False))


ROUTES = [
    page("/operations/generations", show_generations),
    action("/operations/generations", change_generations, OPERATOR),
]
