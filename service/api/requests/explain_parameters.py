"""What every explanation shares: which steps are asked for, and the cause of each: a fact, and the event it is of."""

from aiohttp import web

from ledger.errors import RequestInvalid
from service.parameters import parse_flag, parse_int
from service.queries.explain_steps import STEPS_MAX, StepPage

EXPLAIN = ("explain", "after_step", "limit")  # the parameters of a path that explains


def parse_explain(request: web.Request) -> bool:
    """Return True for ?explain=true. Raises RequestInvalid for another word, and for its parameters without it."""
    asked = parse_flag(request.query.get("explain"), "explain")
    if not asked and ("after_step" in request.query or "limit" in request.query):
        raise RequestInvalid("`after_step` and `limit` need `explain=true` on this path")
    return asked


def parse_step_page(request: web.Request) -> StepPage:
    """Read ?after_step= and ?limit=, from the first step and STEPS_MAX unless they are given."""
    after = parse_int(request.query.get("after_step"), "after_step", least=0, most=2**31)
    return after or 0, parse_int(request.query.get("limit"), "limit", least=1, most=STEPS_MAX) or STEPS_MAX
