"""One customer with all its rows; look-up by e-mail address or telephone number; erasure; unmerge."""

from aiohttp import web
from msgspec import Struct

from ledger.errors import RequestInvalid
from service.api.answers.customers import CustomerDetails, CustomerFoundPage, Erasure, Unmerge
from service.api.dry_runs import DRY_RUN, dry_run_response
from service.api.requests.admission import change, get
from service.api.requests.app_context import APP_CONTEXT
from service.api.requests.json_bodies import Authored, read_json_body
from service.api.requests.open_query import open_query, parse_as_of
from service.api.requests.parameters import LIMIT, PAGE, TIMES, text
from service.api.responses import json_response, page_response
from service.formatting import cut_page, decode_cursor
from service.operations.erase import erase, is_known, plan_erasure
from service.operations.unmerge import plan_unmerge, unmerge
from service.queries.customers import find_survivor, load_customer
from service.queries.freshness import freshness
from service.queries.references import expand_reference, require_single
from service.queries.subjects import ROWS_MAX

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
    """Return everything that is held about a customer.

    The answer has a list of rows for every projection that names customers.

    - A list of more than 1,000 rows is cut, and named in `truncated`.
    - A list is null, and named in `rebuild_due`, if this version needs a rebuild to read it.
    - Rows of customers merged into this one are marked with `inherited_from`.
    """
    name = request.match_info["id"]
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
                "id": customer,
                "merged_into": survivor,
                **limited_rows,
                **incomplete,
                **await freshness(query, times),
            }
        )


async def look_up_customers(request: web.Request) -> web.Response:
    """Find customers by an e-mail address, a telephone number or an external id.

    Every customer that was ever named by the value is found. The value is compared by its keyed hash, and stored
    nowhere. `merged_into` is the customer that a merged one became. The answer is as of now only.
    """
    after = decode_cursor(request.query.get("cursor"), str) or [""]
    limit = LIMIT.of(request)
    lookups = [(parameter.name, value) for parameter in LOOKUP_PARAMETERS if (value := parameter.of(request))]
    if len(lookups) != 1:
        names = ", ".join(parameter.name for parameter in LOOKUP_PARAMETERS)
        raise RequestInvalid(f"exactly one of these parameters is needed: {names}")
    async with open_query(request) as query:
        vault = request.app[APP_CONTEXT].vault
        found = await vault.find(query.connection, query.ledger.ledger_id, *lookups[0], after=after[0], limit=limit + 1)
        customers, cursor = cut_page(found, limit, lambda customer: (customer,))
        rows = await query.connection.fetch(SURVIVORS, query.ledger.ledger_id, customers)
        survivors = {row["customer"]: row["survivor"] for row in rows}
        merged = {customer: {"merged_into": survivor} for customer, survivor in survivors.items()}
        items = [{"id": customer, **merged.get(customer, {})} for customer in customers]
        return page_response(request, items, cursor, **await freshness(query))


class ErasureBody(Struct, forbid_unknown_fields=True):
    """The reason of an erasure. It is stored in the clear: name a ticket."""

    reason: str = ""


async def erase_customer(request: web.Request) -> web.Response:
    """Erase the personal data of a customer.

    The keys of the customer's personal values are destroyed, so no copy can be decrypted. Balances and proofs stay.
    """
    name = request.match_info["id"]
    context = request.app[APP_CONTEXT]
    body = await read_json_body(request, ErasureBody)
    async with open_query(request, "admin") as query:
        reason = body.reason[:REASON_CHARACTERS_MAX]
        known = [
            reference
            for reference in await expand_reference(query, name)
            if await is_known(query.connection, query.ledger, reference)
        ]
        customer = require_single(known, name)
        by = f"key {query.key_id}"
        of = (query.connection, context.vault, query.ledger, customer)
        if DRY_RUN.of(request):
            return await dry_run_response(query, plan_erasure(*of, by=by, reason=reason))
        outcome = await erase(*of, by=by, reason=reason)
        context.progress.notify_appended()
        return json_response(outcome._asdict())


async def unmerge_customer(request: web.Request) -> web.Response:
    """Undo the merge of a customer into another.

    The rest of the customer's points returns to the customer.
    """
    name = request.match_info["id"]
    context = request.app[APP_CONTEXT]
    body = await read_json_body(request, Authored)
    async with open_query(request, "admin") as query:
        known = [
            reference
            for reference in await expand_reference(query, name)
            if await is_known(query.connection, query.ledger, reference)
        ]
        customer = require_single(known, name)
        of = (query.connection, context.vault, query.ledger, customer, body.author_of(query))
        if DRY_RUN.of(request):
            return await dry_run_response(query, plan_unmerge(*of))
        outcome = await unmerge(*of)
        context.progress.notify_appended()
        return json_response(outcome._asdict())


LOOKUP_PARAMETERS = (
    text("email", "An e-mail address."),
    text("mobile", "A telephone number."),
    text("external_id", "An id of another system."),
)
REASON_CHARACTERS_MAX = 500

OPERATIONS = (
    get(
        "/v1/customers/lookup", look_up_customers, *LOOKUP_PARAMETERS, *PAGE, tag="customers", answer=CustomerFoundPage
    ),
    get("/v1/customers/{id}", get_customer, *TIMES, tag="customers", answer=CustomerDetails),
    change(
        "POST", "/v1/customers/{id}/erasure", erase_customer, DRY_RUN, tag="customers", body=ErasureBody, answer=Erasure
    ),
    change(
        "POST", "/v1/customers/{id}/unmerge", unmerge_customer, DRY_RUN, tag="customers", body=Authored, answer=Unmerge
    ),
)
