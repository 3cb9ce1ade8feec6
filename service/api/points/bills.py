"""The points of a bill."""

from aiohttp import web

from service.api.answers.points import BillPoints
from service.api.requests.admission import get
from service.api.requests.open_query import open_query
from service.api.responses import json_response
from service.queries.as_of_query import parse_at
from service.queries.freshness import freshness
from service.queries.points.bill_points import find_bill_points


async def get_bill_points(request: web.Request) -> web.Response:
    """Return the points that a bill earned, and those that were taken back.

    A bill is found by its id or its number, also if only its points were reported. `lots` are the points that it
    earned, each with its promotion and the points returned; `promises` are its points to come; `returns` are the
    reports of its return, with the promotions whose points were taken back. The answer is as of now.
    """
    async with open_query(request) as query:
        points = await find_bill_points(query, request.match_info["id"], parse_at({}))
        return json_response({**points, **await freshness(query)})


OPERATIONS = (get("/v1/bills/{id}/points", get_bill_points, tag="bills", answer=BillPoints),)
