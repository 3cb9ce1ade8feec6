"""Finance: the forecast of breakage, the outstanding points that will lapse unused."""

from aiohttp import web

from ledger.errors import SubjectUnknown
from service.api.answers.finance import BreakageAnswer
from service.api.requests.admission import get
from service.api.requests.open_query import open_query
from service.api.requests.parameters import text
from service.api.responses import json_response
from service.finance.breakage import breakage_json, parse_breakage_month, read_breakage
from service.finance.breakage_forecast import ASSUMPTIONS
from service.queries.freshness import freshness
from service.queries.programmes import find_programme


async def get_breakage(request: web.Request) -> web.Response:
    """Return the expected breakage of each programme and unit, as of the end of a month.

    - The method is that of vintage curves: each vintage is expected to be used as earlier vintages were at its age.
    - `expected_used`, `expected_removed`, `expected_breakage` and `undetermined` add up to `outstanding`.
    - With too little history there is a `reason` instead of figures, which are null then.
    - The figures are as known now. The same events and month give the same figures.
    """
    month = parse_breakage_month(MONTH.of(request))
    name, unit = PROGRAMME.of(request), UNIT.of(request)
    async with open_query(request, heavy=True) as query:
        programme = None if name is None else await find_programme(query, name)
        found = await read_breakage(query.connection, query.ledger.ledger_id, month, programme, unit)
        return json_response(
            {
                "month": f"{month:%Y-%m}",
                "items": [breakage_json(one) for one in found],
                "next": None,
                "assumptions": ASSUMPTIONS,
                **await freshness(query),
            }
        )


MONTH = text("month", "A month that is over. Default: the last one.", pattern="^[0-9]{4}-[0-9]{2}$")
PROGRAMME = text("programme", "Only this programme.")
UNIT = text("unit", "Only this unit: `points`, or the identifier of an alternate currency.")

OPERATIONS = (
    get(
        "/v1/breakage",
        get_breakage,
        MONTH,
        PROGRAMME,
        UNIT,
        tag="finance",
        answer=BreakageAnswer,
        errors=(SubjectUnknown,),
    ),
)
