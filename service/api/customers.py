"""Everything held about one customer, from every projection that names customers."""

from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg
from aiohttp import web

from ledger.errors import RequestInvalid
from projections.accounts import ACCOUNTS
from projections.customers import CUSTOMERS
from projections.definition import Projection
from projections.queries.as_of import known_of
from projections.registry import PROJECTIONS
from service.api.adjustments import words_of
from service.api.admission import PAGE, TIMES, change, get
from service.api.context import APP_CONTEXT
from service.api.requests import (
    AsOfQuery,
    QueryContext,
    body_of,
    expand_reference,
    freshness,
    limit_of,
    open_query,
    parse_as_of,
    require_single,
)
from service.api.subjects import (
    ROWS_MAX,
    first_row,
    rows_of_customer,
    subjects_of_customer,
    subjects_then,
    with_ends,
    zones_of,
)
from service.formatting import decode_cursor, encode_cursor, json_response, page_response
from service.operations.erase import erase, is_known
from service.operations.unmerge import unmerge
from service.queries.accounts import account_rows_json

SUBJECTS_PER_FOLD = 500
VICTIMS_MAX = 100

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
    """GET /v1/customers/{source}:{org}:{id}, org "-" where the source names none; a bare id is found if it is alone.
    As of ?at=, as known at ?as_of_position= or ?known_at=. Of what there are more than ROWS_MAX is cut, and named in
    "truncated". A list is null, and named in "rebuild_due", if this version cannot read it before a rebuild. What was
    told of customers who were merged into this one is marked "inherited_from". "merged_into" is who this one is now,
    after all merges.

    404 if nothing was ever told about them.
    """
    name = request.match_info["ref"]
    async with open_query(request) as read:
        times = await parse_as_of(read, request)
        found = []
        for customer in await expand_reference(read, name):
            held = await held_of(read, customer, times)
            if any(held.values()):
                found.append((customer, held))
        customer = require_single([one for one, _ in found], name)
        held = found[0][1]
        too_long = [name for name, rows in held.items() if rows and len(rows) > ROWS_MAX]
        shown = {name: rows and rows[:ROWS_MAX] for name, rows in held.items()}
        cut = {"truncated": too_long} if too_long else {}
        due = [name for name, rows in held.items() if rows is None]
        cut |= {"rebuild_due": due} if due else {}
        survivor = await _survivor(read, customer, times)
        return json_response(
            {"customer": customer, "merged_into": survivor, **shown, **cut, **await freshness(read, times)}
        )


async def held_of(read: QueryContext, customer: str, times: AsOfQuery) -> dict[str, list[dict[str, Any]] | None]:
    """Return what every projection holds about a customer, by the name of its first table: at most ROWS_MAX + 1 rows;
    None if a rebuild is due before it can be read, as for a projection that this version has added."""
    held: dict[str, list[dict[str, Any]] | None] = {}
    zones = await zones_of(read, times)
    victims = await _victims(read, customer, times)
    for projection in PROJECTIONS:
        if projection.customers:
            try:
                rows = await _held_by(read, projection, customer, victims, times)
                held[projection.tables[0].name] = [with_ends(projection, row, times.at, zones) for row in rows]
            except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
                held[projection.tables[0].name] = None
    return held


async def _held_by(
    read: QueryContext, projection: Projection, customer: str, victims: Sequence[str], times: AsOfQuery
) -> list[dict[str, Any]]:
    """Return the rows of a customer, then those inherited from customers who were merged into them."""
    if projection is ACCOUNTS:  # a merge has moved what the victims held: theirs are the survivor's, too
        survivor = await _survivor(read, customer, times)
        holders = [customer] if survivor is None else [customer, survivor]
        return [
            shown_account
            for holder in holders
            for shown_account in await account_rows_json(
                read, holder, await rows_of_customer(read, projection, holder), times
            )
        ]
    rows = await _rows_of(read, projection, customer, times)
    for victim in victims:
        there = {row["id"] for row in rows}
        inherited = [row for row in await _rows_of(read, projection, victim, times) if row["id"] not in there]
        rows += [{**row, "inherited_from": victim} for row in inherited]
    if projection is CUSTOMERS:
        rows.sort(key=lambda row: row["id"] != customer)
    return rows


async def _rows_of(read: QueryContext, projection: Projection, customer: str, times: AsOfQuery) -> list[dict[str, Any]]:
    if times.given:
        return await _rows_as_of(read, projection, customer, times)
    return await rows_of_customer(read, projection, customer)


async def _victims(read: QueryContext, customer: str, times: AsOfQuery) -> list[str]:
    """Name everybody who was merged into a customer, directly or by others; VICTIMS_MAX at most."""
    found: list[str] = []
    asked = [customer]
    while asked and len(found) < VICTIMS_MAX:
        survivor = asked.pop()
        rows = await _rows_of(read, CUSTOMERS, survivor, times)
        new = [row["id"] for row in rows if row["merged_into"] == survivor and row["id"] not in (customer, *found)]
        found += new
        asked += new
    return found[:VICTIMS_MAX]


