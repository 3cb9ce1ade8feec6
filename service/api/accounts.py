"""Accounts, their lots and their statements: now, at an earlier time, or as known at a position.

Stored rows answer for a time after the account's last fact. For an earlier time or position the facts are folded on the
spot (`service/queries/accounts.py`).
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ledger.errors import SubjectUnknown
from service.api.answers import accounts as answers
from service.api.requests.admission import get
from service.api.requests.explain_parameters import STEP_PAGE, parse_step_page
from service.api.requests.open_query import admit_caller, has_known_parameter, open_query, parse_as_of
from service.api.requests.parameters import LIMIT, PAGE, TIMES
from service.api.responses import json_response, page_response
from service.formatting import cut_page, decode_cursor
from service.queries.accounts import (
    OPEN_LOTS,
    AccountView,
    account_json,
    find_account,
    fold_account,
    lapses_since,
    load_account,
    lot_json,
    statement_line_json,
)
from service.queries.as_of_query import parse_at
from service.queries.batch_loader import BatchLoader
from service.queries.context import QueryContext
from service.queries.explain_account import explain_account, find_lot
from service.queries.freshness import freshness, freshness_of

# The whole answer in one statement: every further round trip costs as much again.
ACCOUNT_NOW = """
    SELECT a.*, ARRAY(SELECT l FROM lots l
                       WHERE l.ledger_id = $1 AND l.account_id = a.account_id AND l.remaining > 0
                       ORDER BY l.expires_on NULLS LAST, l.earned_at, l.lot_id) AS open_lots,
           (SELECT s.parked_position FROM subjects s
             WHERE s.ledger_id = $1 AND s.subject_kind = 'account' AND s.subject = a.subject
               AND s.parked IS NOT NULL) AS parked_position,
           (SELECT position FROM checkpoints c WHERE c.ledger_id = $1) AS as_of_position,
           (SELECT max(position) FROM ledger.events e WHERE e.ledger_id = $1) AS tail
      FROM accounts a
     WHERE a.ledger_id = $1 AND a.account_id = ANY ($2::text[])
"""
ACCOUNT_LOADER = web.AppKey("account loader", BatchLoader)
LOTS = """
    SELECT * FROM lots WHERE ledger_id = $1 AND account_id = $2 AND lot_id > $3 ORDER BY lot_id LIMIT $4
"""
STATEMENT = """
    SELECT * FROM statement WHERE ledger_id = $1 AND account_id = $2 AND line > $3 AND occurred_at <= $5
     ORDER BY line LIMIT $4
"""


# Untimed facts of an account's holder, and of holders merged into it.
UNTIMED = """
    SELECT DISTINCT f.position FROM facts f
     WHERE f.ledger_id = $1 AND f.subject_kind = 'account' AND f.untimed AND f.position = ANY ($3)
       AND EXISTS (SELECT FROM subjects s
                    WHERE s.ledger_id = $1 AND s.subject_kind = 'account' AND s.subject = $2 AND s.untimed)
       AND f.subject IN (SELECT $2 UNION ALL SELECT subject FROM links
                          WHERE ledger_id = $1 AND subject_kind = 'account' AND root = $2)
