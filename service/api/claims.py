"""The vendor's claims of an account beside our balance: the first disagreement, and its size."""

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from aiohttp import web

from service.api.answers.accounts import ClaimPage
from service.api.requests.admission import get
from service.api.requests.open_query import open_query
from service.api.requests.parameters import LIMIT, PAGE
from service.api.responses import page_response
from service.formatting import decode_cursor, encode_cursor, invalid_cursor
from service.queries.accounts import find_account
from service.queries.freshness import freshness

LINES_PER_READ_MAX = 10_000

LINES = """
    SELECT line, occurred_at, kind, claimed, balance, drift, reference, postings, position FROM statement
     WHERE ledger_id = $1 AND account_id = $2 AND line > $3 ORDER BY line LIMIT $4
"""
ZERO = Decimal(0)


async def list_claims(request: web.Request) -> web.Response:
    """List the claims of the vendor about an account.

    Each claim stands beside our balance after the same event, with the drift between the two. `missing` counts the
    points of events between this claim and the claim before that never arrived.
    """
    cursor = decode_cursor(request.query.get("cursor"), int, str, str, bool) or [0, "0", "0", False]
    limit = LIMIT.of(request)
    async with open_query(request) as query:
        account = await find_account(query, request.match_info["id"])
        line, drift, unseen, claimed_before = cursor[0], _points(cursor[1]), _points(cursor[2]), cursor[3]
        items: list[dict[str, Any]] = []
        rows = await query.connection.fetch(
            LINES, query.ledger.ledger_id, account["account_id"], line, LINES_PER_READ_MAX
        )
        key, more = (line, drift, unseen, claimed_before), False
        for row in rows:
            if row["claimed"] is not None and len(items) == limit:
                more = True
                break
            line = row["line"]
            unseen += asserted_points(row["postings"])
            if row["claimed"] is None:
                continue
            missing = row["drift"] - drift + unseen if claimed_before else row["drift"]
            items.append(
                {
                    "line": line,
                    "occurred_at": row["occurred_at"],
                    "kind": row["kind"],
                    "position": row["position"],
                    "reference": row["reference"],
                    "claimed": row["claimed"],
                    "balance": row["balance"],
                    "drift": row["drift"],
                    "missing": missing,
                }
            )
            drift, unseen, claimed_before = row["drift"], ZERO, True
            key = (line, drift, unseen, claimed_before)
        if not more and len(rows) == LINES_PER_READ_MAX:
            key, more = (line, drift, unseen, claimed_before), True
        next_cursor = encode_cursor(key[0], str(key[1]), str(key[2]), key[3]) if more else None
        return page_response(request, items, next_cursor, **await freshness(query))


def _points(text: str) -> Decimal:
    try:
        points = Decimal(text)
    except InvalidOperation:
        raise invalid_cursor() from None
    if not points.is_finite():
        raise invalid_cursor()
    return points


def asserted_points(postings: str) -> Decimal:
    """Return the points that a line asserted as unseen history."""
    decoded = msgspec.json.decode(postings)
    return sum((Decimal(points) for source, target, points, _ in decoded if (source, target) == ASSERTION), ZERO)


ASSERTION = ("unseen", "available")

OPERATIONS = (get("/v1/accounts/{id}/claims", list_claims, *PAGE, tag="accounts", answer=ClaimPage),)
