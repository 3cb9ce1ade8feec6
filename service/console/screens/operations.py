"""The operations screen: lag, generations, parked subjects, connections, and tree heads."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from aiohttp import web

from ledger import clock
from ledger.store.read import tail
from ledger.transparency import tree_heads
from projections.engine import generations, retry
from service.api.health import PROGRESS
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.open_query import open_query
from service.console.admission import action, page, see_other
from service.console.authors import parse_name, parse_reason, record_action
from service.console.confirmation import Action, Effects, confirmation_page, is_confirmed
from service.console.links import link_of
from service.console.pages import Page, console_href
from service.console.tables import PageColumn, PageTable
from service.console.visitors import VISITOR
from service.queries.connection_activity import KindActivity, read_activity
from service.queries.generations import generation_json_for_ledger
from service.reconciliation.lists import ListQuery
from service.reconciliation.unread import PARKED

PARKED_MAX = 100
PARKED_SHOWN = 20
GENERATION_COLUMNS = (
    PageColumn("generation", "Generation", "number"),
    PageColumn("status", "Status"),
    PageColumn("basis", "Made from"),
    PageColumn("created_at", "Begun", "time"),
    PageColumn("ready_at", "Ready", "time"),
    PageColumn("promoted_at", "Promoted", "time"),
    PageColumn("retired_at", "Retired", "time"),
    PageColumn("differing", "Tables that differ", "list"),
)
PARKED_COLUMNS = (
    PageColumn("id", "Subject", "code", lambda row: console_href("search", q=row["id"].partition(" ")[2])),
    PageColumn("since", "Since", "time"),
    PageColumn("cause", "Cause", "prose"),
    PageColumn("position", "Event", "event", link_of("position")),
)
CONNECTION_COLUMNS = (
    PageColumn("source", "Source"),
    PageColumn("connection_id", "Connection", "short", lambda row: row["href"]),
    PageColumn("kinds", "Kinds of events", "number"),
    PageColumn("last_kind", "Last kind", "code"),
    PageColumn("last_at", "Last arrival", "time"),
    PageColumn("disabled_at", "Disabled", "time"),
)


async def show_operations(request: web.Request) -> Page:
    """Return the state of the ledger's machinery."""
    now = clock.now()
    async with open_query(request) as query:
        connection, ledger_id = query.connection, query.ledger.ledger_id
        progress = await connection.fetchrow(PROGRESS, ledger_id)
        listed = await generations.list_generations(connection)
        due = await generations.rebuild_due(connection)
        items, _ = await PARKED.read(connection, ListQuery(ledger_id, now, now, PARKED_MAX, PARKED.start))
        activity = await read_activity(query)
        signed = await tree_heads.latest_checkpoint(connection, ledger_id)
        problem = await tree_heads.current_seal_problem(connection, ledger_id)
        last = await tail(connection, ledger_id)
    assert progress is not None
    rows = [generation_json_for_ledger(generation, query.ledger.name) for generation in listed]
    for row in rows:
        row["differing"] = row["comparison"]["differing"] if row["comparison"] else None
    parked = [item._asdict() for item in items]
    tables = (
        PageTable(
            "parked",
            "Parked subjects",
            PARKED_COLUMNS,
            parked,
            "Nothing is parked: every event was applied.",
            shown=PARKED_SHOWN,
            more=console_href("reconciliation", "parked"),
        ),
        PageTable("generations", "Generations", GENERATION_COLUMNS, rows, "There is no generation."),
        PageTable(
            "connections",
            "Connections",
            CONNECTION_COLUMNS,
            _connection_rows(request, activity),
            "No event has arrived over a connection yet.",
        ),
    )
    values = {
        "behind": last - progress["position"],
        "seconds_behind": round(max(0.0, progress["seconds_behind"]), 1),
        "due": sorted(due),
        "signed": signed,
        "unsealed": last - (signed.size if signed else 0),
        "problem": problem,
        "clock_problem": clock.CLOCK.problem(),
        "last": last,
    }
    return Page("operations.html", "Operations", tables, values)


def _connection_rows(request: web.Request, activity: Sequence[KindActivity]) -> list[dict[str, Any]]:
    """Return one row for each connection, with its last arrival. It leads to the connection for keys that may act."""
    may_open = "admin" in request[VISITOR].access.scopes
    rows = []
    for connection_id, kinds in groupby(activity, key=lambda one: one.connection_id):
        if connection_id != "-":
            of_connection = list(kinds)
            last = max(of_connection, key=lambda one: one.last_at)
            rows.append(
                {
                    **last._asdict(),
                    "kinds": len(of_connection),
                    "last_kind": last.kind,
                    "href": console_href("operations", "connections", connection_id) if may_open else None,
                }
            )
    return rows


async def retry_parked(request: web.Request, fields: dict[str, str]) -> web.StreamResponse | Page:
    """Show which subjects are parked, or fold them again if the form confirms them."""
    address = console_href("operations")
    name, reason = parse_name(request, fields), parse_reason(fields)
    async with open_query(request, "admin") as query:
        now = clock.now()
        items, _ = await PARKED.read(
            query.connection, ListQuery(query.ledger.ledger_id, now, now, PARKED_MAX, PARKED.start)
        )
        text = "These subjects are folded again. A subject that fails again stays parked."
        effects = Effects((text, *(item.id for item in items)))
        if not is_confirmed(fields, effects):
            shown = Action("Try the parked subjects again", "Try again", console_href("operations", "retry"), address)
            return confirmation_page(shown, effects, fields)
        await record_action(request, query, "retry of parked subjects", name, reason=reason)
        await retry.retry_parked(query.connection, query.ledger.ledger_id, subject_kind=None, subject=None)
    request.app[APP_CONTEXT].progress.notify_appended()
    return see_other(address)


ROUTES = [
    page("/operations", show_operations),
    action("/operations/retry", retry_parked, "admin"),
]