async def _survivor(read: QueryContext, customer: str, times: AsOfQuery) -> str | None:
    """Name who a customer is after all merges, as of both times; None for one who was not merged away."""
    now, passed = customer, {customer}
    while True:
        rows = await _rows_of(read, CUSTOMERS, now, times)
        into = next((row["merged_into"] for row in rows if row["id"] == now), None)
        if into is None or into in passed:
            return None if now == customer else now
        now = into
        passed.add(now)


async def _rows_as_of(
    read: QueryContext, projection: Projection, customer: str, times: AsOfQuery
) -> list[dict[str, Any]]:
    """Fold what was known of the subjects that name a customer now, or did before, and give the rows of those that did
    then; of more than ROWS_MAX rows one more."""
    connection, ledger_id = read.connection, read.ledger.ledger_id
    asked = {customer, *await subjects_of_customer(read, projection, customer)}
    asked.update(await subjects_then(read, projection, customer, times))
    named = ["id" if column == "subject" else column for column in projection.customers]
    found: list[dict[str, Any]] = []
    for some in batched(sorted(asked), SUBJECTS_PER_FOLD):
        groups = await known_of(connection, ledger_id, projection, some, times.as_of)
        rows = [row for known in groups for row in [first_row(projection, known)] if row]
        found += [row for row in rows if customer in (row[column] for column in named)]
        if len(found) > ROWS_MAX:
            break
    return found[: ROWS_MAX + 1]


def batched(subjects: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (subjects[first : first + size] for first in range(0, len(subjects), size))


async def find_customers(request: web.Request) -> web.Response:
    """GET /v1/customers?email= or ?mobile= or ?external_id=: the refs of customers who were ever named by it, by a
    keyed hash of it; the value itself stands nowhere. "merged_into" is who a merged one is now. It is
    answered as of now only."""
    after = decode_cursor(request.query.get("cursor"), str) or [""]
    limit = limit_of(request)
    given = [(what, request.query[what]) for what in LOOK_UPS if what in request.query]
    if len(given) != 1:
        raise RequestInvalid(f"one of {', '.join(LOOK_UPS)}")
    async with open_query(request) as read:
        vault = request.app[APP_CONTEXT].vault
        customers = await vault.find(read.connection, read.ledger.ledger_id, *given[0], after=after[0], limit=limit)
        cursor = encode_cursor(customers[-1]) if len(customers) == limit else None
        rows = await read.connection.fetch(SURVIVORS, read.ledger.ledger_id, customers)
        survivors = {row["customer"]: row["survivor"] for row in rows}
        merged = {customer: {"merged_into": survivor} for customer, survivor in survivors.items()}
        items = [{"customer": customer, **merged.get(customer, {})} for customer in customers]
        return page_response(items, cursor, **await freshness(read))


async def erase_customer(request: web.Request) -> web.Response:
    """POST /v1/customers/{ref}/erasure with {"reason"}: destroy the keys of what was sealed of them. Scope admin.

    200 {"customers", "destroyed", "position"}; position is null when nothing was left to forget; 404 if unknown, 400 if
    a bare id stands for several.
    """
    name = request.match_info["ref"]
    house = request.app[APP_CONTEXT]
    asked = await body_of(request)
    async with open_query(request, "admin") as read:
        reason = str(asked.get("reason", ""))[:REASON_CHARACTERS_MAX]
        known = [one for one in await expand_reference(read, name) if await is_known(read.connection, read.ledger, one)]
        customer = require_single(known, name)
        by = f"key {read.key_id}"
        done = await erase(read.connection, house.vault, read.ledger, customer, by=by, reason=reason)
        house.projector.notify_appended()
        return json_response(done._asdict())


async def unmerge_customer(request: web.Request) -> web.Response:
    """POST /v1/customers/{ref}/unmerge with author and reason: undo the merge of a customer into another. Scope admin.

    200 {"customer", "survivor", "position"}; what is left of the customer's points goes back to them.
    """
    name = request.match_info["ref"]
    house = request.app[APP_CONTEXT]
    asked = await body_of(request)
    async with open_query(request, "admin") as read:
        known = [one for one in await expand_reference(read, name) if await is_known(read.connection, read.ledger, one)]
        customer = require_single(known, name)
        done = await unmerge(read.connection, house.vault, read.ledger, customer, words_of(read, asked))
        house.projector.notify_appended()
        return json_response(done._asdict())


LOOK_UPS = ("email", "mobile", "external_id")
REASON_CHARACTERS_MAX = 500

ROUTES = [
    get("/v1/customers", find_customers, *LOOK_UPS, *PAGE),
    change("POST", "/v1/customers/{ref}/erasure", erase_customer),
    change("POST", "/v1/customers/{ref}/unmerge", unmerge_customer),
    get("/v1/customers/{ref}", get_customer, *TIMES),
]
