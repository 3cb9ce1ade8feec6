"""Parse the parameters of paths that can explain their answer."""

from aiohttp import web

from ledger.errors import RequestInvalid
from service.parameters import parse_flag, parse_int
from service.queries.explain_steps import STEPS_MAX, StepPage

EXPLAIN = ("explain", "after_step", "limit")  # parameters of a path that can explain its answer


def parse_explain(request: web.Request) -> bool:
    """Return True for `explain=true`.

    Raises RequestInvalid for another value, and for `after_step` or `limit` without `explain=true`.
    """
    asked = parse_flag(request.query.get("explain"), "explain")
    if not asked and ("after_step" in request.query or "limit" in request.query):
        raise RequestInvalid("`after_step` and `limit` need `explain=true` on this path")
    return asked


def parse_step_page(request: web.Request) -> StepPage:
    """Parse `after_step` and `limit`. The defaults are the first step and STEPS_MAX."""
    after = parse_int(request.query.get("after_step"), "after_step", least=0, most=2**31)
    limit = parse_int(request.query.get("limit"), "limit", least=1, most=STEPS_MAX)
    return StepPage(after or 0, limit or STEPS_MAX)