"""


async def get_account(request: web.Request) -> web.Response:
    """Return the balance of an account.

    `available` is the balance at a time, `lots` are the lots behind it, and `claimed` and `drift` compare it with the
    vendor's last claim. `open_matters` lists reasons to check the account first.
    """
    name = request.match_info["id"]
    if has_known_parameter(request):
        async with open_query(request) as query:
            times = await parse_as_of(query, request)
            view = await fold_account(query, name, times)
            parked = None if view.parked is None else view.parked["position"]
            matters = open_matters(view.row, parked)
            return json_response({**account_json(view), "open_matters": matters, **await freshness(query, times)})
    access = await admit_caller(request)
    times = parse_at(request.query)
    row = await request.app[ACCOUNT_LOADER].load(access.ledger.ledger_id, name)
    if row is None:  # the name is a bare id, or another spelling
        async with open_query(request) as query:
            found = await find_account(query, name)
        row = await request.app[ACCOUNT_LOADER].load(access.ledger.ledger_id, found["account_id"])
    if row is None:  # merged away meanwhile
        raise SubjectUnknown(name)
    account = dict(row)
    extra_columns = ("open_lots", "as_of_position", "tail", "parked_position")
    lots, position, tail, parked_position = (account.pop(name) for name in extra_columns)
    view = AccountView(account, lots, times.at)
    if account["last_at"] > times.at:  # the stored row has facts after `at`
        async with open_query(request) as query:
            view = await fold_account(query, account["account_id"], times)
    matters = open_matters(view.row, parked_position)
    return json_response({**account_json(view), "open_matters": matters, **freshness_of(position, tail, times)})


def open_matters(row: Mapping[str, Any], parked_position: int | None) -> list[str]:
    """Return the reasons to check the account before its figures are relied on. /v1/reconciliation lists them too.

    "parked" means that an event cannot be folded: the figures are those before its position.
    """
    matters = {
        "drift": bool(row["drift"]) or bool(row["missing"]),
        "incomplete": row["incomplete"],
        "contested": row["contested"],
        "expired early": bool(row["expired_early"]),
        f"parked at position {parked_position}": parked_position is not None,
    }
    return [name for name, is_open in matters.items() if is_open]


async def get_lots(request: web.Request) -> web.Response:
    """List the lots of an account.

    All lots are listed by id, used ones too, each with its state at the time of the query.
    """
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        after = (decode_cursor(request.query.get("cursor"), str) or [""])[0]
        limit = LIMIT.of(request)
        view = await load_account(query, request.match_info["id"], times)
        if view.lines is not None:
            rows = sorted((lot for lot in view.lots if lot["lot_id"] > after), key=lambda lot: lot["lot_id"])
        else:
            rows = await query.connection.fetch(LOTS, query.ledger.ledger_id, view.row["account_id"], after, limit + 1)
        shown, cursor = cut_page(rows, limit, lambda row: (row["lot_id"],))
        return page_response(
            request, [lot_json(row, times.at) for row in shown], cursor, **await freshness(query, times)
        )


async def get_lot(request: web.Request) -> web.Response:
    """Return one lot of an account."""
    name, lot = request.match_info["id"], request.match_info["lot"]
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        view = await fold_account(query, name, times)
        return json_response({**find_lot(view, lot, times), **await freshness(query, times)})


async def explain_balance(request: web.Request) -> web.Response:
    """Explain the balance of an account.

    The steps are the lines of the statement. Each has its event, its fact, the rule that was applied, the postings and
    the lots that it touched. Lapses up to the time of the query are the last steps. `fields` of a step has what the
    vendor stated: the activity that a conversion of promised points refers to, the ratio at the time of the entry,
    the customer that acted beside the holder.
    """
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        explained = await explain_account(query, request.match_info["id"], times, parse_step_page(request))
        return json_response({**explained, **await freshness(query, times)})


async def explain_lot(request: web.Request) -> web.Response:
    """Explain one lot: every step that touched it."""
    name, lot = request.match_info["id"], request.match_info["lot"]
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        explained = await explain_account(query, name, times, parse_step_page(request), lot)
        return json_response({**explained, **await freshness(query, times)})


async def get_statement(request: web.Request) -> web.Response:
    """List the statement of an account.

    There is a line for each fact or lapse up to the time of the query, oldest first, with the balance after it.
    """
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        after = (decode_cursor(request.query.get("cursor"), int) or [0])[0]
        limit = LIMIT.of(request)
        view = await load_account(query, request.match_info["id"], times)
        account_id = view.row["account_id"]
        if view.lines is not None:
            rows = [line._asdict() for line in view.lines if line.line > after][: limit + 1]
        else:
            rows = await query.connection.fetch(
                STATEMENT, query.ledger.ledger_id, account_id, after, limit + 1, times.at
            )
        shown, cursor = cut_page(rows, limit, lambda row: (row["line"],))
        lines = await _mark_untimed(query, view.row["subject"], [statement_line_json(row) for row in shown])
        if cursor is None:
            lots = view.lots
            if view.lines is None:
                lots = await query.connection.fetch(OPEN_LOTS, query.ledger.ledger_id, [account_id])
            lines += lapses_since(view.row, lots, times.at)
        return page_response(request, lines, cursor, **await freshness(query, times))


async def _mark_untimed(query: QueryContext, root: str, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mark the lines of events that state no time. They are placed at their recorded time."""
    positions = [line["position"] for line in lines if line["position"] is not None]
    rows = await query.connection.fetch(UNTIMED, query.ledger.ledger_id, root, positions)
    untimed = {row["position"] for row in rows}
    return [{**line, "untimed": True} if line["position"] in untimed else line for line in lines]


OPERATIONS = (
    get("/v1/accounts/{id}", get_account, *TIMES, tag="accounts", answer=answers.AccountDetails),
    get("/v1/accounts/{id}/lots", get_lots, *TIMES, *PAGE, tag="accounts", answer=answers.LotPage),
    get("/v1/accounts/{id}/lots/{lot}", get_lot, *TIMES, tag="accounts", answer=answers.LotDetails),
    get("/v1/accounts/{id}/statement", get_statement, *TIMES, *PAGE, tag="accounts", answer=answers.StatementPage),
    get(
        "/v1/accounts/{id}/explanation",
        explain_balance,
        *TIMES,
        *STEP_PAGE,
        tag="accounts",
        answer=answers.AccountExplanation,
    ),
    get(
        "/v1/accounts/{id}/lots/{lot}/explanation",
        explain_lot,
        *TIMES,
        *STEP_PAGE,
        tag="accounts",
        answer=answers.LotExplanation,
    ),
)
