"""The screen that explains a figure step by step: an account, one of its lots, or a subject of any projection."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from projections.definition import Projection
from projections.registry import PROJECTIONS
from service.api.requests.open_query import open_query
from service.console.admission import page
from service.console.charts import stays_timeline
from service.console.headlines import headline_of
from service.console.links import link_of
from service.console.pages import Page
from service.console.row_columns import column_title, side_table_columns
from service.console.sentences import customer_sentence
from service.console.tables import PageColumn, PageTable
from service.console.times import TIMES, parse_times
from service.parameters import parse_int
from service.queries.explain_account import explain_account
from service.queries.explain_steps import StepPage
from service.queries.references import expand_reference
from service.queries.subjects import explain_subject

STEPS_PER_PAGE = 25
PATHS: Mapping[str, Projection] = {one.path: one for one in PROJECTIONS if one.path}

ACCOUNT_COLUMNS = (
    PageColumn("step", "Step", "number"),
    PageColumn("occurred_at", "When", "time"),
    PageColumn("kind", "Change", "fact"),
    PageColumn("rule", "Rule", "code"),
    PageColumn("sentence", "What the rule does"),
    PageColumn("before", "Before", "points"),
    PageColumn("points", "Points", "signed"),
    PageColumn("balance", "After", "points"),
    PageColumn("customer_sentence", "For the customer"),
    PageColumn("position", "Event", "event", link_of("position")),
)
SUBJECT_COLUMNS = (
    PageColumn("step", "Step", "number"),
    PageColumn("occurred_at", "When", "time"),
    PageColumn("rule", "Rule", "code"),
    PageColumn("sentence", "What the rule does"),
    PageColumn("changed", "Changed"),
    PageColumn("position", "Event", "event", link_of("position")),
)


async def explain_account_page(request: web.Request) -> Page:
    """Return the steps to a balance, or with `lot` the steps that touched one lot."""
    async with open_query(request) as query:
        times = await parse_times(query, request)
        lot = request.query.get("lot") or None
        explained = await explain_account(query, request.match_info["id"], times, _step_page(request), lot)
    steps = explained["steps"]
    for step in steps:
        _complete(step)
    table = _steps_table([_account_row(step) for step in steps if "failure" not in step], ACCOUNT_COLUMNS, explained)
    subject = explained.get("account") or explained["lot"]
    values = {
        "account_id": request.match_info["id"],
        "subject": subject,
        "lot": lot,
        "steps": steps,
        "next_step": explained["next_step"],
        "times": times,
    }
    title = f"Lot {lot} explained" if lot else "The balance explained"
    return Page("explain_account.html", title, (table,), values)


async def explain_subject_page(request: web.Request) -> Page:
    """Return the steps to the row of a subject, such as a coupon, a tier or an order item."""
    projection = PATHS.get(request.match_info["projection"])
    if projection is None:
        raise web.HTTPNotFound
    name = request.match_info["id"]
    async with open_query(request) as query:
        times = await parse_times(query, request)
        refs = await expand_reference(query, name)
        explained = await explain_subject(query, projection, refs, name, times, _step_page(request))
    steps = explained.pop("steps")
    next_step = explained.pop("next_step")
    tables_of = {table.name for table in projection.tables[1:]}
    lists = {name: value for name, value in explained.items() if name in tables_of and value}
    fields = {name: value for name, value in explained.items() if name not in tables_of}
    stays = lists.get("tier_history", [])
    table = _steps_table([_subject_row(step) for step in steps if "failure" not in step], SUBJECT_COLUMNS, explained)
    tables = (table, *(_list_table(projection, name, rows) for name, rows in lists.items()))
    values = {
        "projection": projection,
        "fields": fields,
        "steps": steps,
        "next_step": next_step,
        "times": times,
        "lists": list(lists),
        "headline": headline_of(projection.tables[0].name, fields),
        "stays": stays_timeline(stays, times.at),
    }
    return Page("explain_subject.html", f"{title_of(projection)} {explained['id']}", tables, values)


def title_of(projection: Projection) -> str:
    """Return the name of one subject of a projection, such as "Order item"."""
    return projection.subject.replace("_", " ").capitalize()


def _step_page(request: web.Request) -> StepPage:
    after = parse_int(request.query.get("after_step"), "after_step", least=0, most=2**31)
    return StepPage(after or 0, STEPS_PER_PAGE)


def _complete(step: dict[str, Any]) -> None:
    """Add to a step of an account the balance before it, and the sentence for the customer."""
    if "failure" not in step:
        step["before"] = step["balance"] - step["points"]
        days = [lot["expires_on"] for lot in step["lots"]]
        step["customer_sentence"] = customer_sentence(step, days[0] if days else None)


def _account_row(step: Mapping[str, Any]) -> dict[str, Any]:
    return {**step, **_cause(step)}


def _subject_row(step: Mapping[str, Any]) -> dict[str, Any]:
    changed = {name: change["after"] for name, change in step["changed"].items()}
    return {**step, **_cause(step), "changed": changed}


def _cause(step: Mapping[str, Any]) -> dict[str, Any]:
    event = step["event"]
    return {
        "rule": step["rule"]["name"],
        "sentence": step["rule"]["sentence"],
        "position": None if event is None else event["position"],
    }


def _steps_table(
    rows: list[dict[str, Any]], columns: tuple[PageColumn, ...], explained: Mapping[str, Any]
) -> PageTable:
    following = explained.get("next_step")
    empty = "No step follows: all events about this are shown on the pages before."
    cursor = None if following is None else str(following)
    return PageTable("steps", "Steps", columns, rows, empty, cursor, cursor_name="after_step")


def _list_table(projection: Projection, name: str, rows: list[dict[str, Any]]) -> PageTable:
    """Return the further rows of a subject, such as the intervals of a tier."""
    table = next(one for one in projection.tables if one.name == name)
    return PageTable(name, column_title(name), side_table_columns(table, rows), rows, "There is none.")


ROUTES = [
    page("/explain/accounts/{id}", explain_account_page, "after_step", "lot", *TIMES),
    page("/explain/{projection}/{id}", explain_subject_page, "after_step", *TIMES),
]
