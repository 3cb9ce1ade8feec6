"""Units of points: ordinary points, and each alternate currency with the vendor's name of it."""

from aiohttp import web

from service.api.answers.points import UnitPage
from service.api.requests.admission import get
from service.api.requests.open_query import open_query
from service.api.requests.parameters import LIMIT, PAGE
from service.api.responses import page_response
from service.formatting import cut_page, decode_cursor
from service.queries.freshness import freshness

# Units are found by skipping through the index.
UNITS = """
    WITH RECURSIVE units AS (
        (SELECT unit FROM accounts WHERE ledger_id = $1 AND unit > $2 ORDER BY unit LIMIT 1)
        UNION ALL
        SELECT (SELECT a.unit FROM accounts a WHERE a.ledger_id = $1 AND a.unit > u.unit ORDER BY a.unit LIMIT 1)
          FROM units u WHERE u.unit IS NOT NULL)
    SELECT u.unit, (SELECT a.unit_name FROM accounts a
                     WHERE a.ledger_id = $1 AND a.unit = u.unit AND a.unit_name IS NOT NULL
                     ORDER BY a.account_id LIMIT 1) AS name
      FROM units u WHERE u.unit IS NOT NULL LIMIT $3
"""


async def list_units(request: web.Request) -> web.Response:
    """List the units of points, with the names of alternate currencies.

    `points` is the unit of ordinary points. Every other unit is the identifier of an alternate currency, with the name
    that the vendor reported.
    """
    after = (decode_cursor(request.query.get("cursor"), str) or [""])[0]
    limit = LIMIT.of(request)
    async with open_query(request) as query:
        rows = await query.connection.fetch(UNITS, query.ledger.ledger_id, after, limit + 1)
        shown, cursor = cut_page(rows, limit, lambda row: (row["unit"],))
        return page_response(request, [dict(row) for row in shown], cursor, **await freshness(query))


OPERATIONS = (get("/v1/units", list_units, *PAGE, tag="programmes", answer=UnitPage),)
