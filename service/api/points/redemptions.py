"""One redemption by its id."""

from aiohttp import web

from service.api.answers.points import RedemptionDetails
from service.api.requests.admission import get
from service.api.requests.open_query import open_query, parse_as_of
from service.api.requests.parameters import TIMES
from service.api.responses import json_response
from service.queries.freshness import freshness
from service.queries.points.redemptions import find_redemption


async def get_redemption(request: web.Request) -> web.Response:
    """Return a redemption: its points, its value, its bill, and the points that were given back.

    `reversal` states how much was reversed: none, partly or fully. `by_group` is true if a group redeemed the points.
    `parts` has one item for each account that paid. Notes are personal: if `has_notes` is true, the delivery of the
    event at `position` holds them.
    """
    async with open_query(request) as query:
        times = await parse_as_of(query, request)
        redemption = await find_redemption(query, request.match_info["id"], times)
        return json_response({**redemption, **await freshness(query, times)})


OPERATIONS = (get("/v1/redemptions/{id}", get_redemption, *TIMES, tag="redemptions", answer=RedemptionDetails),)
