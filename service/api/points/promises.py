"""The promises of an account: points that will become spendable on a day or on a trigger."""

from aiohttp import web

from service.api.answers.accounts import AccountPromisePage
from service.api.requests.admission import get
from service.api.requests.open_query import open_query, parse_as_of
from service.api.requests.parameters import LIMIT, PAGE, TIMES, flag
from service.api.responses import page_response
from service.formatting import cut_page, decode_cursor
from service.queries.accounts import account_promises, part_json
from service.queries.freshness import freshness

PROMISES = """
    SELECT * FROM promises WHERE ledger_id = $1 AND account_id = $2 AND promise_id > $3 AND (remaining > 0 OR NOT $5)
     ORDER BY promise_id LIMIT $4
"""
OPEN = flag("open", "Only promises with points still to come.")


async def list_account_promises(request: web.Request) -> web.Response:
    """List the promised points of an account.

    Each promise has its points, the day on which they become spendable or `external` for a trigger of the vendor, and
    the bill that earned them. Kept and cancelled promises are listed too, unless `open` is true.
    """
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        after = (decode_cursor(request.query.get("cursor"), str) or [""])[0]
        limit, is_open = LIMIT.of(request), OPEN.of(request)
        account_id, known = await account_promises(query, request.match_info["id"], times)
        if known is None:
            found = await query.connection.fetch(
                PROMISES, query.ledger.ledger_id, account_id, after, limit + 1, is_open
            )
            rows = [dict(row) for row in found]
        else:
            rows = [row for row in known if row["promise_id"] > after and (row["remaining"] > 0 or not is_open)]
        shown, cursor = cut_page(rows, limit, lambda row: (row["promise_id"],))
        items = [part_json(row, "promise_id", times.at) for row in shown]
        return page_response(request, items, cursor, **await freshness(query, times))


OPERATIONS = (
    get(
        "/v1/accounts/{id}/promises",
        list_account_promises,
        OPEN,
        *TIMES,
        *PAGE,
        tag="accounts",
        answer=AccountPromisePage,
    ),
)
