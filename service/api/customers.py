"""One customer with all its rows; look-up by e-mail address or telephone number; erasure; unmerge."""

from aiohttp import web

from ledger.errors import RequestInvalid
from service.api.requests.admission import PAGE, TIMES, change, get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.json_bodies import read_author, read_json_body
from service.api.requests.open_query import open_query, parse_as_of, parse_limit
from service.api.responses import json_response, page_response
from service.formatting import cut_page, decode_cursor
from service.operations.erase import erase, is_known
from service.operations.unmerge import unmerge
from service.queries.customers import find_survivor, load_customer
from service.queries.freshness import freshness
from service.queries.references import expand_reference, require_single
from service.queries.subjects import (
    ROWS_MAX,
)

SURVIVORS = """
    WITH RECURSIVE merged (customer, survivor, steps) AS (
        SELECT subject, merged_into, 1 FROM customers
         WHERE ledger_id = $1 AND subject = ANY ($2) AND merged_into IS NOT NULL
        UNION ALL
        SELECT m.customer, c.merged_into, m.steps + 1
          FROM merged m JOIN customers c ON c.ledger_id = $1 AND c.subject = m.survivor
         WHERE c.merged_into IS NOT NULL AND m.steps < 100
    )
    SELECT DISTINCT ON (customer) customer, survivor FROM merged ORDER BY customer, steps DESC
"""


async def get_customer(request: web.Request) -> web.Response:
    """GET /v1/customers/{source}:{org}:{id}: the rows of a customer, from every projection that names customers.

    - org is "-" if the source names none. A bare id is enough if it is unambiguous.
    - As of `at`, as known at `as_of_position` or `known_at`.
    - A list of more than ROWS_MAX rows is cut, and named in "truncated".
    - A list is null, and named in "rebuild_due", if this version needs a rebuild to read it.
    - Rows of customers merged into this one are marked "inherited_from".
    - "merged_into" is the customer that remains after all merges.

    404 if no event ever named the customer.
    """
    name = request.match_info["ref"]
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        found = []
        for customer in await expand_reference(query, name):
            rows_by_table = await load_customer(query, customer, times)
            if any(rows_by_table.values()):
                found.append((customer, rows_by_table))
        customer = require_single([reference for reference, _ in found], name)
        rows_by_table = found[0][1]
        truncated = [name for name, rows in rows_by_table.items() if rows and len(rows) > ROWS_MAX]
        limited_rows = {name: rows and rows[:ROWS_MAX] for name, rows in rows_by_table.items()}
        incomplete = {"truncated": truncated} if truncated else {}
        rebuild_due = [name for name, rows in rows_by_table.items() if rows is None]
        incomplete |= {"rebuild_due": rebuild_due} if rebuild_due else {}
        survivor = await find_survivor(query, customer, times)
        return json_response(
            {
                "customer": customer,
                "merged_into": survivor,
                **limited_rows,
                **incomplete,
                **await freshness(query, times),
            }
        )


async def find_customers(request: web.Request) -> web.Response:
    """GET /v1/customers?email= or ?mobile= or ?external_id=: references of the customers ever named by this value.

    The value is found by its keyed hash; it is stored nowhere. "merged_into" is the customer that a merged one became.
    The answer is as of now only.
    """
    after = decode_cursor(request.query.get("cursor"), str) or [""]
    limit = parse_limit(request)
    lookups = [(parameter, request.query[parameter]) for parameter in LOOKUP_PARAMETERS if parameter in request.query]
    if len(lookups) != 1:
        raise RequestInvalid(f"exactly one of these parameters is needed: {', '.join(LOOKUP_PARAMETERS)}")
    async with open_query(request) as query:
        vault = request.app[APP_CONTEXT].vault
        found = await vault.find(query.connection, query.ledger.ledger_id, *lookups[0], after=after[0], limit=limit + 1)
        customers, cursor = cut_page(found, limit, lambda customer: (customer,))
        rows = await query.connection.fetch(SURVIVORS, query.ledger.ledger_id, customers)
        survivors = {row["customer"]: row["survivor"] for row in rows}
        merged = {customer: {"merged_into": survivor} for customer, survivor in survivors.items()}
        items = [{"customer": customer, **merged.get(customer, {})} for customer in customers]
        return page_response(items, cursor, **await freshness(query))


async def erase_customer(request: web.Request) -> web.Response:
    """POST /v1/customers/{ref}/erasure with {"reason"}: destroy the keys of a customer's personal values. Scope
    `admin`.

    200 {"customers", "destroyed", "position"}; `position` is null if nothing was left to erase. 404 if the customer is
    unknown, 400 if a bare id is ambiguous.
    """
    name = request.match_info["ref"]
    context = request.app[APP_CONTEXT]
    body = await read_json_body(request)
    async with open_query(request, "admin") as query:
        reason = str(body.get("reason", ""))[:REASON_CHARACTERS_MAX]
        known = [
            reference
            for reference in await expand_reference(query, name)
            if await is_known(query.connection, query.ledger, reference)
        ]
        customer = require_single(known, name)
        by = f"key {query.key_id}"
        outcome = await erase(query.connection, context.vault, query.ledger, customer, by=by, reason=reason)
        context.progress.notify_appended()
        return json_response(outcome._asdict())


async def unmerge_customer(request: web.Request) -> web.Response:
    """POST /v1/customers/{ref}/unmerge with author and reason: undo the merge of a customer into another. Scope
    `admin`.

    200 {"customer", "survivor", "position"}. The rest of the customer's points returns to the customer.
    """
    name = request.match_info["ref"]
    context = request.app[APP_CONTEXT]
    body = await read_json_body(request)
    async with open_query(request, "admin") as query:
        known = [
            reference
            for reference in await expand_reference(query, name)
            if await is_known(query.connection, query.ledger, reference)
        ]
        customer = require_single(known, name)
        outcome = await unmerge(query.connection, context.vault, query.ledger, customer, read_author(query, body))
        context.progress.notify_appended()
        return json_response(outcome._asdict())


LOOKUP_PARAMETERS = ("email", "mobile", "external_id")
REASON_CHARACTERS_MAX = 500

ROUTES = [
    get("/v1/customers", find_customers, *LOOKUP_PARAMETERS, *PAGE),
    change("POST", "/v1/customers/{ref}/erasure", erase_customer),
    change("POST", "/v1/customers/{ref}/unmerge", unmerge_customer),
    get("/v1/customers/{ref}", get_customer, *TIMES),
]
