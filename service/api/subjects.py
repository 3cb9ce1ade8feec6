"""One subject of any projection, by id: its row, and the facts that made it. One handler serves all projections.

Histories are cut at HISTORY_MAX and lists of rows at ROWS_MAX, and a cut answer has "truncated": true. `explain=true`
pages through the whole history.
"""

from typing import Any

from aiohttp import web

from projections.definition import Projection
from projections.registry import PROJECTIONS
from service.api.requests.admission import TIMES, get
from service.api.requests.explain_parameters import EXPLAIN, parse_explain, parse_step_page
from service.api.requests.open_query import open_query, parse_as_of
from service.api.responses import json_response
from service.queries.freshness import freshness
from service.queries.references import expand_reference, require_single
from service.queries.subjects import (
    PARKED,
    apply_ends,
    explain_subject,
    find_roots,
    load_history,
    load_time_zones,
    row_json,
    rows_by_subject_sql,
    subject_as_of,
    truncate,
)


def subject_handler(projection: Projection) -> Any:
    """Return the handler of GET /v1/<path>/{id} for a projection.

    As of `at`, as known at `as_of_position` or `known_at`. With `explain=true` the answer is every step.
    """

    async def get_subject(request: web.Request) -> web.Response:
        name = request.match_info["id"]
        async with open_query(request) as query:
            refs = await expand_reference(query, name)
            times = await parse_as_of(query, request)
            if parse_explain(request):
                explained = await explain_subject(query, projection, refs, name, times, parse_step_page(request))
                return json_response({**explained, **await freshness(query, times)})
            if times.given:
                answer = await subject_as_of(query, projection, refs, name, times)
                return json_response({**answer, **await freshness(query, times)})
            roots, groups = await find_roots(query, projection, refs)
            rows = await query.connection.fetch(rows_by_subject_sql(projection, 0), query.ledger.ledger_id, roots)
            subject = require_single(sorted({row["subject"] for row in rows}), name)
            row_of_subject = row_json(rows[0])
            for table in range(1, len(projection.tables)):
                rows_of_table = await query.connection.fetch(
                    rows_by_subject_sql(projection, table), query.ledger.ledger_id, [subject]
                )
                row_of_subject[projection.tables[table].name] = [row_json(row) for row in rows_of_table]
            parked = await query.connection.fetchrow(PARKED, query.ledger.ledger_id, projection.subject, subject)
            members = groups.members.get(subject, [subject])
            row_of_subject["history"] = await load_history(query, projection.subject, members)
            row_of_subject = apply_ends(projection, row_of_subject, times.at, await load_time_zones(query, times))
            return json_response(
                {
                    **truncate(projection, row_of_subject),
                    **({"parked": dict(parked)} if parked else {}),
                    **await freshness(query),
                }
            )

    return get_subject


ROUTES = [
    get(f"/v1/{projection.path}/{{id}}", subject_handler(projection), *TIMES, *EXPLAIN)
    for projection in PROJECTIONS
    if projection.path
]
