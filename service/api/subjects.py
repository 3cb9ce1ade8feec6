"""Anything a projection holds, by id: its row, and as history the facts that made it. One handler serves them all.

What is longer than HISTORY_MAX or ROWS_MAX is cut, and the answer then says "truncated": true; ?explain=true pages
through all of it.
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
    """Make the handler of GET /v1/<path>/{id} for a projection: as of ?at=, as known at ?as_of_position= or
    ?known_at=; with ?explain=true, why: every step to it."""

    async def get_one(request: web.Request) -> web.Response:
        name = request.match_info["id"]
        async with open_query(request) as query:
            refs = await expand_reference(query, name)
            times = await parse_as_of(query, request)
            if parse_explain(request):
                explained = await explain_subject(query, projection, refs, name, times, parse_step_page(request))
                return json_response({**explained, **await freshness(query, times)})
            if times.given:
                known = await subject_as_of(query, projection, refs, name, times)
                return json_response({**known, **await freshness(query, times)})
            roots, groups = await find_roots(query, projection, refs)
            rows = await query.connection.fetch(rows_by_subject_sql(projection, 0), query.ledger.ledger_id, roots)
            subject = require_single(sorted({row["subject"] for row in rows}), name)
            shown_row = row_json(rows[0])
            for table in range(1, len(projection.tables)):
                more = await query.connection.fetch(
                    rows_by_subject_sql(projection, table), query.ledger.ledger_id, [subject]
                )
                shown_row[projection.tables[table].name] = [row_json(row) for row in more]
            parked = await query.connection.fetchrow(PARKED, query.ledger.ledger_id, projection.subject, subject)
            members = groups.members.get(subject, [subject])
            shown_row["history"] = await load_history(query, projection.subject, members)
            shown_row = apply_ends(projection, shown_row, times.at, await load_time_zones(query, times))
            return json_response(
                {
                    **truncate(projection, shown_row),
                    **({"parked": dict(parked)} if parked else {}),
                    **await freshness(query),
                }
            )

    return get_one


ROUTES = [
    get(f"/v1/{projection.path}/{{id}}", subject_handler(projection), *TIMES, *EXPLAIN)
    for projection in PROJECTIONS
    if projection.path
]
