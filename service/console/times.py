"""The two times of a page: *as it was at*, and *as we knew it at*."""

from aiohttp import web

from service.api.requests.open_query import await_rows
from service.queries.as_of_query import AsOfQuery, parse_as_of_params
from service.queries.context import QueryContext

TIMES = ("at", "known_at", "as_of_position")


async def parse_times(query: QueryContext, request: web.Request) -> AsOfQuery:
    """Parse the times of a page. Fields of its form may be empty, and name a time without a zone, which means UTC.

    Waits for rows up to a position. Raises RequestInvalid and NotAwaited.
    """
    times = await parse_as_of_params(query, stated_times(request))
    if times.position is not None:
        await await_rows(query, request, times.position)
    return times


def stated_times(request: web.Request) -> dict[str, str]:
    """Return the times in the address of a page, with their zones."""
    stated = {name: request.query[name].strip() for name in TIMES if request.query.get(name, "").strip()}
    return {name: value if name == "as_of_position" else (with_zone(value) or "") for name, value in stated.items()}


def with_zone(text: str | None) -> str | None:
    """Add UTC to a time of a form, such as 2026-03-31T23:59 or 2026-03-31. A day means its end."""
    if text is None:
        return None
    day, _, clock_time = text.replace(" ", "T", 1).partition("T")
    if not clock_time:
        return f"{day}T23:59:59Z"
    return text if any(sign in clock_time for sign in "Zz+-T") else f"{text}Z"
