"""Groups of customers who share a balance."""

from aiohttp import web

from service.api.answers.points import Group
from service.api.requests.admission import get
from service.api.requests.open_query import open_query
from service.api.responses import json_response
from service.queries.freshness import freshness
from service.queries.points.groups import find_group


async def get_group(request: web.Request) -> web.Response:
    """Return a group: its accounts, and the customers who acted for it or sent points to it.

    Members are those that events named with the group's points; no event lists all members. The answer is as of now.
    """
    async with open_query(request, heavy=True) as query:
        group = await find_group(query, request.match_info["id"])
        return json_response({**group, **await freshness(query)})


OPERATIONS = (get("/v1/groups/{id}", get_group, tag="groups", answer=Group),)
