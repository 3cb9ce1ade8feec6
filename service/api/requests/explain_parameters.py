"""Parameters of explanations: a page of steps."""

from aiohttp import web

from service.api.requests.parameters import Parameter, whole
from service.parameters import parse_int
from service.queries.explain_steps import STEPS_MAX, StepPage

AFTER_STEP = whole("after_step", "The `next_step` of the page before.", least=0, most=2**31)
STEP_LIMIT: Parameter[int] = Parameter(
    "limit",
    "The most steps of a page.",
    lambda given, name: parse_int(given, name, least=1, most=STEPS_MAX) or STEPS_MAX,
    {"type": "integer", "minimum": 1, "maximum": STEPS_MAX, "default": STEPS_MAX},
)
STEP_PAGE = (AFTER_STEP, STEP_LIMIT)


def parse_step_page(request: web.Request) -> StepPage:
    """Parse `after_step` and `limit`. The defaults are the first step and STEPS_MAX."""
    return StepPage(AFTER_STEP.of(request) or 0, STEP_LIMIT.of(request))
